"""A person's verdicts as a file: CSV or Parquet, filled in by hand or written by a program.

Reads one file; returns its decisions (schema DECISIONS), or says of each wrong row what is wrong. Writes nothing.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from tasks.core.errors import SourceError
from tasks.core.tables import DECISIONS, conform
from tasks.curate.decision_cells import HINT, read_cells

SAID = ("keep", "reject", "relabel")
_SHA256 = r"^[0-9a-f]{64}$"
_SHOWN = 8  # faults told at once
_LONG = 80  # characters shown of a value


def read_decisions(
    path: Path, *, labels: Sequence[str] | None = None, by: str = "", at: datetime | None = None
) -> pl.DataFrame:
    """Read and check the decisions in `path`, in the order of its rows.

    Columns may stand in any order beside others, in upper or lower case, divided by commas, semicolons, tabs or `|`.
    Rows without a verdict are passed over: a person fills in a list bit by bit.

    Args:
        path: CSV (UTF-8, UTF-16 with a mark, or Windows-1252 as older spreadsheets write) or Parquet.
        labels: classes that may be named; unchecked where they are not given.
        by: who decided, where the file does not say.
        at: when, where the file does not say. A time without a zone is UTC.

    Returns:
        Columns of DECISIONS. `by` and `at` are null where neither the file nor the caller tells them.

    Raises:
        SourceError: the file cannot be read or lacks a column, or rows are wrong: names file, row, value and the
            nearest right name.
    """
    return conform(_checked(path, labels=labels, by=by, at=at), DECISIONS).unique(maintain_order=True)


def read_files(paths: Sequence[Path], *, labels: Sequence[str] | None = None, by: str = "") -> pl.DataFrame:
    """Read several files as one, in their order; `at` is null where a file does not tell it (see `read_decisions`).

    Raises:
        SourceError: as `read_decisions`; or two files say different things of an image, and not at different times.
    """
    read = [
        _checked(path, labels=labels, by=by).with_columns(pl.format("{}, {}", pl.lit(str(path)), "row").alias("row"))
        for path in dict.fromkeys(paths)
    ]
    rows = pl.concat(read) if read else pl.DataFrame(schema={"row": pl.String(), **DECISIONS})
    if faults := _contradictions(rows):
        raise SourceError(
            "The files contradict each other.",
            received=_listed(faults),
            hint="Leave the verdict that counts, or tell in the column `at` when each was given: the newest counts.",
        )
    return conform(rows, DECISIONS).unique(maintain_order=True)


def _checked(path: Path, *, labels: Sequence[str] | None, by: str, at: datetime | None = None) -> pl.DataFrame:
    cells = read_cells(path)
    missing = [column for column in ("sha256", "verdict") if column not in cells.columns]
    if missing:
        raise _lacks(path, missing, cells.columns)
    absent = [pl.lit(None, pl.String).alias(name) for name in DECISIONS if name not in cells.columns]
    rows = _tidy(cells.with_columns(absent)).filter(pl.col("verdict").is_not_null())
    spelled = _spelled(rows, labels)
    timed, untimed = _timed(spelled)
    if faults := [*_faults(timed, labels), *untimed]:
        raise _wrong(path, faults)
    return timed.with_columns(
        pl.col("by").fill_null(pl.lit(by or None, pl.String)),
        pl.col("at").fill_null(pl.lit(at and _utc(at), DECISIONS["at"])),
        pl.when(pl.col("verdict") != "reject").then("label"),
    ).select("row", *DECISIONS)


def unknown_labels(rows: pl.DataFrame, labels: Sequence[str]) -> list[str]:
    """Say of each row that names a class which is none of `labels`; `rows` has the columns of DECISIONS and `row`."""
    wrong = rows.filter(
        (pl.col("verdict") != "reject") & pl.col("label").is_not_null() & ~pl.col("label").is_in(labels)
    )
    return [
        f"  {row}: label {_quoted(label)} is no class of the recipe; {_nearest(label, labels)}"
        for row, label in wrong.select("row", "label").iter_rows()
    ]


def _wrong(path: Path, faults: Sequence[str]) -> SourceError:
    ordered = sorted(faults, key=lambda fault: int(fault.split()[1].rstrip(":")))  # "  line 3: …", "  row 3: …"
    return SourceError(
        f"{path}: {len(faults)} decisions cannot be read." if len(faults) > 1 else f"{path}: a decision is wrong.",
        received=_listed(ordered),
        hint=HINT,
    )


def _listed(faults: Sequence[str]) -> str:
    more = [f"  … and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
    return "\n".join([*faults[:_SHOWN], *more])


def _tidy(cells: pl.DataFrame) -> pl.DataFrame:
    blank = pl.all().str.strip_chars().replace("", None)
    # Our own lists set an apostrophe before what a spreadsheet would take for a formula.
    label = pl.col("label").str.replace(r"^'([=+\-@])", "$1")
    lowered = pl.col("sha256", "verdict").str.to_lowercase()
    return cells.select("row", *DECISIONS).with_columns(blank).with_columns(lowered, label)


def _spelled(rows: pl.DataFrame, labels: Sequence[str] | None) -> pl.DataFrame:
    """Give each class as the recipe spells it: its classes never differ in case or composition alone."""
    known = {_folded(label): label for label in labels or ()}
    labelled = rows["label"].drop_nulls().unique().to_list()
    meant = {text: known.get(_folded(text), text) for text in labelled if text not in (labels or ())}
    return rows.with_columns(pl.col("label").replace(meant)) if meant else rows


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _timed(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return `rows` with `at` as a time in UTC, and what is wrong with those times that cannot be read."""
    moments: dict[str, datetime | None] = {}
    for text in rows["at"].drop_nulls().unique():
        try:
            moments[text] = _utc(datetime.fromisoformat(text))
        except (ValueError, OverflowError):
            moments[text] = None
    wrong = rows.filter(pl.col("at").is_in([text for text, moment in moments.items() if moment is None]))
    faults = [
        f"  {row}: at {_quoted(text)} is no time; write it as 2026-03-14 15:09"
        for row, text in wrong.select("row", "at").iter_rows()
    ]
    times = pl.Series("at", [moments.get(text) if text else None for text in rows["at"]], DECISIONS["at"])
    return rows.with_columns(times), faults


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _faults(rows: pl.DataFrame, labels: Sequence[str] | None) -> list[str]:
    checks: list[tuple[pl.Expr, str, Callable[[str | None], str]]] = [
        (
            ~pl.col("sha256").str.contains(_SHA256).fill_null(value=False),
            "sha256",
            lambda text: (
                "missing"
                if text is None
                else f"{_quoted(text)} is not 64 hexadecimal digits but {len(text)} characters"
            ),
        ),
        (
            ~pl.col("verdict").is_in(SAID),
            "verdict",
            lambda text: f"{_quoted(str(text))} is unknown; {_nearest(str(text), SAID)}",
        ),
        (
            (pl.col("verdict") == "relabel") & pl.col("label").is_null(),
            "label",
            lambda _: "missing: relabel to which class?",
        ),
    ]
    faults = [
        f"  {row}: {column} {complain(value)}"
        for wrong, column, complain in checks
        for row, value in rows.filter(wrong).select("row", column).iter_rows()
    ]
    return [*faults, *(unknown_labels(rows, labels) if labels is not None else []), *_contradictions(rows)]


def _contradictions(rows: pl.DataFrame) -> list[str]:
    """Find images of which one file says two things; where `at` tells which is newer, that one counts."""
    label = pl.when(pl.col("verdict") != "reject").then("label").fill_null("")
    said = rows.with_columns(pl.concat_str("verdict", label, separator=" ").str.strip_chars().alias("said"))
    both = said.group_by("sha256", "at", maintain_order=True).agg("row", "said")
    return [
        f"  {' and '.join(where)}: sha256 {sha256} has several verdicts: {', '.join(told)}"
        for sha256, where, told in both.select("sha256", "row", "said").iter_rows()
        if len(set(told)) > 1
    ]


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _LONG else f"{text[:_LONG]}…")


def _nearest(text: str, known: Sequence[str]) -> str:
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(text.lower(), lowered, n=1, cutoff=0.5)
    listed = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")  # noqa: PLR2004 - a line's worth
    return f"did you mean {lowered[near[0]]}?" if near else f"known: {listed or 'none'}"


def _lacks(path: Path, missing: Sequence[str], columns: Sequence[str]) -> SourceError:
    names = [name.split("_", 2)[2] if name.startswith("_") else name for name in columns if name != "row"]
    near = [difflib.get_close_matches(column, names, n=1, cutoff=0.6) for column in missing]
    meant = [f"{found[0]} for {column}" for column, found in zip(missing, near, strict=True) if found]
    return SourceError(
        f"{path} has no column {' and no column '.join(missing)}.",
        received=f"Its columns: {', '.join(names) or 'none'}.",
        hint=f"Did you mean {', '.join(meant)}? {HINT}" if meant else HINT,
    )
