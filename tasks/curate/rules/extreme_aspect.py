"""Drawn-out images: banners, strips, scroll bars, panoramas. Squashed into a square they show nothing."""

from __future__ import annotations

import polars as pl

from tasks.curate.config import Rules
from tasks.curate.rules.rule import sides, silent, told


def extreme_aspect(rows: pl.DataFrame, config: Rules) -> pl.Series:
    """Tell the images whose longer side is more than `max_aspect` times the shorter one."""
    if not config.max_aspect:
        return silent(rows)
    shorter, longer = sides()
    aspect = longer / shorter
    detail = pl.format("{} x {} px: {} : 1", "width", "height", aspect.round(2))
    return told(rows, aspect > config.max_aspect, detail)
