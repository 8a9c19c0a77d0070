"""The classes that a source tells itself: which ones a photo site plays, and how the source must write them.

Owns the reading of a recipe's `labels:` and of a source's `label:`. Reads and writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.core.errors import RecipeError

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
_INVENTED = ("Araneidae", "Salticidae", "Thomisidae", "Lycosidae")
_ENOUGH = 2  # classes, for something to be learnt
# Texts that a pattern may find a class in; {} is the class, # what is different in each image.
_TEXTS = ("{}", "{}/#", "{}_#", "{}-#", "#_{}", "#-{}", "#/{}", "{} #", "# {}", "images/{}/#", "{}.#", "{}#", "#{}")
_TAILS = ("", ".jpg", ".png", "_0.jpg", "_1")


@dataclass(frozen=True)
class Rule:
    """How a source tells the class of an image."""

    column: str | None = None
    pattern: str | None = None
    taxa: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def rank(self) -> str | None:
        """The rank whose taxon is the class, where the column holds one: `family`, `taxon_family_name`."""
        bare = (self.column or "").removeprefix("taxon_").removesuffix("_name")
        return bare if bare in RANKS else None

    def written(self, raw: str, unique: str = "exempli", tails: Sequence[str] = _TAILS) -> str:
        """Return a text in which the rule finds the class `raw`; `unique` may be part of it, one of `tails` its end.

        Raises:
            RecipeError: none of the forms we know has the class where the pattern looks for it.
        """
        if self.pattern is None:
            return raw
        for tail in tails:
            for form in _TEXTS:
                text = form.replace("{}", raw).replace("#", unique) + tail
                found = re.search(self.pattern, text)
                if found and found[1] == raw:
                    return text
        raise RecipeError(
            f"A photo site cannot name images so that the pattern finds the class {raw!r}.",
            received=self.pattern,
            hint="Rehearse with --photos whose sub-folders have names that the pattern fits, or simplify the pattern.",
        )


def rule_of(label: Any) -> Rule | None:  # noqa: ANN401 - what YAML holds
    """Return what the recipe says under a source's `label:`."""
    if isinstance(label, str):
        return Rule(column=label)
    if not isinstance(label, dict):
        return None
    taxa = {str(name): _names(of) for name, of in (label.get("taxa") or {}).items()}
    return Rule(column=label.get("column"), pattern=label.get("pattern"), taxa=taxa)


def raw_labels(
    labels: dict[str, Any], rule: Rule | None, *, classes: Sequence[str], folders: Sequence[str] | None
) -> list[str]:
    """Return the classes, in the source's own words, that the site gives a source of several.

    Args:
        labels: The recipe's `labels:` block.
        rule: How the source tells the class.
        classes: Classes that stand in the recipe by name.
        folders: Sub-folders of photos; none = photos will be painted.
    """
    merge = {str(whole): _names(parts) for whole, parts in (labels.get("merge") or {}).items()}
    drop = set(_names(labels.get("drop") or ()))
    if rule and rule.taxa:
        return [name for name in rule.taxa if name not in drop]
    if folders is None:
        wholes = list(merge)
        wholes += [name for name in _INVENTED if name not in drop] if len(wholes) < _ENOUGH else []
    else:
        own = {name.casefold() for name in classes}
        wholes = [name for name in folders if name.casefold() not in own and name not in drop]
        wholes = wholes or [name for name in folders if name not in drop]
    return [part for whole in wholes for part in merge.get(whole, (whole,))]


def part_of(raw: str, labels: dict[str, Any]) -> str:
    """Return the class that `raw` becomes part of."""
    merge = labels.get("merge") or {}
    return next((str(whole) for whole, parts in merge.items() if raw in _names(parts)), raw)


def dropped(recipe: dict[str, Any]) -> tuple[str, ...]:
    """Return the classes that the recipe does not want."""
    return _names((recipe.get("labels") or {}).get("drop") or ())


def _names(value: str | int | Iterable[str | int]) -> tuple[str, ...]:
    return (str(value),) if isinstance(value, str | int) else tuple(map(str, value))
