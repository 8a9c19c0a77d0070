"""What earlier versions say of an image: it keeps its side, and what is tied to it follows.

Reads a verdicts table and the history of a line of versions; writes nothing. An image is never moved: where growth
would put one group on two sides, what is new is left out, and what is old stays.
"""

from __future__ import annotations

import polars as pl

from tasks.split.config import SplitConfig
from tasks.split.groups import component, is_kept
from tasks.split.sides import sides_table

BRIDGES = "bridges-splits"  # new, and tied to old images of several sides
LEAKS = "leaks"  # old, and found tied to old images of a stronger side


def settle(
    rows: pl.DataFrame, history: pl.DataFrame, config: SplitConfig, *, labels: tuple[str, ...], facts: pl.DataFrame
) -> pl.DataFrame:
    """Return the kept rows of a verdicts table with the side they must be on.

    Old images count whatever their verdict is now: one that was in test keeps its near-duplicates out of train also
    when it is gone. Images left out of one version are judged anew in the next.

    Args:
        rows: all rows of a verdicts table, `component` as `tasks.split.groups.tie` returns it.
        history: sides of the images published in this line, columns sha256, split and fold.
        config: the recipe's `split:` block.
        labels: classes of the recipe.
        facts: see `tasks.split.groups.tie`.

    Returns:
        The kept rows, sorted by label and SHA-256, with `side` (null: free to go anywhere, together with the rest of
        its component), `reason` (null, or why it is left out) and `component` (never on two sides).
    """
    known = history.join(sides_table(config), on=("split", "fold"), nulls_equal=True).select("sha256", "side")
    rows = rows.join(known, on="sha256", how="left", maintain_order="left")
    strongest, weakest = (side.over("component") for side in (pl.col("side").min(), pl.col("side").max()))
    mixed = (strongest != weakest).fill_null(value=False)
    clear = rows.filter(~mixed).with_columns(strongest.alias("side"), pl.lit(None, pl.String).alias("reason"))
    settled = [
        part.filter(is_kept(labels)) for part in (clear, *_part(rows.filter(mixed), config, facts, labels=labels))
    ]
    return pl.concat(settled, how="vertical").sort("label", "sha256")


def _part(
    mixed: pl.DataFrame, config: SplitConfig, facts: pl.DataFrame, *, labels: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return old and new rows of components whose old images stand on several sides, with their reasons.

    Without the new ones, most old ones are not tied at all. Those that still are belong to the strongest side.
    """
    known = pl.col("side").is_not_null()
    old = mixed.filter(known)
    theirs = facts.join(old, on="sha256", how="semi")
    parts = component(old, theirs, config, beside="published_component").alias("component")
    strongest = pl.col("side").filter(is_kept(labels)).min().over("component")
    leaks = pl.when(pl.col("side") != strongest).then(pl.lit(LEAKS)).alias("reason")
    new = mixed.filter(~known).with_columns(pl.lit(BRIDGES).alias("reason"))
    return old.with_columns(parts).with_columns(leaks), new
