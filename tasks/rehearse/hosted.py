"""Gives each picture of a list or a search an address of its own, and tells how a search finds it.

Reads the headers of pictures. Writes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.rehearse.commons import FILES, thumb
from tasks.rehearse.door import Door
from tasks.rehearse.faults import SUFFIXES
from tasks.rehearse.observations import unasked
from tasks.rehearse.pictures import size_of
from tasks.rehearse.plan import Address, Hit
from tasks.rehearse.posts import Post, Shot, licences_barred
from tasks.rehearse.sources import HOSTED, Slot

_FORMS = (
    "/wp-content/uploads/2019/05/{name}{suffix}",
    "/media/{name}",
    "/images/large/{name}{suffix}?w=640",
    "/my%20pictures/{name}{suffix}",
    "/fotos/käfer/{name}{suffix}",  # unescaped, as people copy them
)


@dataclass(frozen=True)
class Shown:
    """A picture that has been put up."""

    slot: Slot
    kind: str
    address: Address
    hit: Hit | None  # how a search finds it; none for a list


def hosted(posts: Sequence[Post], door: Door, *, seed: int) -> Iterator[Shown]:
    """Yield every picture of a list or a search with its address."""
    turns, taken = Counter[tuple[str, int]](), Counter[tuple[str, int, str]]()
    for place, post in enumerate(posts):
        if post.slot.source not in HOSTED:
            continue
        for rank, shot in enumerate(post.shots):
            name = hashlib.sha256(f"{seed} {place} {rank}".encode()).hexdigest()[:12]
            turn = turns[post.slot.label, post.slot.number]
            turns[post.slot.label, post.slot.number] += 1
            yield _shown(post.slot, shot, door, name=name, turn=turn, taken=taken)


def thumbnails(slots: Sequence[Slot]) -> Iterator[Hit]:
    """Yield, for each query to Google, a result that has nothing but Google's own small copy."""
    for slot in slots:
        if slot.source == "google" and not slot.options["thumbnails"]:
            for query in slot.queries:
                yield Hit(service=slot.options["provider"], query=query, path="", licence=None, width=90, height=60)


def _shown(slot: Slot, shot: Shot, door: Door, *, name: str, turn: int, taken: Counter[tuple[str, int, str]]) -> Shown:
    size = size_of(shot.file)
    told = licences_barred(slot) if shot.kind == "unlicensed" else slot.licences
    licences: list[str | None] = [None] if slot.source in ("url_list", "google") else told or [None]
    licence = licences[turn // max(len(slot.queries), 1) % len(licences)]
    address = door.address(slot, shot, place=_place(slot, shot, name, width=size[0]), licence=licence)
    if slot.source == "url_list":
        return Shown(slot, shot.kind, address, None)
    query = slot.queries[turn % len(slot.queries)]
    where = (slot.label, slot.number, query)
    if min(size) < slot.options.get("min_side", 0):
        address = unasked(address)
    if address.expected is not None:
        taken[where] += 1
        address = address if taken[where] <= int(slot.options["limit"]) else unasked(address)
    providers = slot.options.get("providers") or ("flickr", "wikimedia")
    hit = Hit(
        service=slot.options.get("provider", slot.source),
        query=query,
        path=address.key if slot.source == "wikimedia_commons" else address.path,
        licence=licence,
        width=size[0],
        height=size[1],
        provider=providers[turn % len(providers)] if slot.source == "openverse" else "",
    )
    return Shown(slot, shot.kind, address, hit)


def _place(slot: Slot, shot: Shot, name: str, *, width: int) -> tuple[str, str]:
    """Return path and key of an address."""
    suffix = SUFFIXES.get(shot.kind, ".jpg" if shot.kind == "page" else shot.file.suffix.lower())
    if slot.source == "wikimedia_commons":
        key = f"{FILES}{name[0]}/{name[:2]}/Photo_{name}{suffix}"
        most = int(slot.options["width"])
        return (key if width <= most else thumb(key, most)), key
    form = _FORMS[0 if shot.kind == "page" else int(name, 16) % len(_FORMS)]
    path = form.format(name=name, suffix=suffix)
    return path, path.partition("?")[0].replace("%20", " ")
