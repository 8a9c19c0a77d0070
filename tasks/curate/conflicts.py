"""Label conflicts: one picture, several classes. Settled as the recipe says, and always listed.

Owns who loses. Reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tasks.core.tables import DUPLICATE_BYTES, KEPT, LABEL_CONFLICT, NEAR_DUPLICATE
from tasks.curate.clusters import OPEN, images_of, near_pairs, walk_again
from tasks.curate.config import CurateConfig

_IN_A_CLUSTER = (KEPT, DUPLICATE_BYTES, NEAR_DUPLICATE, LABEL_CONFLICT, "over-cap")
_LISTED = ("cluster_id", "sha256", "label", "offered_label", "verdict", "url")


def conflicts(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of every cluster that spans classes, however it was settled, with the columns of `_LISTED`.

    A conflict that a person has ended by giving all its images one class is none any more; one that a person has ended
    by saying what one of them shows is listed.

    Args:
        verdicts: a verdicts table.

    Returns:
        cluster_id, sha256, label, offered_label, verdict, url; sorted.
    """
    members = verdicts.filter(pl.col("verdict").is_in(_IN_A_CLUSTER))
    spans = (pl.col("label").n_unique() > 1) | (pl.col("verdict") == LABEL_CONFLICT).any()
    return members.filter(spans.over("cluster_id")).select(_LISTED).sort(_LISTED)


def settle(rows: pl.DataFrame, config: CurateConfig, labels: Sequence[str]) -> pl.DataFrame:
    """Set aside the rows that lose a label conflict (`label-conflict`, with what each class had in `detail`).

    Clusters around an image of which a person says what it shows are settled by that. Where a class wins, its images
    may have lost the one that stood for them: those left are walked again, until no cluster spans classes.

    Args:
        rows: as `tasks.curate.clusters.add_walk` returns them, with `detail`.
        config: the recipe's `curate:` block.
        labels: classes of the recipe, in its order.

    Returns:
        `rows` with `cluster_id`: the cluster in which the row was last fought over, else the one it belongs to.
    """
    near = config.near_duplicates
    rows = rows.with_columns(pl.col("stands").alias("cluster_id"), pl.lit(value=False).alias("fought"))
    while True:
        spanning = _spanning(rows.filter(OPEN & ~pl.col("decided")), config.conflicts, labels)
        if spanning.is_empty():
            return _settle_pairs(rows, config, labels) if near.keep == "all" else rows
        rows = _divide(rows, spanning)
        won = spanning.filter(pl.col("winner").is_not_null()).select("stands")
        touched = rows.join(won, on="stands", how="semi")["near"].unique().implode()
        left = rows.filter(OPEN & ~pl.col("decided") & pl.col("near").is_in(touched))
        rows = _stand(rows, walk_again(images_of(left), near))


def _spanning(rows: pl.DataFrame, policy: str, labels: Sequence[str]) -> pl.DataFrame:
    """Return the clusters with several classes: `stands`, `tally` ("bee 3, wasp 1"), `winner` (null: nobody)."""
    votes = (
        rows.group_by("stands", "label")
        .agg(pl.col("url").n_unique().cast(pl.Int64).alias("addresses"))
        .sort("stands", -pl.col("addresses"), "label")
    )
    addresses = pl.col("addresses")
    winner = {
        "quarantine": pl.lit(None, pl.String),
        "majority": pl.when(addresses.first() > addresses.get(1, null_on_oob=True)).then(pl.col("label").first()),
        "keep-first": pl.col("label").sort_by(_place("label", labels), "label").first(),
    }[policy]
    tally = pl.concat_str("label", "addresses", separator=" ").str.join(", ")
    clusters = votes.group_by("stands", maintain_order=True)
    return clusters.agg(pl.len().alias("classes"), tally=tally, winner=winner).filter(pl.col("classes") > 1)


def _place(column: str, labels: Sequence[str]) -> pl.Expr:
    return pl.col(column).replace_strict(list(labels), range(len(labels)), default=len(labels), return_dtype=pl.Int64)


def _divide(rows: pl.DataFrame, spanning: pl.DataFrame) -> pl.DataFrame:
    rows = rows.join(spanning.select("stands", "tally", "winner"), on="stands", how="left", maintain_order="left")
    fights = OPEN & pl.col("tally").is_not_null()
    loses = fights & pl.col("winner").ne_missing(pl.col("label"))
    return rows.with_columns(
        cluster_id=pl.when(fights).then("stands").otherwise("cluster_id"),
        fought=pl.col("fought") | fights,
        detail=pl.when(loses).then("tally").otherwise("detail"),
        verdict=pl.when(loses).then(pl.lit(LABEL_CONFLICT)).otherwise("verdict"),
    ).drop("tally", "winner")


def _stand(rows: pl.DataFrame, walked: pl.DataFrame) -> pl.DataFrame:
    rows = rows.join(walked.rename({"stands": "again"}), on="sha256", how="left", maintain_order="left")
    moves = OPEN & pl.col("again").is_not_null()
    return rows.with_columns(
        stands=pl.when(moves).then("again").otherwise("stands"),
        cluster_id=pl.when(moves & ~pl.col("fought")).then("again").otherwise("cluster_id"),
    ).drop("again")


def _settle_pairs(rows: pl.DataFrame, config: CurateConfig, labels: Sequence[str]) -> pl.DataFrame:
    """Where all members are kept, see to pairs of different clusters too: two members may be alike, their keepers not.

    Of such a pair the one loses that a person has said less of: keeping says more than relabelling, which says more
    than nothing. Of two alike in that both lose that nobody has decided upon, unless the recipe says that the first
    class wins, and one of two that were relabelled; never one that a person keeps.
    """
    stander = pl.col("label").filter(pl.col("sha256") == pl.col("stands")).first().over("stands")
    staying = rows.filter(OPEN & ~(pl.col("decided") & (pl.col("label") != stander)).fill_null(value=False))
    staying = staying.filter(pl.col("label").n_unique().over("near") > 1)
    pairs = near_pairs(images_of(staying), config.near_duplicates)
    weight = pl.col("named").cast(pl.Int8) + pl.col("protected")
    sides = staying.select("sha256", "label", _place("label", labels).alias("place"), weight.alias("weight"))
    sides = sides.unique("sha256")
    both = pl.concat([pairs.select("first", "second"), pairs.select(first="second", second="first")])
    met = both.join(sides, left_on="first", right_on="sha256").join(
        sides, left_on="second", right_on="sha256", suffix="_2"
    )
    weight, other, first = pl.col("weight"), pl.col("weight_2"), pl.col("place") < pl.col("place_2")
    loses = (weight < other) | (weight == other) & (
        pl.when(weight == 0).then(pl.lit(config.conflicts != "keep-first") | ~first).otherwise((weight == 1) & ~first)
    )
    losers = (
        met.filter((pl.col("label") != pl.col("label_2")) & loses)
        .group_by(sha256="first")
        .agg(pl.format("near-duplicate of {} ({})", pl.col("second").str.head(12), "label_2").min().alias("tally"))
    )
    rows = rows.join(losers, on="sha256", how="left", maintain_order="left")
    loses = OPEN & pl.col("tally").is_not_null()
    return rows.with_columns(
        detail=pl.when(loses).then("tally").otherwise("detail"),
        verdict=pl.when(loses).then(pl.lit(LABEL_CONFLICT)).otherwise("verdict"),
    ).drop("tally")
