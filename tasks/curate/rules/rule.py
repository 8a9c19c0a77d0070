"""What a rule of curation is, and how one tells what it saw.

Owns the protocol. Reads and writes nothing.
"""

from __future__ import annotations

from typing import Protocol

import polars as pl

from tasks.curate.config import Rules


class Rule(Protocol):
    """One reason to set an image aside; the slug in `RULES` is its verdict."""

    def __call__(self, rows: pl.DataFrame, config: Rules) -> pl.Series:
        """Return for each row what the rule saw where it sets the row aside, else null.

        Args:
            rows: one row per address and class, columns of VERDICTS, with `contrast` and, where measured, `colour`.
                Rows of one SHA-256 are one image. What is not known (null, NaN) is never held against an image.
            config: the recipe's `curate.rules:` block.

        Returns:
            Strings a person understands, in the order of `rows`.
        """


def told(rows: pl.DataFrame, where: pl.Expr, detail: pl.Expr) -> pl.Series:
    """Return `detail` in the rows where `where` is true, null where it is false or unknown. Both name columns."""
    return rows.select(pl.when(where).then(detail).otherwise(None).cast(pl.String).alias("detail")).to_series()


def silent(rows: pl.DataFrame) -> pl.Series:
    """Return what a rule says that the recipe does not ask for: null in every row."""
    return pl.Series("detail", [None], dtype=pl.String).new_from_index(0, rows.height)


def sides() -> tuple[pl.Expr, pl.Expr]:
    """Return the shorter and the longer side in pixels, both null where either is not known or not positive."""
    known = (pl.col("width") > 0) & (pl.col("height") > 0)
    ends = (pl.min_horizontal("width", "height"), pl.max_horizontal("width", "height"))
    shorter, longer = (pl.when(known).then(end) for end in ends)
    return shorter, longer
