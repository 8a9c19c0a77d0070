"""What a person should look at: label conflicts, and the images that look most like mistakes, as a list to fill in.

Reads verdicts, decisions and suspects; writes collections/<recipe>/review/<digest>.csv and contact sheets beside it.
"""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from tasks.core.files import write_atomic
from tasks.core.fingerprint import LENGTH, table_digest
from tasks.core.sheet import contact_sheet
from tasks.core.spreadsheets import harmless
from tasks.core.tables import KEPT, LABEL_CONFLICT, VERDICTS, Schema, conform, read_tables
from tasks.core.workspace import Workspace
from tasks.curate.config import CurateConfig
from tasks.curate.conflicts import conflicts
from tasks.curate.decisions import decisions_of
from tasks.curate.suspects import MISLABELLED, read_suspects

REVIEW: Schema = {
    "number": pl.Int64(),  # under the picture on the contact sheet
    "reason": pl.String(),  # label-conflict | mislabelled | off-topic
    "class": pl.String(),  # the image's own; those that offer it, where they are several
    "suggested": pl.String(),  # the likeliest other class; of a conflict, the one with most addresses
    "score": pl.Float64(),  # of a suspect, 0.5 to 1
    "verdict": pl.String(),  # to be filled in: keep, reject, relabel
    "label": pl.String(),  # to be filled in: the right class, where it is another one
    "detail": pl.String(),  # of a conflict: who claims it
    "classes": pl.String(),  # of a conflict: all that claim its cluster
    "url": pl.String(),
    "page_url": pl.String(),
    "path": pl.String(),  # of the image, in the workspace
    "cluster_id": pl.String(),
    "sha256": pl.String(),
}

_SCORED: Schema = {"score": pl.Float64(), "suggested": pl.String(), "classes": pl.String()}
_OF_ALL = ("reason", "suggested", "score", "detail", "classes", "url", "page_url", "cluster_id", "format")
_BETWEEN = " | "
_PER_SHEET = 120  # pictures; eight columns of 128 pixels make a sheet of about 1,090 x 2,700
_SHEETS = 5
PICTURED = _PER_SHEET * _SHEETS
"""Rows of a list that are pictured, its first; 10,000 pictures would be 84 sheets."""
_COLUMNS = 8


def review_list(
    verdicts: pl.DataFrame, decisions: pl.DataFrame, suspects: pl.DataFrame, *, workspace: Workspace, limit: int
) -> pl.DataFrame:
    """Return the images that wait for a person: all label conflicts, and those of the first `limit` suspects.

    An image that has been decided upon is left out, and so is a suspect that is not kept any more or belongs to another
    class by now. No later suspect takes its place: else a review would never end.

    Args:
        verdicts: a verdicts table.
        decisions: what holds for each image (see `tasks.curate.decisions.decisions_of`).
        suspects: see `tasks.curate.suspects.read_suspects`.
        workspace: where the images lie; no file is read.
        limit: suspects, by rank, that count at all; `curate.suspects` of the recipe.

    Returns:
        Schema REVIEW, one row per SHA-256: conflicts by cluster, then suspects by rank. The order of the rows handed
        over does not count.
    """
    open_rows = verdicts.join(decisions.select("sha256"), on="sha256", how="anti")
    rows = pl.concat(
        [_in_conflict(verdicts, open_rows), _suspected(open_rows, suspects.filter(pl.col("rank") <= limit))]
    )
    paths = [
        str(workspace.image(sha256, image_format or "").relative_to(workspace.root))
        for sha256, image_format in rows.select("sha256", "format").iter_rows()
    ]
    numbered = rows.with_columns(pl.int_range(1, pl.len() + 1).alias("number"), pl.Series("path", paths, pl.String))
    return conform(numbered, REVIEW)


def open_review(
    workspace: Workspace, collection: Path, verdicts: Path, *, config: CurateConfig
) -> tuple[Path | None, pl.DataFrame]:
    """Write the list of what waits for a person, given the verdicts table `verdicts`; return its address and its rows.

    Where nothing waits nothing is written, and there is no address.

    Raises:
        SourceError: a decision file of the recipe cannot be read or is wrong.
        WorkspaceError: it cannot be written.
    """
    rows = review_list(
        read_tables([verdicts], VERDICTS),
        decisions_of(collection, config.decisions),
        read_suspects(collection),
        workspace=workspace,
        limit=config.suspects,
    )
    return (None if rows.is_empty() else write_review(collection, rows, workspace=workspace)), rows


def _in_conflict(verdicts: pl.DataFrame, open_rows: pl.DataFrame) -> pl.DataFrame:
    listed = conflicts(verdicts)
    votes = (
        listed.group_by("cluster_id", "label")
        .agg(pl.col("url").n_unique().cast(pl.Int64).alias("addresses"))
        .sort("cluster_id", -pl.col("addresses"), "label")
    )
    most = pl.col("label").filter(pl.col("addresses") == pl.col("addresses").max())
    claims = votes.group_by("cluster_id").agg(
        pl.col("label").sort().str.join(_BETWEEN).alias("classes"),
        pl.when(most.len() == 1).then(most.first()).alias("suggested"),
    )
    rows = open_rows.filter(pl.col("verdict") == LABEL_CONFLICT).join(claims, on="cluster_id", how="left")
    return _one_each(rows.with_columns(pl.lit(LABEL_CONFLICT).alias("reason"))).sort("cluster_id", "sha256")


def _suspected(open_rows: pl.DataFrame, suspects: pl.DataFrame) -> pl.DataFrame:
    kept = open_rows.filter(pl.col("verdict") == KEPT)
    rows = kept.join(suspects, on=["sha256", "label"], how="inner")
    return _one_each(rows.with_columns(pl.lit(None, pl.String).alias("classes"))).sort("rank", "sha256").drop("rank")


def _one_each(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per image: classes joined, the first address standing for all."""
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in _SCORED.items() if name not in rows.columns]
    rank = ["rank"] if "rank" in rows.columns else []
    return (
        rows.with_columns(absent)
        .sort("sha256", "url", "label")
        .group_by("sha256", maintain_order=True)
        .agg(
            pl.col("label").unique().sort().str.join(_BETWEEN).alias("class"),
            pl.col(*_OF_ALL, *rank).first(),
        )
    )


def write_review(collection: Path, rows: pl.DataFrame, *, workspace: Workspace) -> Path:
    """Write the list as CSV, with contact sheets of its first PICTURED rows beside it; return the address of the CSV.

    It is named by its content and never written again: what a person fills in stays, also when the next list is
    another one; the sheets are `<digest>-1.png`, …. In a spreadsheet's way: UTF-8 with a mark, no cell that would be
    run as a formula.

    Args:
        collection: folder of a recipe's collection; `review/` is made in it.
        rows: see `review_list`.
        workspace: where the images lie.

    Raises:
        WorkspaceError: it cannot be written.
    """
    path = collection / "review" / f"{table_digest(rows)[:LENGTH]}.csv"
    if path.is_file():
        return path
    for number, start in enumerate(range(0, min(rows.height, PICTURED), _PER_SHEET), start=1):
        shown = rows[start : start + _PER_SHEET]
        pictures = [(_caption(row), workspace.root / row["path"]) for row in shown.iter_rows(named=True)]
        _write(path.with_name(f"{path.stem}-{number}.png"), contact_sheet(pictures, columns=_COLUMNS))
    buffer = io.BytesIO()  # through memory: Polars tells a full disk as an error of its own
    cells = rows.with_columns(pl.col("score").round(3), harmless(pl.col(pl.String)))
    cells.write_csv(buffer, include_bom=True, line_terminator="\r\n")
    return _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> Path:
    return write_atomic(path, lambda stream: stream.write(content))


def _caption(row: dict[str, object]) -> str:
    if row["reason"] == LABEL_CONFLICT:
        below = row["classes"]
    elif row["reason"] == MISLABELLED:
        below = f"{row['suggested']}? {row['score']:.2f}"
    else:
        below = f"{row['reason']} {row['score']:.2f}"
    return f"{row['number']}  {row['class']}\n{below}"
