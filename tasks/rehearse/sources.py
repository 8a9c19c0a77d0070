"""What a photo site must know of a recipe: its sources and its rules at the door, read from the raw YAML.

Owns no rule of its own: the defaults repeat those of `tasks.discover` and `tasks.ingest`, which no other
stage may import (a test compares them). Reads and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.core.errors import RecipeError

OPEN = ("cc0", "cc-by", "cc-by-sa", "cc-by-nd", "cc-by-nc", "cc-by-nc-sa", "cc-by-nc-nd")
GRADES = ("research", "needs_id", "casual")
DEFAULTS: dict[str, dict[str, Any]] = {
    "inaturalist": {
        "place_id": None,
        "quality_grade": ("research",),
        "licences": OPEN,
        "photo_size": "medium",
        "photos": "first",
        "limit": 1000,
    },
    "ingest": {
        "min_side": 64,
        "licences": "any",
        "timeout": 20.0,
        "attempts": 4,
        "max_wait": 60.0,
        "max_redirects": 5,
    },
}


@dataclass(frozen=True)
class Slot:
    """One source of one class: a place of the site that photos can be put in."""

    label: str
    number: int  # place among the sources of its class
    source: str  # url_list or inaturalist
    options: dict[str, Any]

    @property
    def taxa(self) -> tuple[str | int, ...]:
        """Taxa asked for, by name or id; none for a list."""
        taxon = self.options.get("taxon", ())
        return (taxon,) if isinstance(taxon, str | int) else tuple(taxon)


def slots_of(recipe: dict[str, Any]) -> list[Slot]:
    """Return every source of the raw recipe, in its order, defaults filled in.

    Raises:
        RecipeError: the recipe has no classes, or a source that a photo site cannot play.
    """
    classes = recipe.get("classes")
    if not isinstance(classes, dict) or not all(isinstance(sources, list) for sources in classes.values()):
        raise RecipeError(
            "The recipe has no classes to rehearse.", hint="`harvestman check` says what is wrong with it."
        )
    slots = []
    for label, sources in classes.items():
        for number, options in enumerate(sources):
            source = options.get("source") if isinstance(options, dict) else None
            if source not in {"url_list", "inaturalist"}:
                raise RecipeError(
                    f"Class {label}: a photo site cannot play this source.",
                    received=str(options),
                    hint="Rehearsals know the sources url_list and inaturalist.",
                )
            slots.append(Slot(str(label), number, source, DEFAULTS.get(source, {}) | options))
    return slots


def door_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the raw recipe's `ingest:` block with the defaults filled in."""
    return DEFAULTS["ingest"] | (recipe.get("ingest") or {})


def name_of(taxon: str | int) -> str:
    """Return the scientific name under which the site knows a taxon given by name or id."""
    return taxon if isinstance(taxon, str) else f"Taxon {taxon}"
