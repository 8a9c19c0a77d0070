"""What `harvestman check` tells of a recipe before anything is fetched.

Reads the recipe's files and the first page of each API; writes what was spent of the APIs' budgets.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.context import Context
from flows.keys import find_keys
from flows.preflight import problems
from flows.recipe import MIN_CLASSES, Recipe
from flows.settings import Settings
from tasks.core.errors import DataError, HarvestmanError, RecipeError, ServerUnavailableError
from tasks.core.names import name_fault
from tasks.discover.forecast import Forecast, Offer, forecast
from tasks.discover.found import Ask, told_once

MANY = 30  # classes shown one by one
_NAMED = 5  # classes named in a message


@dataclass(frozen=True)
class Checked:
    """A recipe that has been looked at."""

    recipe: Recipe
    asks: tuple[Ask[Any], ...]
    outlook: Forecast
    problems: tuple[HarvestmanError, ...]
    """Everything to be mended, in the order it was met."""

    @property
    def ready(self) -> bool:
        """Whether a run would come through."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        return {
            "recipe": self.recipe.name,
            "ready": self.ready,
            "hours": round(self.outlook.hours, 2),
            "classes": self.outlook.images,
            "too_small": list(self.outlook.small),
            "left_out": list(self.outlook.left_out),
            "sources": [
                {
                    "class": ask.label,
                    "source": offer.source,
                    "images": offer.images,
                    "exact": offer.exact,
                    "licences": offer.licences,
                    "notes": offer.notes,
                    "gigabytes": round(offer.bytes / 1e9, 3),
                    "hours": round(offer.hours, 2),
                    "problems": [error.what for error in offer.problems],
                }
                for ask, offer in zip(self.asks, self.outlook.offers, strict=True)
            ],
            "problems": [
                {"what": error.what, "received": error.received, "hint": error.hint} for error in self.problems
            ],
        }


def look(
    recipe: Recipe, path: Path, settings: Settings, *, offline: bool, say: Callable[[str], None] | None = None
) -> Checked:
    """Ask every source of `recipe` for its first page.

    Args:
        recipe: the recipe.
        path: its file.
        settings: the environment.
        offline: ask no site.
        say: called with a line of progress for each source, and for long waits.
    """
    found = list(problems(recipe, settings))
    keys: dict[str, SecretStr] = {}
    try:
        keys = find_keys(settings, [source for _, source in recipe.asked], ask_prefect=bool(settings.prefect_api_url))
    except ServerUnavailableError as error:
        found.append(error)
    asks = [replace(ask, say=say) for ask in Context(recipe, path, settings).asks(keys)]

    def told(ask: Ask[Any], offer: Offer) -> None:
        if offer.asked and say:
            say(f"{ask.name}: {sum(offer.images.values())} images" if not offer.problems else f"{ask.name}: no answer")

    licences = None if recipe.ingest.licences == "any" else recipe.ingest.licences
    outlook = forecast(asks, labels=recipe.labels, licences=licences, offline=offline, on_offer=told)
    pairs = zip(asks, outlook.offers, strict=True)
    found += told_once((ask.name, error) for ask, offer in pairs for error in offer.problems)
    found += _unheard(recipe, asks, outlook)
    found += _too_little(recipe, outlook)
    return Checked(recipe, tuple(asks), outlook, tuple(found))


def _too_little(recipe: Recipe, outlook: Forecast) -> list[HarvestmanError]:
    found: list[HarvestmanError] = []
    if outlook.small:
        sizes = ", ".join(f"{name}: {outlook.images.get(name, 0)}" for name in outlook.small)
        found.append(
            DataError(
                f"Too few images are offered of {', '.join(outlook.small)}.",
                received=f"{sizes}; labels.min_images is {recipe.labels.min_images}",
                hint="Add sources, widen licences or dates, or lower `labels.min_images`.",
            )
        )
    if fault := name_fault(list(outlook.images)):
        found.append(DataError(fault, hint="Rename or merge it with `labels.merge`."))
    complete = all(offer.asked and not offer.problems for offer in outlook.offers)
    if complete and len(outlook.images) < MIN_CLASSES:
        found.append(_too_few_classes(recipe, outlook))
    return found


def _too_few_classes(recipe: Recipe, outlook: Forecast) -> DataError:
    sizes = Counter(outlook.images | outlook.left_out)
    offered = ", ".join(f"{name}: {count}" for name, count in sizes.most_common(_NAMED)) or "no class at all"
    more = f" and {len(sizes) - _NAMED} more" if len(sizes) > _NAMED else ""
    enough = "Only one class is" if outlook.images else "No class is"
    return DataError(
        f"{enough} large enough; a classifier needs {MIN_CLASSES}.",
        received=f"{offered}{more}; labels.min_images is {recipe.labels.min_images}",
        hint="Lower `labels.min_images`, add sources, or widen `ingest.licences`, if images are left out by it.",
    )


def _unheard(recipe: Recipe, asks: list[Ask[Any]], outlook: Forecast) -> list[HarvestmanError]:
    """Return a problem for each class of labels.drop and labels.merge that no source tells: a slip of the pen.

    Nothing is said while a source has not told all its classes yet.
    """
    offers = [offer for ask, offer in zip(asks, outlook.offers, strict=True) if ask.label is None]
    known = sorted({name for offer in offers for name in offer.told})
    if not known or not all(offer.exact and offer.asked and not offer.problems for offer in offers):
        return []
    parts = [(part, f"labels.merge.{whole}") for whole, of in recipe.labels.merge.items() for part in of]
    wanted = [*((name, "labels.drop") for name in recipe.labels.drop), *parts]
    return [_slip(name, place, known) for name, place in wanted if name not in known]


def _slip(name: str, place: str, known: list[str]) -> RecipeError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return RecipeError(
        f"No source tells the class {name!r} of {place}{f'; did you mean {near[0]!r}?' if near else '.'}",
        received=f"classes told: {', '.join(known[:_NAMED])}{more}",
        hint=f"Mend the name in `{place}`, or take it out.",
    )


def show(checked: Checked, console: Console) -> None:
    """Print what was found for people."""
    images = checked.outlook.images
    console.print(Text(f"{checked.recipe.name}: {len(images)} classes", style="bold"), soft_wrap=True)
    if len(images) > MANY or checked.recipe.sources:
        _line(", ".join(f"{name} {count:,}" for name, count in images.items()), console)
    table = Table("class", "source", "images", "licences", "GB", "hours", "left out", box=None, pad_edge=False)
    for ask, offer in zip(checked.asks, checked.outlook.offers, strict=True):
        table.add_row(*_row(ask, offer), style="red" if offer.problems else None)
    console.print(table)
    total = sum(offer.bytes for offer in checked.outlook.offers)
    _line(
        f"about {sum(images.values()):,} images, {total / 1e9:.1f} GB, at least {checked.outlook.hours:.1f} h under the"
        " budgets of the sites; ~ is reckoned from the first page",
        console,
    )
    if checked.outlook.left_out:
        _line(
            f"left out, with fewer than {checked.recipe.labels.min_images} images: "
            + ", ".join(checked.outlook.left_out),
            console,
        )


def _row(ask: Ask[Any], offer: Offer) -> tuple[str, ...]:
    count = sum(offer.images.values())
    licences = Counter(offer.licences).most_common(4)
    shown = ", ".join(f"{name} {number / max(count, 1):.0%}" for name, number in licences)
    return (
        ask.label or f"({len(offer.images)} classes)",
        offer.source,
        "?" if offer.problems or not offer.asked else f"{'' if offer.exact else '~'}{count:,}",
        "see below" if offer.problems else shown if offer.asked else "not asked",
        f"{offer.bytes / 1e9:.2f}",
        f"{offer.hours:.2f}",
        ", ".join(f"{number:,} {reason}" for reason, number in Counter(offer.notes).most_common()),
    )


def _line(text: str, console: Console) -> None:
    console.print(Text(text), soft_wrap=True)
