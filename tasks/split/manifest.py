"""The manifest of a data set version: every image with its side, and what had to be left out.

Reads a verdicts table and the history of its line; writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from tasks.core.tables import MANIFEST, SPLITS, conform
from tasks.core.workspace import EXTENSIONS
from tasks.split.assign import assign
from tasks.split.config import SplitConfig
from tasks.split.groups import Reasons, check_sizes, tie, told
from tasks.split.sides import sides_of, sides_table
from tasks.split.stable import settle


@dataclass(frozen=True)
class Divided:
    """What is in a version, and what is not."""

    manifest: pl.DataFrame
    """Schema `MANIFEST`, sorted by split, label and SHA-256."""
    left_out: pl.DataFrame
    """Kept by curation, not in the version: sha256, label, reason; sorted."""


def divide(
    verdicts: pl.DataFrame,
    config: SplitConfig,
    *,
    labels: tuple[str, ...],
    history: pl.DataFrame,
    facts: pl.DataFrame | None = None,
    set_aside: Reasons = dict,
) -> Divided:
    """Put every kept image on its side.

    Args:
        verdicts: all rows of a verdicts table; those not kept still tie.
        config: the recipe's `split:` block.
        labels: classes of the recipe.
        history: sides of the images published in this line, columns sha256, split and fold.
        facts: what earlier versions knew of their images; see `tasks.split.groups.tie`.
        set_aside: called where a class is too small; see `tasks.split.groups.check_sizes`.

    Raises:
        DataError: a class cannot be split; says which, how many groups it has and what became of the rest.
    """
    facts = pl.DataFrame(schema={name: SPLITS[name] for name in told(config)}) if facts is None else facts
    settled = settle(tie(verdicts, config, facts), history, config, labels=labels, facts=facts)
    left_out = settled.filter(pl.col("reason").is_not_null()).select("sha256", "label", "reason").sort(pl.all())
    # Named after an image of the version: what was not kept, and may be another next time, has no say in how it looks.
    kept = settled.filter(pl.col("reason").is_null()).with_columns(component=pl.col("sha256").min().over("component"))
    check_sizes(kept, labels, config=config, set_aside=lambda: _and(set_aside(), left_out))
    free = pl.col("side").is_null()
    dealt = assign(kept.filter(free), config, _held(kept.filter(~free), config))
    placed = kept.join(dealt, on="component", how="left", suffix="_dealt")
    placed = placed.with_columns(pl.coalesce("side", "side_dealt")).join(sides_table(config), on="side")
    return Divided(_with_paths(placed), left_out)


def _held(settled: pl.DataFrame, config: SplitConfig) -> dict[str, list[int]]:
    """Return for each class how many images stand on each side already."""
    held: dict[str, list[int]] = {}
    for label, side, images in settled.group_by("label", "side").len().iter_rows():
        held.setdefault(label, [0] * len(sides_of(config)))[side] = images
    return held


def _with_paths(placed: pl.DataFrame) -> pl.DataFrame:
    extension = pl.col("format").replace_strict(EXTENSIONS, default=pl.col("format").str.to_lowercase())
    name = pl.concat_str("sha256", pl.lit("."), extension)
    path = pl.concat_str("split", "label", name, separator="/").alias("path")
    return conform(placed.with_columns(path), MANIFEST).sort("split", "label", "sha256")


def _and(reasons: Mapping[str, Mapping[str, int]], left_out: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return `reasons` with the images left out counted too."""
    both = {label: dict(counts) for label, counts in reasons.items()}
    for label, reason, images in left_out.group_by("label", "reason").len().iter_rows():
        both.setdefault(label, {})[reason] = images
    return both
