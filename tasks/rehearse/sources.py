"""What a photo site must know of a recipe: its sources and its rules at the door, read from the raw YAML.

Owns no rule of its own: the defaults repeat those of `tasks.discover` and `tasks.ingest`, which no other
stage may import (a test compares them). Reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from tasks.core.errors import RecipeError
from tasks.rehearse.labels import Rule, part_of, raw_labels, rule_of

OPEN = ("cc0", "cc-by", "cc-by-sa", "cc-by-nd", "cc-by-nc", "cc-by-nc-sa", "cc-by-nc-nd")
GRADES = ("research", "needs_id", "casual")
ANYWHERE = {"bbox": None, "observed": (None, None)}
DEFAULTS: dict[str, dict[str, Any]] = {
    "url_list": {"columns": {}, "where": {}},
    "folder": {"licence": None},
    "archive": {"table": None, "image": "{image}", "columns": {}, "where": {}, "licence": None},
    "inaturalist": {
        "place": None,
        "place_id": None,
        **ANYWHERE,
        "quality_grade": ("research",),
        "licences": OPEN,
        "photo_size": "medium",
        "photos": "first",
        "limit": 1000,
    },
    "inaturalist_export": {
        "taxon": (),
        "quality_grade": GRADES,
        "licences": "any",
        "photo_size": "medium",
        "limit": None,
        "where": {},
    },
    "inaturalist_open_data": {
        **ANYWHERE,
        "quality_grade": ("research",),
        "licences": OPEN,
        "photo_size": "medium",
        "photos": "first",
        "limit": None,
    },
    "gbif": {"country": (), **ANYWHERE, "basis_of_record": (), "licences": OPEN, "photos": "first", "limit": 1000},
    "darwin_core": {"taxon": (), "licences": OPEN, "photos": "first", "limit": None, "where": {}},
    "google": {"provider": "serper", "licences": "any", "min_side": 0, "thumbnails": False, "limit": 200},
    "openverse": {"licences": OPEN, "providers": (), "limit": 200},
    "wikimedia_commons": {
        "query": (),
        "category": (),
        "licences": (*OPEN, "public-domain"),
        "width": 960,
        "limit": 200,
    },
    "ingest": {
        "min_side": 64,
        "max_bytes": 20_000_000,
        "min_contrast": 1.0,
        "licences": "any",
        "robots_txt": True,
        "robots_tag": True,
        "timeout": 20.0,
        "attempts": 4,
        "max_wait": 60.0,
        "max_redirects": 5,
    },
}

OBSERVED = ("inaturalist", "inaturalist_export", "inaturalist_open_data", "gbif", "darwin_core")
HOSTED = ("url_list", "google", "openverse", "wikimedia_commons")
LOCAL = ("folder", "archive")
KNOWN = (*OBSERVED, *HOSTED, *LOCAL)
_ORIGINALS = ("gbif", "darwin_core")
TEXT = (".txt", "")  # suffixes of address lists that are no tables


@dataclass(frozen=True)
class Slot:
    """One source of one class: a place of the site that photos can be put in."""

    label: str
    number: int  # place among the sources of its class, those that tell the classes themselves last
    source: str  # one of KNOWN
    options: dict[str, Any]
    raw: str | None = None  # the class in the source's own words, where the source tells it
    shared: int | None = None  # place under `sources:`

    @property
    def name(self) -> str:
        """What the files of its source are called."""
        return f"{self.label}-{self.number}" if self.shared is None else f"sources_{self.shared}"

    @property
    def taxa(self) -> tuple[str | int, ...]:
        """Taxa asked for, by name or id; none for a list."""
        return _several(self.options.get("taxon", ()))

    @property
    def rule(self) -> Rule | None:
        """How the source tells the class; none where the recipe does."""
        return None if self.shared is None else rule_of(self.options.get("label"))

    @property
    def queries(self) -> tuple[str, ...]:
        """What a search is asked for; categories with `Category:` before them."""
        categories = (f"Category:{name}" for name in _several(self.options.get("category", ())))
        return tuple(map(str, (*_several(self.options.get("query", ())), *categories)))

    @property
    def paths(self) -> tuple[PurePath, ...]:
        """The files that the recipe names."""
        return tuple(PurePath(str(path)) for path in _several(self.options.get("path", ())))

    @property
    def licences(self) -> list[str | None]:
        """Licences that the source takes; empty = any."""
        accepted = self.options.get("licences", "any")
        return [] if accepted == "any" else list(_several(accepted))

    @property
    def tabular(self) -> bool:
        """Whether rows with columns of any name can be put in."""
        if self.source == "url_list":
            return all(path.suffix.lower() not in TEXT for path in self.paths)
        return self.source in {"inaturalist_export", "darwin_core"} or self.options.get("table") is not None


def slots_of(recipe: dict[str, Any], folders: Sequence[str] | None = None) -> list[Slot]:
    """Return every source of the raw recipe, in its order, defaults filled in.

    Args:
        recipe: The recipe's YAML.
        folders: Names of the sub-folders of photos: the classes that sources under `sources:` are given. None: as
            the recipe's labels say, or invented ones.

    Raises:
        RecipeError: the recipe has no classes, or a source that a photo site cannot play.
    """
    classes, shared = recipe.get("classes") or {}, recipe.get("sources") or []
    named = isinstance(classes, dict) and all(isinstance(sources, list) for sources in classes.values())
    if not named or not isinstance(shared, list) or not (classes or shared):
        raise RecipeError(
            "The recipe has no classes to rehearse.", hint="`harvestman check` says what is wrong with it."
        )
    slots = [
        Slot(str(label), number, *_played(options, f"Class {label}"))
        for label, sources in classes.items()
        for number, options in enumerate(sources)
    ]
    for place, options in enumerate(shared):
        slots += _shared(recipe, (place, options), slots, folders=folders)
    return slots


def _shared(
    recipe: dict[str, Any], item: tuple[int, Any], before: Sequence[Slot], *, folders: Sequence[str] | None
) -> Iterator[Slot]:
    place, options = item
    source, full = _played(options, f"Source {place + 1} of `sources:`")
    classes = [str(label) for label in recipe.get("classes") or {}]
    taken = [slot.label for slot in before]
    raws = raw_labels(recipe.get("labels") or {}, rule_of(full.get("label")), classes=classes, folders=folders)
    if not raws:
        raise RecipeError(f"Source {place + 1} of `sources:` is left without a class.", hint="Check `labels.drop`.")
    for raw in raws:
        label = part_of(raw, recipe.get("labels") or {})
        yield Slot(label, taken.count(label), source, full, raw, place)
        taken.append(label)


def _played(options: Any, where: str) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - what YAML holds
    source = options.get("source") if isinstance(options, dict) else None
    if source not in KNOWN:
        raise RecipeError(
            f"{where}: a photo site cannot play this source.",
            received=str(options),
            hint=f"Rehearsals know the sources {', '.join(KNOWN)}.",
        )
    # GBIF hands out the address of the original; only one of iNaturalist's own hosts is asked for another size.
    told = {name: value for name, value in options.items() if source not in _ORIGINALS or name != "photo_size"}
    return source, DEFAULTS[source] | told


def _several(value: Any) -> tuple[Any, ...]:  # noqa: ANN401 - what YAML holds
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def door_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the raw recipe's `ingest:` block with the defaults filled in."""
    return DEFAULTS["ingest"] | (recipe.get("ingest") or {})
