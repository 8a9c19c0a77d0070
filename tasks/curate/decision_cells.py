"""A file of decisions as a table of strings, whatever program wrote it: CSV of several encodings, or Parquet.

Reads one file; returns its cells with where a person finds each row. Writes nothing.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from tasks.core.errors import SourceError
from tasks.core.tables import DECISIONS

HINT = (
    "A decision is a row with sha256 (64 hexadecimal digits), verdict (keep, reject or relabel) and, for relabel, the "
    "class in `label`; by and at may be told. Rows with a blank verdict are left open."
)
_DELIMITERS = ",;\t|"
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LONG_CELL = "Shorten the cell there, or close the quote that makes one of many lines."


def read_cells(path: Path) -> pl.DataFrame:
    """Return the file as strings, column names in lower case, with `row`: where a person finds each."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if content.startswith(b"PAR1"):
        return _parquet(content, path)
    if content.startswith(b"PK\x03\x04") or (b"\0" in content[:4096] and not content.startswith(_WIDE)):
        raise SourceError(
            f"{path} is neither CSV nor Parquet.",
            received=f"bytes beginning with {content[:8]!r}",
            hint="Save it from the spreadsheet as CSV (UTF-8).",
        )
    return _csv(_decoded(content), path)


def _decoded(content: bytes) -> str:
    if content.startswith(_WIDE):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _csv(text: str, path: Path) -> pl.DataFrame:
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    header: list[str] = []
    rows: list[list[str]] = []
    start = 1
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                pass
            elif not header:
                header = _header(cells, path)
            else:
                filled = cells[: len(header)] + [""] * (len(header) - len(cells))
                rows.append([f"line {start}", *filled])
            start = reader.line_num + 1
    except csv.Error as error:
        long = "field limit" in str(error)  # of the csv module: 131,072 characters
        hint = _LONG_CELL if long else "Close the quote there."
        raise SourceError(
            f"{path} cannot be divided into rows.", received=f"line {start}: {error}", hint=hint
        ) from error
    return pl.DataFrame(rows, schema=dict.fromkeys(["row", *header], pl.String), orient="row")


def _parquet(content: bytes, path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(content)
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"{path} is not a readable Parquet file.", received=str(error), hint=HINT) from error
    frame = frame.rename(dict(zip(frame.columns, _header(frame.columns, path), strict=True)))
    frame = frame.select(name for name in DECISIONS if name in frame.columns)
    if isinstance(zoned := frame.schema.get("at"), pl.Datetime):
        moment = pl.col("at").dt.convert_time_zone("UTC") if zoned.time_zone else pl.col("at")
        frame = frame.with_columns(moment.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f"))
    number = pl.format("row {}", pl.int_range(1, pl.len() + 1)).alias("row")
    return frame.with_columns(number, pl.all().cast(pl.String))


def _header(names: Iterable[str], path: Path) -> list[str]:
    lowered = [name.strip().lower() for name in names]
    twice = [name for name in DECISIONS if lowered.count(name) > 1]
    if twice:
        raise SourceError(f"{path} has several columns {twice[0]}.", hint="Leave the one that counts.")
    # Columns of other names may stand there as often as they like, also without one.
    return [name if name in DECISIONS else f"_{number}_{name}" for number, name in enumerate(lowered)]


def _unreadable(path: Path, error: OSError) -> SourceError:
    if not isinstance(error, FileNotFoundError):
        return SourceError(
            f"The decisions {path} cannot be read.",
            received=f"{type(error).__name__}: {error.strerror or error}",
            hint="Give a CSV or Parquet file that this user may read.",
        )
    beside = [found.name for found in sorted(path.parent.glob("*"))] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}? " if near else ""
    return SourceError(
        f"There are no decisions {path}.", hint=f"{hint}A path in a recipe starts at the recipe's folder."
    )
