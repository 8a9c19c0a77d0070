"""What a person said of images, and what follows for the rows of a collection. A person has the last word.

Reads the recipe's decision files and collections/<recipe>/decisions/; writes there one immutable shard a recording,
named by its content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from tasks.core.errors import DataError
from tasks.core.fingerprint import LENGTH, table_digest
from tasks.core.tables import DECISIONS, GONE, REJECTED, conform, read_tables, write_table
from tasks.curate.decision_files import SAID, read_decisions, unknown_labels

_NAMED = 5  # images in a warning


def record(collection: Path, frame: pl.DataFrame, *, labels: Sequence[str]) -> Path:
    """Write decisions down as a shard of `collection`; the same ones twice are written once.

    Args:
        collection: folder of a recipe's collection; `decisions/` is made in it.
        frame: what `read_decisions` returns, or any table with the columns of DECISIONS.
        labels: classes of the recipe.

    Returns:
        Address of the shard.

    Raises:
        DataError: there is nothing to record, or a class is none of `labels`.
        WorkspaceError: it cannot be written.
    """
    rows = conform(frame, DECISIONS).sort(*DECISIONS)
    if rows.is_empty():
        raise DataError(
            "There is no decision to record.",
            received="not one row with a verdict",
            hint="Fill in the column `verdict`: keep, reject or relabel (with the class in `label`).",
        )
    where = pl.format("image {}", pl.col("sha256").str.head(12)).alias("row")
    if faults := unknown_labels(rows.with_columns(where), labels):
        raise DataError(
            "A decision names a class that the recipe lacks.",
            received="\n".join(faults[:8]),
            hint=f"Its classes: {', '.join(labels) or 'none'}.",
        )
    path = collection / "decisions" / f"{table_digest(rows)[:LENGTH]}.parquet"
    return path if path.exists() else write_table(rows, path)


def decisions_of(collection: Path, files: Iterable[Path] = (), *, labels: Sequence[str] | None = None) -> pl.DataFrame:
    """Return what holds for each image: of several decisions the one with the latest `at`.

    One without a time is older than any with one. Of one time, a file of the recipe counts before what is recorded,
    a later file before an earlier one, then the name of the shard and the row decide. An image that is kept after it
    was relabelled stays in that class.

    Args:
        collection: folder of a recipe's collection.
        files: decision files of the recipe, in its order.
        labels: classes that the files may name; unchecked where they are not given.

    Returns:
        Columns of DECISIONS, one row per SHA-256, sorted by it.

    Raises:
        SourceError: a file cannot be read or is wrong.
    """
    shards = read_tables(sorted((collection / "decisions").glob("*.parquet")), DECISIONS)
    told = [read_decisions(path, labels=labels, by=path.name) for path in files]
    rows = pl.concat([shards, *told]).with_row_index("place").sort("sha256", "at", "place", nulls_last=False)
    relabelled = pl.col("label").forward_fill().over("sha256")
    label = pl.when(pl.col("verdict") == "keep").then(relabelled).otherwise("label").alias("label")
    return conform(rows.with_columns(label), DECISIONS).unique("sha256", keep="last", maintain_order=True)


def unheard(collection: Path, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `frame` that say something new: not what the same person said last of the image.

    So a file that is handed over again does not overrule what others have decided since. A person who means it anew
    tells a later time in `at`.

    Args:
        collection: folder of a recipe's collection.
        frame: columns of DECISIONS; `at` is null where the file did not tell it.
    """
    shards = read_tables(sorted((collection / "decisions").glob("*.parquet")), DECISIONS)
    last = shards.sort("sha256", "by", "at", *DECISIONS, nulls_last=False).unique(
        ["sha256", "by"], keep="last", maintain_order=True
    )
    same = frame.with_row_index("place").join(
        last, on=["sha256", "by", "verdict", "label"], how="inner", nulls_equal=True, suffix="_last"
    )
    known = same.filter((pl.col("at") <= pl.col("at_last")).fill_null(value=True))
    return frame.with_row_index("place").join(known, on="place", how="anti").drop("place")


def decisions_digest(decisions: pl.DataFrame) -> str:
    """Return the SHA-256 of what `decisions` (see `decisions_of`) say; who said it and when does not count."""
    return table_digest(decisions.select("sha256", "verdict", "label"))


def overruled(standing: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Return where `new` decisions say other than the `standing` ones (see `decisions_of`), sorted by SHA-256.

    Columns: sha256, was, was_label, was_by, verdict, label, by.
    """
    before = standing.select("sha256", was="verdict", was_label="label", was_by="by")
    both = new.unique("sha256", keep="last", maintain_order=True).join(before, on="sha256")
    other = (pl.col("verdict") != pl.col("was")) | (
        pl.col("label").is_not_null() & pl.col("label").ne_missing(pl.col("was_label"))
    )
    return both.filter(other).select("sha256", "was", "was_label", "was_by", "verdict", "label", "by").sort("sha256")


def obey(rows: pl.DataFrame, decisions: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    """Apply `decisions` (one row per SHA-256) to `rows`, whatever address or class an image came by.

    Args:
        rows: columns sha256, label, url and gone (whether no source offers the image any more).
        decisions: see `decisions_of`.
        labels: classes of the recipe, in its order.

    Returns:
        `rows` with `label` as a person says, `offered_label` as the source does, `verdict` (`rejected`, `gone`, else
        null), `protected` (a person keeps the image, whatever else speaks against it), `named` (a person says what it
        shows, by keeping or relabelling it) and `note` (who said so).
        An image kept without a class that several classes offer belongs to the one with most addresses, then to the
        one that stands first in the recipe. One that belongs to a class which has left the recipe is rejected.
    """
    said = decisions.select("sha256", said="verdict", meant="label", who="by")
    rows = rows.join(said, on="sha256", how="left").with_columns(
        pl.col("label").alias("offered_label"),
        pl.when(~pl.col("gone")).then("said").alias("said"),
    )
    named = pl.col("said").is_in(["keep", "relabel"]).fill_null(value=False)
    lost = named & pl.col("meant").is_not_null() & ~pl.col("meant").is_in(list(labels))
    kept = pl.col("said").eq_missing("keep") & ~lost
    author = pl.coalesce(pl.lit(" by ") + pl.col("who"), pl.lit(""))
    word = pl.col("said").replace_strict(dict(zip(SAID, ("kept", "rejected", "relabelled"), strict=True)))
    note = pl.when(lost).then(pl.format("no class of the recipe: {}{}", "meant", author)).otherwise(word + author)
    verdict = pl.when("gone").then(pl.lit(GONE)).when(lost | pl.col("said").eq_missing("reject")).then(pl.lit(REJECTED))
    return (
        rows.with_columns(verdict=verdict, protected=kept, named=named & ~lost, note=note)
        .pipe(_with_class, list(labels), named & ~lost)
        .drop("said", "meant", "who")
    )


def _with_class(rows: pl.DataFrame, labels: list[str], named: pl.Expr) -> pl.DataFrame:
    place = pl.col("offered_label").replace_strict(labels, range(len(labels)), default=len(labels))
    unclear = rows.filter("protected", pl.col("meant").is_null())
    most = (
        unclear.group_by("sha256", "offered_label")
        .agg(pl.col("url").n_unique().cast(pl.Int64).alias("addresses"))
        .sort("sha256", -pl.col("addresses"), place, "offered_label")
        .group_by("sha256")
        .agg(pl.col("offered_label").first().alias("most"))
    )
    label = pl.when(named).then(pl.coalesce("meant", "most", "label")).otherwise("label")
    return rows.join(most, on="sha256", how="left").with_columns(label.alias("label")).drop("most")


def obeyed(decisions: pl.DataFrame, rows: pl.DataFrame, stored: pl.Series) -> tuple[dict[str, int], list[str]]:
    """Count the decisions that concern images of `rows`, by verdict, and find those that concern none.

    Args:
        decisions: see `decisions_of`.
        rows: those that were judged.
        stored: SHA-256 of every image of the ledger.

    Returns:
        Counts by verdict, with `unknown`: decisions on images that were never stored, which stay on file; and these
        images' SHA-256, sorted. Verdicts that occur are there, others not.
    """
    here = decisions.filter(pl.col("sha256").is_in(rows["sha256"].unique().implode()))
    unknown = decisions.filter(~pl.col("sha256").is_in(stored.unique().implode()))["sha256"].sort().to_list()
    counts = dict(here.group_by("verdict").len().sort("verdict").iter_rows())
    return counts | ({"unknown": len(unknown)} if unknown else {}), unknown


def idle(unknown: Sequence[str]) -> str:
    """Say that decisions are on images that were never stored; `unknown` holds their SHA-256, some are named."""
    named = ", ".join(sha256[:12] for sha256 in unknown[:_NAMED]) + (", …" if len(unknown) > _NAMED else "")
    count = "1 decision is on an image" if len(unknown) == 1 else f"{len(unknown)} decisions are on images"
    return f"{count} that the ledger does not hold; kept on file, without effect: {named}"
