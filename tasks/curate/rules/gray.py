"""Images without colour, as drawings, prints, scans and pictures of infrared cameras are."""

from __future__ import annotations

import polars as pl

from tasks.curate.config import Rules
from tasks.curate.rules.rule import silent, told

# Spread of chroma, see tasks/curate/colour.py. Of 3,203 real photos those in colour have at least 1.01 and 1.15 (fish
# in murky water), then 1.29; the gray ones 0 to 0.72 and, from an infrared camera, 0.93. Gray scans with a noise of 5
# levels in each channel have 0.81 at the 95th percentile. All figures: docs/curation-rules.md.
GRAY_BELOW = 0.9


def gray(rows: pl.DataFrame, config: Rules) -> pl.Series:
    """Tell the images whose `colour`, the spread of their chroma in levels of 0 to 255, is below `GRAY_BELOW`.

    Raises:
        polars.exceptions.ColumnNotFoundError: the recipe refuses gray images, but nobody has measured their colour.
    """
    if config.gray == "keep":
        return silent(rows)
    detail = pl.format("colour {}, below {} is gray", pl.col("colour").round(2), pl.lit(GRAY_BELOW))
    return told(rows, pl.col("colour") < GRAY_BELOW, detail)
