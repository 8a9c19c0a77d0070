"""Invents the observations of a photo site: ids, observers, dates, places, licences, quality grades.

Reads and writes nothing.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from tasks.rehearse.door import Door
from tasks.rehearse.pictures import size_of
from tasks.rehearse.plan import Address, Observation, Photo
from tasks.rehearse.posts import Post, grades_barred, licences_barred
from tasks.rehearse.sources import Slot

_FIRST_OBSERVATION, _FIRST_PHOTO, _FIRST_TAXON = 10_000_000, 20_000_000, 900_000
_WORLDWIDE = 97_389  # place id of observations of a source that names no place
_USERS = ("a_lindqvist", "bogtrotter", "carmen-ruiz", "dewpoint", "el_naturalista", "ferngully", "gwr", "hoverfan")


def taxon_id(taxon: str | int) -> int:
    """Return the id under which the site knows a taxon given by name or id."""
    return taxon if isinstance(taxon, int) else _FIRST_TAXON + zlib.crc32(taxon.casefold().encode()) % 500_000


def observed(posts: Sequence[Post], door: Door, *, seed: int) -> Iterator[tuple[Observation, list[Address]]]:
    """Yield every observation with the addresses of its photos, ids ascending."""
    rng = np.random.default_rng([seed, 1])
    mine = [post for post in posts if post.slot.source == "inaturalist"]
    number, photo, taken = _FIRST_OBSERVATION, _FIRST_PHOTO, dict[tuple[str, int], int]()
    for place in rng.permutation(len(mine)):
        post = mine[int(place)]
        number += int(rng.integers(1, 900))
        photo += int(rng.integers(10, 2000))
        observation = _invented(post, rng, ids=(number, photo))
        photo += len(post.shots)
        addresses = []
        for rank, (shot, seen) in enumerate(zip(post.shots, observation.photos, strict=True)):
            key = f"/photos/{seen.id}"
            path = f"{key}/{post.slot.options['photo_size']}.{seen.extension}"
            address = door.address(post.slot, shot, place=(path, key), licence=seen.licence)
            addresses.append(address if _asked(post.slot, address, rank=rank, taken=taken) else _unasked(address))
        yield observation, addresses


def _asked(slot: Slot, address: Address, *, rank: int, taken: dict[tuple[str, int], int]) -> bool:
    """Whether a source takes the photo at `rank` of its observation: it takes the first, or all, up to its limit."""
    if address.expected is None or (rank and slot.options["photos"] == "first"):
        return False
    source = (slot.label, slot.number)
    taken[source] = taken.get(source, 0) + 1
    return taken[source] <= int(slot.options["limit"])


def _unasked(address: Address) -> Address:
    return address.model_copy(update={"expected": None, "verdict": None})


def _invented(post: Post, rng: np.random.Generator, *, ids: tuple[int, int]) -> Observation:
    slot, kind = post.slot, post.shots[0].kind
    grades = grades_barred(slot) if kind == "low-grade" else slot.options["quality_grade"]
    licences = licences_barred(slot) if kind == "unlicensed" else list(slot.options["licences"]) or [None]
    licence = licences[int(rng.integers(len(licences)))]
    photos = []
    for rank, shot in enumerate(post.shots):
        width, height = size_of(shot.file)
        extension = shot.file.suffix.lower().lstrip(".") or "jpg"
        photos.append(Photo(id=ids[1] + rank, licence=licence, extension=extension, width=width, height=height))
    return Observation(
        id=ids[0],
        taxon_id=taxon_id(slot.taxa[int(rng.integers(len(slot.taxa)))]),
        quality_grade=grades[int(rng.integers(len(grades)))],
        user=_USERS[int(rng.integers(len(_USERS)))],
        observed_on=(dt.date(2015, 1, 1) + dt.timedelta(days=int(rng.integers(3600)))).isoformat(),
        place_id=slot.options["place_id"] or _WORLDWIDE,
        latitude=round(float(rng.uniform(36, 60)), 5),
        longitude=round(float(rng.uniform(-9, 25)), 5),
        photos=tuple(photos),
    )
