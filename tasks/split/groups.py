"""What is split: the kept images of a verdicts table, gathered into groups that stay together.

Reads tables; refuses classes that cannot be split, in words that say how many images are missing and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from tasks.core.errors import DataError
from tasks.core.tables import KEPT

MIN_CLASSES = 2
MIN_GROUPS = 3  # one for train, one for val, one for test

Signature = tuple[tuple[str, int], ...]
"""What a group holds: class and number of images, sorted. Groups of one signature are interchangeable."""

Reasons = Callable[[], Mapping[str, Mapping[str, int]]]


@dataclass(frozen=True)
class Group:
    """Images that belong on one side: linked by near-duplicate clusters and observations."""

    component: str
    images: tuple[str, ...]
    """SHA-256 of each, sorted."""
    signature: Signature = field(compare=False)


def kept_rows(verdicts: pl.DataFrame, labels: tuple[str, ...]) -> pl.DataFrame:
    """Return the rows to be split: kept, of a class of the recipe, in a fixed order."""
    return verdicts.filter((pl.col("verdict") == KEPT) & pl.col("label").is_in(labels)).sort("label", "sha256")


def groups_of(kept: pl.DataFrame) -> list[Group]:
    """Return the groups of `kept`, which has the columns component, sha256 and label, sorted by component."""
    table = kept.sort("component", "sha256").group_by("component", maintain_order=True).agg("sha256", "label")
    return [
        Group(component, tuple(images), _signature(classes))
        for component, images, classes in table.select("component", "sha256", "label").iter_rows()
    ]


def _signature(classes: list[str]) -> Signature:
    return tuple((label, classes.count(label)) for label in sorted(set(classes)))


def check_sizes(kept: pl.DataFrame, labels: tuple[str, ...], set_aside: Reasons) -> None:
    """Raise DataError unless there are two classes, each with groups enough for three splits.

    Args:
        kept: rows with the columns label and component.
        labels: classes of the recipe.
        set_aside: called in case of need; returns for each class why its other addresses gave no image, with counts.
    """
    if len(labels) < MIN_CLASSES:
        raise DataError(
            f"A classifier needs at least {MIN_CLASSES} classes.",
            received=f"{len(labels)}: {', '.join(labels) or 'none'}",
            hint="Add a class with its sources to the recipe.",
        )
    sizes = {
        label: (images, groups)
        for label, images, groups in kept.group_by("label")
        .agg(pl.len(), pl.col("component").n_unique().alias("groups"))
        .iter_rows()
    }
    found = {label: sizes.get(label, (0, 0)) for label in sorted(labels)}
    small = {label: size for label, size in found.items() if size[1] < MIN_GROUPS}
    if small:
        reasons = set_aside()
        raise DataError(
            f"{len(small)} of {len(labels)} classes cannot be split into train, val and test.",
            received="\n".join(_complaint(label, size, reasons.get(label, {})) for label, size in small.items()),
            hint="Give these classes more sources, loosen what refuses their images, or take them out of the recipe. "
            "Images of one observation or one near-duplicate cluster form one group, and a group is never divided.",
        )


def _complaint(label: str, size: tuple[int, int], reasons: Mapping[str, int]) -> str:
    images, groups = size
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    without = f"its other addresses: {listed}" if listed else "no other address is known"
    got = f"{_count(images, 'image')} in {_count(groups, 'group')}" if images else "no image"
    return f"  {label}: {got}, at least {MIN_GROUPS} groups are needed; {without}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
