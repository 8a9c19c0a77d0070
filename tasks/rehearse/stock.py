"""Plans the whole content of a photo site from a recipe and a folder of photos, the same way every time.

Reads `<photos>/<class>/…`. Writes `<site>/derived`, `<site>/urls` and `<site>/files`, and returns the plan.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

from tasks.rehearse.door import Door
from tasks.rehearse.files import write_files
from tasks.rehearse.hosted import hosted, thumbnails
from tasks.rehearse.labels import dropped
from tasks.rehearse.local import filed
from tasks.rehearse.observations import Seen, observed, place_of
from tasks.rehearse.pictures import find, folders_of
from tasks.rehearse.plan import Address, Plan
from tasks.rehearse.posts import Rules, posts_of
from tasks.rehearse.rows import Site
from tasks.rehearse.sources import Slot, door_of, slots_of
from tasks.rehearse.taxa import all_taxa

_TOLD = ("inaturalist", "gbif")  # sources whose observations an API tells of; those of others are in files


def stock(
    recipe: dict[str, Any], folder: Path, *, photos: Path, observations: str | None, base_url: str, seed: int, key: str
) -> Plan:
    """Plan what the photo site in `folder` serves to a run of the raw `recipe`, and write the files it reads.

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
    every = slots_of(recipe, folders_of(photos))
    slots = {label: [slot for slot in every if slot.label == label] for label in dict.fromkeys(s.label for s in every)}
    drop, rules = dropped(recipe), door_of(recipe)
    found = find(photos, {label: _parts(group) for label, group in slots.items()}, observations=observations)
    posts = posts_of(found, slots, rules=Rules(rules, drop), seed=seed, derive=folder / "derived")
    door = Door(folder, rules)
    seen = list(observed(posts, door, drop=drop, seed=seed))
    shown = list(hosted(posts, door, seed=seed))
    placed = list(filed(posts, door, drop=drop))
    write_files((seen, shown, placed), every, folder, site=Site(base_url, drop))
    places = {place.id: place for place in map(place_of, every) if place}
    return Plan(
        key=key,
        base_url=base_url,
        taxa=all_taxa((slot for slot in every if slot.source in _TOLD), drop),
        places=tuple(place for _, place in sorted(places.items())),
        hits=(*(item.hit for item in shown if item.hit), *thumbnails(every)),
        observations=tuple(item.observation for item in seen if item.observation.service in _TOLD),
        addresses=_addresses(seen, [*(item.address for item in shown), *(item.address for item in placed)]),
    )


def _addresses(seen: list[Seen], single: list[Address]) -> tuple[Address, ...]:
    return tuple(sorted(chain(single, *(item.addresses for item in seen)), key=lambda address: address.path))


def _parts(slots: list[Slot]) -> tuple[str, ...]:
    """Return the names under which photos of a class may lie, beside the class's own."""
    return tuple(dict.fromkeys(slot.raw for slot in slots if slot.raw is not None))
