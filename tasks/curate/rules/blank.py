"""Images that show next to nothing: empty pages, fog, a lens cap."""

from __future__ import annotations

import polars as pl

from tasks.curate.config import Rules
from tasks.curate.rules.rule import silent, told


def blank(rows: pl.DataFrame, config: Rules) -> pl.Series:
    """Tell the images whose gray pixels have a standard deviation (0 to 127.5) below `min_contrast`."""
    if not config.min_contrast:
        return silent(rows)
    detail = pl.format("contrast {}, at least {} is asked for", pl.col("contrast").round(2), _limit(config))
    return told(rows, pl.col("contrast") < config.min_contrast, detail)


def _limit(config: Rules) -> pl.Expr:
    return pl.lit(f"{config.min_contrast:g}")
