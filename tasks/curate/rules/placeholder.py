"""The same file under many addresses or in many classes: a site's "image not found", a logo, an empty pixel."""

from __future__ import annotations

import polars as pl

from tasks.curate.config import Rules
from tasks.curate.rules.rule import silent, told


def placeholder(rows: pl.DataFrame, config: Rules) -> pl.Series:
    """Tell the rows of a file that stands under `placeholder_addresses` addresses or in `placeholder_classes` classes.

    All rows of the file go. Classes are those that the sources offer, whatever a person made of them. A photo that came
    by several roads is one row already, so it is not counted for each of them.
    """
    limits = [limit for limit in (config.placeholder_addresses, config.placeholder_classes) if limit]
    if not limits:
        return silent(rows)
    files = _spread(rows, at_least=min(limits))
    many = pl.lit(value=False)
    if config.placeholder_addresses:
        many |= pl.col("addresses") >= config.placeholder_addresses
    if config.placeholder_classes:
        many |= pl.col("classes") >= config.placeholder_classes
    detail = pl.format("{} in {}", _counted("addresses", "address"), _counted("classes", "class"))
    return told(rows.select("sha256").join(files, on="sha256", how="left", maintain_order="left"), many, detail)


def _spread(rows: pl.DataFrame, *, at_least: int) -> pl.DataFrame:
    """Return the distinct `addresses` and `classes` of each file with at least so many rows; few files have them."""
    offered = pl.coalesce("offered_label", "label")
    repeated = rows.filter(pl.len().over("sha256") >= at_least)
    return repeated.group_by("sha256").agg(
        pl.col("url").drop_nulls().n_unique().alias("addresses"), offered.drop_nulls().n_unique().alias("classes")
    )


def _counted(column: str, one: str) -> pl.Expr:
    return pl.format("{} {}", column, pl.when(pl.col(column) == 1).then(pl.lit(one)).otherwise(pl.lit(column)))
