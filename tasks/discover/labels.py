"""The classes of images whose source tells them: unwanted ones dropped, others merged, small ones left out.

Reads and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tasks.discover.config import LabelsConfig


@dataclass(frozen=True)
class Classes:
    """What the candidates of a collection make of a recipe's classes."""

    counts: dict[str, int]
    """Photos by class, of the classes that are used."""
    small: dict[str, int]
    """Photos by class, of the named classes that have too few."""
    left_out: dict[str, int]
    """Photos by class, of the classes that sources told and that have too few."""


def relabelled(frame: pl.DataFrame, config: LabelsConfig) -> tuple[pl.DataFrame, int]:
    """Drop and merge the classes of candidates.

    Returns:
        The candidates that are left, and how many were dropped.
    """
    into = {part: whole for whole, parts in config.merge.items() for part in parts}
    names = pl.col("label").str.strip_chars()
    kept = frame.with_columns(names).filter(~names.is_in(list(config.drop)))
    return kept.with_columns(pl.col("label").replace(into)), frame.height - kept.height


def classes_of(offered: pl.DataFrame, named: tuple[str, ...], config: LabelsConfig) -> Classes:
    """Sort the classes of `offered` (columns of CANDIDATES, a row a photo and class) by whether they are large enough.

    Args:
        offered: candidates.
        named: classes that stand in the recipe by name.
        config: the `labels:` block.
    """
    found = dict(offered.group_by("label").len().sort("label").iter_rows())
    counts = {name: found.get(name, 0) for name in named} | found
    enough = {name: count for name, count in sorted(counts.items()) if count >= config.min_images}
    few = {name: count for name, count in sorted(counts.items()) if count < config.min_images}
    return Classes(
        counts=enough,
        small={name: count for name, count in few.items() if name in named},
        left_out={name: count for name, count in few.items() if name not in named},
    )
