"""Tables written as text, whatever wrote them: encoding, delimiter, quotes, ragged rows.

Reads and writes nothing: bytes come in, a frame of strings goes out.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

import polars as pl

from tasks.core.errors import SourceError

Quoting = Literal[0, 3]  # csv.QUOTE_MINIMAL, csv.QUOTE_NONE

DELIMITERS = (",", "\t", ";", "|")
ALONE = "\x1f"  # stands for "one column": occurs in no text
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),  # Notepad's and Excel's "Unicode text"
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 200  # rows looked at for the delimiter
_ENOUGH = 0.5  # of them must have as many cells as the first one


def decoded(content: bytes, name: str) -> str:
    """Return the text of `content`: UTF-8, UTF-16 with a byte order mark or half of it zeros, else Latin-1.

    Raises:
        SourceError: it is no text.
    """
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    head = content[:4096]
    if b"\0" in head:
        wide = [head[start::2].count(0) for start in (0, 1)]
        if max(wide) < len(head) // 4 or min(wide) > len(head) // 16:
            raise SourceError(
                f"{name} is not text.",
                received=f"bytes beginning with {content[:16]!r}",
                hint="Give a table as CSV, TSV, JSON lines or Parquet, each with its usual suffix.",
            )
        return content.decode("utf-16-be" if wide[0] > wide[1] else "utf-16-le", errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def one_newline(text: str) -> str:
    """Return `text` with a line feed at the end of each line: Windows and old Macs write others."""
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")


def delimiter_of(text: str, preferred: str | None = None) -> str:
    """Return the delimiter that divides most of the first rows as it does the first one; ALONE where none does."""
    shares = {}
    for delimiter in DELIMITERS:
        kinds: tuple[Quoting, ...] = (csv.QUOTE_MINIMAL, csv.QUOTE_NONE) if delimiter == "\t" else (csv.QUOTE_MINIMAL,)
        share, width = max(_agreement(text[: 1 << 18], delimiter, quoting) for quoting in kinds)
        if width > 1 and share >= _ENOUGH:
            shares[delimiter] = (delimiter == preferred, share, width)
    return max(shares, key=lambda delimiter: shares[delimiter], default=ALONE)


def _agreement(sample: str, delimiter: str, quoting: Quoting) -> tuple[float, int]:
    """Return the share of rows that have as many cells as the first one, and that number."""
    rows = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, quoting=quoting)
    try:
        widths = [len(row) for row in islice((row for row in rows if row), _SAMPLE)]
    except csv.Error:  # a cell longer than csv allows: this delimiter does not divide the text
        return 0.0, 0
    return (widths.count(widths[0]) / len(widths), widths[0]) if widths else (0.0, 0)


def rows_of(
    text: str, delimiter: str, *, name: str, quoted: bool | None = None, only: Iterable[int] | None = None
) -> pl.DataFrame:
    """Divide `text` (lines ending in a line feed) into rows and cells, the first row like any other.

    Args:
        text: the table.
        delimiter: between cells.
        name: of the table, for errors.
        quoted: whether quotes enclose cells; None = see for yourself.
        only: indices of the columns to keep, from 0, where not all are wanted.

    Returns:
        Strings in columns `column_1`, `column_2`, …; cells that are missing or blank are null, blank rows left out.

    Raises:
        SourceError: a quote is never closed.
    """
    if quoted is None:
        quoted = delimiter != "\t" or _tabs_are_quoted(text)
    # Polars takes any quote for an opening one, also within a cell (`a 5" nail`), and swallows lines until the
    # next. The csv module does not, and takes three times as long (200,000 rows of 17 columns: 3.4 s instead of 1.1 s).
    kept = None if only is None else sorted(set(only))
    if quoted and not _well_quoted(text, delimiter):
        frame = _slowly(text, delimiter, name)
        frame = frame if kept is None else frame.select(frame.columns[index] for index in kept if index < frame.width)
    else:
        frame = _fast(text, delimiter, quoted=quoted, only=kept)
    numbers = kept or range(frame.width)
    return tidy(frame.rename({old: f"column_{index + 1}" for old, index in zip(frame.columns, numbers, strict=False)}))


def tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` of strings with blanks around cells removed, blank cells null and blank rows left out."""
    stripped = frame.select(pl.all().str.strip_chars().replace("", None))
    return stripped.filter(~pl.all_horizontal(pl.all().is_null())) if stripped.width else stripped


def named(frame: pl.DataFrame, header: Sequence[str | None]) -> pl.DataFrame:
    """Return `frame` with the names of `header`; an empty one is `column_<number>`, a second `id` is `id_2`."""
    names: list[str] = []
    for number, raw in enumerate(header, 1):
        plain = (raw or "").lstrip("\ufeff").strip().strip('"').strip() or f"column_{number}"
        same = sum(name == plain for name in names)
        while same and f"{plain}_{same + 1}" in names:
            same += 1
        names.append(f"{plain}_{same + 1}" if same else plain)
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def _fast(text: str, delimiter: str, *, quoted: bool, only: list[int] | None) -> pl.DataFrame:
    width = text.partition("\n")[0].count(delimiter) + 1
    try:
        return pl.read_csv(
            text.encode(),
            has_header=False,
            columns=None if only is None else [index for index in only if index < width],
            separator=delimiter,
            quote_char='"' if quoted else None,
            infer_schema=False,
            truncate_ragged_lines=True,
        )
    except pl.exceptions.NoDataError:
        return pl.DataFrame()


def _slowly(text: str, delimiter: str, name: str) -> pl.DataFrame:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    began = 0
    try:
        for row in reader:
            rows.append(row)
            if reader.line_num - began > _TALL:
                raise _unclosed(name, began + 1)
            began = reader.line_num
    except csv.Error as error:  # a cell longer than csv allows: a quote that is never closed
        raise _unclosed(name, began + 1) from error
    width = len(rows[0]) if rows else 0
    cut = [row[:width] + [""] * (width - len(row)) for row in rows]
    return pl.DataFrame(cut, schema=[f"column_{number}" for number in range(1, width + 1)], orient="row")


_TALL = 1000  # lines; no cell of a table of images is a text of so many


def _unclosed(name: str, line: int) -> SourceError:
    return SourceError(
        f"{name} cannot be divided into rows.",
        received=f'a quote (") opened in line {line} and not closed in the next {_TALL} lines',
        hint="Close or remove the quote; a quote within a quoted cell is written twice.",
    )


def _well_quoted(text: str, delimiter: str) -> bool:
    """Return whether every quote opens a cell, closes one, or is one of two within a cell."""
    if '"' not in text:
        return True
    single = "\n" + text.replace('""', "")
    edge = re.escape(delimiter)
    # The quote stands first so that the search can jump from one to the next: 0.2 s instead of 1.2 s for 90 MB.
    whole = re.findall(rf'"(?<=[\n{edge}]")[^"]*"(?=[\n{edge}]|\Z)', single)
    return 2 * len(whole) == single.count('"')


def _tabs_are_quoted(text: str) -> bool:
    """Return whether quotes enclose cells of a table with tabs.

    GBIF's and iNaturalist's never do, and hold stray ones; Excel's do where a cell holds a tab or a line end.
    """
    if '"' not in text:
        return False
    if text.lstrip("\ufeff").startswith('"'):
        return True
    plain = pl.Series(text.removesuffix("\n").split("\n")).str.count_matches("\t", literal=True)
    return not (plain == plain[0]).all() and _well_quoted(text, "\t")
