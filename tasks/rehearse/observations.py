"""Invents the observations of a photo site: ids, observers, dates, places, licences, quality grades.

Reads and writes nothing.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.rehearse.door import Door
from tasks.rehearse.pictures import size_of
from tasks.rehearse.plan import Address, Observation, Photo, Place
from tasks.rehearse.posts import Post, grades_barred, licences_barred
from tasks.rehearse.sources import OBSERVED, OPEN, Slot
from tasks.rehearse.taxa import taxa_of

_FIRST_OBSERVATION, _FIRST_PHOTO = 10_000_000, 20_000_000
_FIRST_DAY, _DAYS = dt.date(2015, 1, 1), 3600
_WORLDWIDE = 97_389  # place id of observations of a source that names no place
_BOX = (36.0, -9.0, 60.0, 25.0)  # south, west, north, east of observations of a source that names none
_USERS = ("a_lindqvist", "bogtrotter", "carmen-ruiz", "dewpoint", "el_naturalista", "ferngully", "gwr", "hoverfan")


@dataclass(frozen=True)
class Seen:
    """An observation that has been put up."""

    slot: Slot
    kind: str
    observation: Observation
    addresses: tuple[Address, ...]


def observed(posts: Sequence[Post], door: Door, *, drop: tuple[str, ...], seed: int) -> Iterator[Seen]:
    """Yield every observation with the addresses of its photos, ids ascending."""
    rng = np.random.default_rng([seed, 1])
    mine = [post for post in posts if post.slot.source in OBSERVED]
    number, photo, taken = _FIRST_OBSERVATION, _FIRST_PHOTO, dict[tuple[str, int], int]()
    for place in rng.permutation(len(mine)):
        post = mine[int(place)]
        number += int(rng.integers(1, 900))
        photo += int(rng.integers(10, 2000))
        observation = _invented(post, rng, ids=(number, photo), drop=drop)
        photo += len(post.shots)
        addresses = []
        for rank, (shot, seen) in enumerate(zip(post.shots, observation.photos, strict=True)):
            key = f"/photos/{seen.id}"
            path = f"{key}/{post.slot.options.get('photo_size', 'original')}.{seen.extension}"
            address = door.address(post.slot, shot, place=(path, key), licence=seen.licence)
            addresses.append(address if _asked(post.slot, address, rank=rank, taken=taken) else unasked(address))
        yield Seen(post.slot, post.shots[0].kind, observation, tuple(addresses))


def place_of(slot: Slot) -> Place | None:
    """Return the place that an iNaturalist source asks for by name."""
    name = slot.options.get("place")
    return Place(id=60_000 + zlib.crc32(str(name).casefold().encode()) % 30_000, name=str(name)) if name else None


def unasked(address: Address) -> Address:
    """Return the address as one that nobody must ask for."""
    return address.model_copy(update={"expected": None, "verdict": None})


def _asked(slot: Slot, address: Address, *, rank: int, taken: dict[tuple[str, int], int]) -> bool:
    """Whether a source takes the photo at `rank` of its observation: it takes the first, or all, up to its limit."""
    if address.expected is None or (rank and slot.options.get("photos") == "first"):
        return False
    source = (slot.label, slot.number)
    taken[source] = taken.get(source, 0) + 1
    limit = slot.options["limit"]
    return limit is None or taken[source] <= int(limit)


def _invented(post: Post, rng: np.random.Generator, *, ids: tuple[int, int], drop: tuple[str, ...]) -> Observation:
    slot, kind = post.slot, post.shots[0].kind
    grades = grades_barred(slot) if kind == "low-grade" else slot.options.get("quality_grade", ("research",))
    licences = licences_barred(slot) if kind == "unlicensed" else slot.licences or list(OPEN)
    licence = licences[int(rng.integers(len(licences)))]
    photos = []
    for rank, shot in enumerate(post.shots):
        width, height = size_of(shot.file)
        extension = shot.file.suffix.lower().lstrip(".") or "jpg"
        photos.append(Photo(id=ids[1] + rank, licence=licence, extension=extension, width=width, height=height))
    taxa = taxa_of(slot, drop)
    taxa_here = taxa.get({"unlabelled": "unnamed", "unwanted": "unwanted"}.get(kind, "own")) or taxa["own"]
    south, west, north, east = slot.options.get("bbox") or _BOX
    named = place_of(slot)
    return Observation(
        id=ids[0],
        taxon_id=taxa_here[int(rng.integers(len(taxa_here)))].id,
        service=slot.source,
        quality_grade=grades[int(rng.integers(len(grades)))],
        user=_USERS[int(rng.integers(len(_USERS)))],
        observed_on=_day(slot, int(rng.integers(_DAYS))).isoformat(),
        country=next(iter(slot.options.get("country") or ("PT",))),
        basis=next(iter(slot.options.get("basis_of_record") or ("HUMAN_OBSERVATION",))),
        place_id=named.id if named else slot.options.get("place_id") or _WORLDWIDE,
        latitude=round(float(rng.uniform(south, north)), 5),
        longitude=round(float(rng.uniform(west, east)), 5),
        photos=tuple(photos),
    )


def _day(slot: Slot, number: int) -> dt.date:
    """Return a day between the first and the last that the source takes."""
    first, last = (_as_date(day) for day in slot.options.get("observed") or (None, None))
    if first is None and last is None:
        return _FIRST_DAY + dt.timedelta(days=number)
    first = first or min(_FIRST_DAY, last or _FIRST_DAY)
    last = last or first + dt.timedelta(days=_DAYS)
    return first + dt.timedelta(days=number % ((last - first).days + 1))


def _as_date(day: object) -> dt.date | None:
    return None if day is None else dt.date.fromisoformat(str(day))
