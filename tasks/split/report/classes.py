"""How the images spread over classes and splits: before the curation, after it, and on which side.

Reads the tables of a report; writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from tasks.split.report.collected import Collected

ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class ClassRow:
    """A class: how much was offered, stored and taken, and where it went."""

    label: str
    offered: int
    """Addresses."""
    before: int
    """Distinct images stored under this class by the sources."""
    after: int
    """Images of the data set."""
    splits: dict[str, int]
    """Images by split."""


@dataclass(frozen=True)
class Balance:
    """All classes, the largest first."""

    rows: tuple[ClassRow, ...]
    splits: tuple[str, ...]
    """Splits that hold images."""
    largest: int
    """The longest bar: images of a class, before or after."""
    ratio_before: float | None
    """Images of the largest class by those of the smallest; None where one has none."""
    ratio_after: float | None


@dataclass(frozen=True)
class Share:
    """What one split was to get, and got."""

    split: str
    images: int
    asked: float
    """Share of the images, 0 to 1."""
    got: float


def balance(collected: Collected, manifest: pl.DataFrame) -> Balance:
    """Return the classes of `manifest`, ordered by their images, then by name."""
    offered = dict(collected.offered.group_by("label").len().iter_rows())
    stored = collected.judged.group_by(pl.col("offered_label")).agg(pl.col("sha256").n_unique())
    before = dict(stored.iter_rows())
    taken: dict[str, dict[str, int]] = {}
    for label, split, images in manifest.group_by("label", "split").len().iter_rows():
        taken.setdefault(label, {})[split] = images
    rows = [
        ClassRow(label, offered.get(label, 0), before.get(label, 0), sum(splits.values()), splits)
        for label, splits in taken.items()
    ]
    rows.sort(key=lambda row: (-row.after, row.label))
    return Balance(
        rows=tuple(rows),
        splits=splits_of(manifest),
        largest=max((max(row.before, row.after) for row in rows), default=0),
        ratio_before=_ratio([row.before for row in rows]),
        ratio_after=_ratio([row.after for row in rows]),
    )


def splits_of(manifest: pl.DataFrame) -> tuple[str, ...]:
    """Return the splits that hold images: train, val, test."""
    found = set(manifest["split"].drop_nulls().unique())
    return (*(split for split in ORDER if split in found), *sorted(found - set(ORDER)))


def shares(manifest: pl.DataFrame, config: Mapping[str, Any]) -> tuple[Share, ...]:
    """Return what each split got beside what the `split:` block asks; with folds, fold 0 is the split val."""
    sizes = dict(manifest.group_by("split").len().iter_rows())
    asked = {split: float(config.get(split) or 0) for split in ORDER}
    if folds := int(config.get("folds") or 0):
        asked["val"] = (1 - asked["test"]) / folds
        asked["train"] = 1 - asked["test"] - asked["val"]
    return tuple(
        Share(split, sizes[split], asked.get(split, 0.0), sizes[split] / manifest.height)
        for split in splits_of(manifest)
    )


def folds(manifest: pl.DataFrame) -> tuple[tuple[int, int], ...]:
    """Return the folds of a cross-validation with their images; none without one."""
    return tuple(manifest.filter(pl.col("fold").is_not_null()).group_by("fold").len().sort("fold").iter_rows())


def _ratio(counts: list[int]) -> float | None:
    smallest = min(counts, default=0)
    return max(counts) / smallest if smallest else None
