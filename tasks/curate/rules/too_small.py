"""Images with too few pixels to show what is asked for: thumbnails, icons."""

from __future__ import annotations

import polars as pl

from tasks.curate.config import Rules
from tasks.curate.rules.rule import sides, silent, told


def too_small(rows: pl.DataFrame, config: Rules) -> pl.Series:
    """Tell the images whose shorter side has less than `min_side` pixels."""
    if not config.min_side:
        return silent(rows)
    shorter, _ = sides()
    detail = pl.format("{} x {} px, the shorter side must have {}", "width", "height", pl.lit(config.min_side))
    return told(rows, shorter < config.min_side, detail)
