"""A limit to the images of a class, so that the easy class does not drown the rare one. Applied last, to what is left.

Owns the choice of those that stay. Reads and writes nothing.
"""

from __future__ import annotations

import polars as pl

from tasks.curate.config import Rules
from tasks.curate.rules.rule import silent, told

# Any constants do; another pair draws other images. The factor is odd, so no two numbers become one.
_KEY, _FACTOR = 0x6F7665722D636170, 0x9E3779B97F4A7C15
_DIGITS = 16  # of the SHA-256: 64 bits


def over_cap(rows: pl.DataFrame, config: Rules) -> pl.Series:
    """Tell the images of each class beyond its first `per_class`.

    First come images that a person keeps (`protected`; all of them stay, even beyond the cap), then `published` ones,
    then the others in an order drawn from their SHA-256: an image keeps its place whatever else is there, so newcomers
    never push out a published one, and the choice favours no source, size or address.

    Args:
        rows: what is kept otherwise; columns sha256, label and, where known, the booleans published and protected.
            Rows of one SHA-256 and class are one image.
        config: the recipe's `curate.rules:` block.

    Returns:
        As `Rule`.
    """
    if not config.per_class:
        return silent(rows)
    places = _places(rows)
    beyond = (pl.col("place") > config.per_class) & ~pl.col("protected")
    detail = pl.format("{} images in the class, {} are kept", "images", pl.lit(config.per_class))
    keys = ("label", "sha256")
    return told(rows.select(keys).join(places, on=keys, how="left", maintain_order="left"), beyond, detail)


def _places(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the `place` of each image in its class, from 1, with the number of `images` that the class has."""
    flags = [_flag(rows, name) for name in ("protected", "published")]
    images = rows.drop_nulls(("label", "sha256")).group_by("label", "sha256").agg(flags)
    ranked = images.sort(
        "label", "protected", "published", _draw(), "sha256", descending=[False, True, True, False, False]
    )
    return ranked.with_columns(
        pl.int_range(1, pl.len() + 1).over("label").alias("place"), pl.len().over("label").alias("images")
    )


def _flag(rows: pl.DataFrame, name: str) -> pl.Expr:
    return (pl.col(name).fill_null(value=False).any() if name in rows.columns else pl.lit(value=False)).alias(name)


def _draw() -> pl.Expr:
    """Return a number of the SHA-256 that is the same on every machine and with every version of Polars."""
    first = pl.col("sha256").str.slice(0, _DIGITS).str.to_integer(base=16, dtype=pl.UInt64, strict=False)
    return (first ^ pl.lit(_KEY, dtype=pl.UInt64)) * pl.lit(_FACTOR, dtype=pl.UInt64)
