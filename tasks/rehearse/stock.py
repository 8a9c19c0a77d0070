"""Plans the whole content of a photo site from a recipe and a folder of photos, the same way every time.

Reads `<photos>/<class>/…`. Writes `<site>/derived` and `<site>/urls`, and returns the plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.rehearse.door import Door
from tasks.rehearse.lists import write_list
from tasks.rehearse.observations import observed, taxon_id
from tasks.rehearse.pictures import find
from tasks.rehearse.plan import Address, Plan, Taxon
from tasks.rehearse.posts import Post, posts_of
from tasks.rehearse.sources import Slot, door_of, name_of, slots_of

_FORMS = (
    "/wp-content/uploads/2019/05/{name}{suffix}",
    "/media/{name}",
    "/images/large/{name}{suffix}?w=640",
    "/my%20pictures/{name}{suffix}",
)
_SUFFIXES = {"pixel": ".gif"}


def stock(
    recipe: dict[str, Any], folder: Path, *, photos: Path, observations: str | None, base_url: str, seed: int, key: str
) -> Plan:
    """Plan what the photo site in `folder` serves to a run of the raw `recipe`, and write its address lists.

    Args:
        recipe: The recipe's YAML as a dict.
        folder: The site's folder.
        photos: Folder with one sub-folder a class.
        observations: Regular expression whose first group names the observation in a file's name.
        base_url: Scheme, host and port of the site.
        seed: Same seed, same plan.
        key: Recorded as the plan's key.

    Raises:
        RecipeError: the recipe has no classes, or a source that a photo site cannot play.
        DataError: photos of a class are missing, or the pattern is none.
        WorkspaceError: the folder cannot be written.
    """
    slots: dict[str, list[Slot]] = {}
    for slot in slots_of(recipe):
        slots.setdefault(slot.label, []).append(slot)
    rules = door_of(recipe)
    found = find(photos, list(slots), observations=observations)
    posts = posts_of(found, slots, door=rules, seed=seed, derive=folder / "derived")
    door = Door(folder, rules)
    seen = list(observed(posts, door, seed=seed))
    addresses = [*_hosted(posts, door, seed=seed), *(address for _, photos_seen in seen for address in photos_seen)]
    plan = Plan(
        key=key,
        base_url=base_url,
        taxa=_taxa(slots),
        observations=tuple(observation for observation, _ in seen),
        addresses=tuple(sorted(addresses, key=lambda address: address.path)),
    )
    _write_lists(plan, slots, folder)
    return plan


def list_path(label: str, number: int) -> str:
    """Return where the list that plays source `number` of a class lies, relative to the site's folder."""
    return f"urls/{label}-{number}.txt"


def _hosted(posts: Sequence[Post], door: Door, *, seed: int) -> list[Address]:
    """Give each picture of a list an address of its own."""
    addresses = []
    for place, post in enumerate(posts):
        for rank, shot in enumerate(post.shots if post.slot.source == "url_list" else ()):
            name = hashlib.sha256(f"{seed} {place} {rank}".encode()).hexdigest()[:12]
            suffix = _SUFFIXES.get(shot.kind, ".jpg" if shot.kind == "page" else shot.file.suffix.lower())
            form = _FORMS[0 if shot.kind == "page" else int(name, 16) % len(_FORMS)]
            path = form.format(name=name, suffix=suffix)
            key = path.partition("?")[0].replace("%20", " ")
            addresses.append(door.address(post.slot, shot, place=(path, key), licence=None))
    return addresses


def _taxa(slots: dict[str, list[Slot]]) -> tuple[Taxon, ...]:
    taxa = {taxon_id(taxon): name_of(taxon) for group in slots.values() for slot in group for taxon in slot.taxa}
    return tuple(Taxon(id=number, name=name) for number, name in sorted(taxa.items()))


def _write_lists(plan: Plan, slots: dict[str, list[Slot]], folder: Path) -> None:
    number = 0
    for group in slots.values():
        for slot in (slot for slot in group if slot.source == "url_list"):
            mine = [item for item in plan.addresses if (item.label, item.source) == (slot.label, slot.number)]
            lines = [plan.base_url + item.path for item in mine]
            write_list(lines, folder / list_path(slot.label, slot.number), number=number)
            number += 1
