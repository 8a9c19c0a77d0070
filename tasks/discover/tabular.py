"""Tables of images as their owners keep them: read, chosen from, labelled, brought into the columns of candidates.

Reads CSV, TSV, JSON lines and Parquet, plain or gzipped; writes nothing. Every cell is text until `candidates`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.tables import CANDIDATES
from tasks.discover.delimited import decoded, delimiter_of, named, one_newline, rows_of
from tasks.discover.fields import LabelRule
from tasks.discover.licences import slugs
from tasks.discover.structured import json_lines, parquet, unpacked

_JSON = (".jsonl", ".ndjson", ".json-lines", ".json")
NAMED_SUFFIXES = (*_JSON, ".parquet")  # their columns have names, always
TABLE_SUFFIXES = (".csv", ".tsv", *NAMED_SUFFIXES)
_MAPPED = tuple(name for name in CANDIDATES if name not in {"label", "source"})
_NAME_IT = "Name one of these columns in the recipe."
_DAY = r"^(\d{4}[-/]\d{1,2}[-/]\d{1,2})(?:\D|$)"
_UNTIL = r"^\d{4}-\d\d-\d\d[^/]*/\s*(.+)$"


def suffix_of(name: str) -> str:
    """Return what the name of a table says of its format: its suffix in lower case, `.gz` left out."""
    return Path(name.lower().removesuffix(".gz")).suffix


def read_table(content: bytes, name: str, *, what: str = "table", header: bool = True) -> pl.DataFrame:
    """Read a table that is in memory.

    Args:
        content: the file's bytes.
        name: its name; the suffix tells the format (see TABLE_SUFFIXES, each also with `.gz`; any other is text).
        what: what it is to the reader of an error, e.g. "URL list".
        header: whether the first row of a text names the columns. Without, they are `column_1`, `column_2`, …

    Returns:
        Strings only; blank cells are null, blank rows left out, short rows filled up, long ones cut.

    Raises:
        SourceError: it is no table, or has no rows.
    """
    shown = f"The {what} {name}"
    content = unpacked(content, name, shown)
    size = len(content)
    if suffix_of(name) == ".parquet" or content[:4] == b"PAR1":
        frame = parquet(content, shown)
    else:
        text = one_newline(decoded(content, shown))
        del content  # as large as the text, which may be gigabytes
        if suffix_of(name) in _JSON:
            frame = json_lines(text, shown)
        else:
            frame = rows_of(text, delimiter_of(text, "\t" if suffix_of(name) == ".tsv" else None), name=shown)
            frame = first_row_as_header(frame) if header and frame.height else frame
    if frame.is_empty():
        raise SourceError(
            f"{shown} has no rows.",
            received=f"{size} bytes" + (f", columns {', '.join(frame.columns)}" if frame.width else ""),
            hint="Export it again, or take it out of the recipe.",
        )
    return frame


def first_row_as_header(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with its first row as the names of its columns."""
    return named(frame.slice(1), frame.row(0))


def read_bytes(path: Path, *, what: str = "table") -> bytes:
    """Read a file whole.

    Raises:
        SourceError: there is no such file, or this user may not read it.
    """
    for problem in unreadable([path], what=what):
        raise problem
    try:
        return path.read_bytes()
    except OSError as error:
        raise _not_readable(path, what, error) from error


def read_file(path: Path, *, what: str = "table", header: bool = True) -> pl.DataFrame:
    """Read the table `path`; otherwise as `read_table`."""
    return read_table(read_bytes(path, what=what), str(path), what=what, header=header)


def unreadable(paths: Iterable[Path], *, what: str) -> Iterator[HarvestmanError]:
    """Yield an error for each file that is missing or may not be read."""
    for path in paths:
        try:
            with path.open("rb"):
                pass
        except FileNotFoundError:
            near = difflib.get_close_matches(path.name, _beside(path), n=1, cutoff=0.6)
            yield SourceError(
                f"There is no {what} {path}.",
                hint=(f"Did you mean {near[0]}? " if near else "")
                + "Correct `path:` in the recipe (a relative path starts at the recipe's folder).",
            )
        except OSError as error:
            yield _not_readable(path, what, error)


def require(frame: pl.DataFrame, columns: Iterable[str], name: str, *, advice: str = _NAME_IT) -> None:
    """Raise a SourceError that names the `columns` that `frame` lacks, those it has, and the nearest of them."""
    missing = [column for column in dict.fromkeys(columns) if column not in frame.columns]
    if not missing:
        return
    lowered = {present.lower(): present for present in frame.columns}
    near = [difflib.get_close_matches(column.lower(), lowered, n=1, cutoff=0.6) for column in missing]
    meant = [f"{lowered[found[0]]} for {column}" for column, found in zip(missing, near, strict=True) if found]
    if frame.width == 1:
        advice = "It was read as a single column: between cells it needs a comma, semicolon, tab or |."
    raise SourceError(
        f"{name} has no column {' and no column '.join(missing)}.",
        received=f"Its columns: {', '.join(frame.columns) or 'none'}.",
        hint=f"Did you mean {', '.join(meant)}? {advice}" if meant else advice,
    )


def where(frame: pl.DataFrame, conditions: Mapping[str, str | int | tuple[str | int, ...]], name: str) -> pl.DataFrame:
    """Return the rows that have, in every column of `conditions`, the value or one of the values given; as text.

    Raises:
        SourceError: a column is missing.
    """
    require(frame, conditions, name)
    for column, value in conditions.items():
        values = {_plain_text(str(item)) for item in (value if isinstance(value, tuple) else (value,))}
        frame = frame.filter(_plain(pl.col(column)).is_in(sorted(values)).fill_null(value=False))
    return frame


def label(
    frame: pl.DataFrame, rule: LabelRule, name: str, *, taxon_columns: Sequence[str] = (), path: str | None = None
) -> pl.Series:
    """Return the class of each row, null where it has none.

    Args:
        frame: the table.
        rule: `column` (its value), `pattern` (its first group, in that value) or `taxa` (the first class one of
            whose taxa the row belongs to; looked for in `column` where the rule names one).
        name: of the table, for errors.
        taxon_columns: where `taxa` are looked for; those that the table lacks are passed over.
        path: column that a pattern without a column is searched in.

    Raises:
        SourceError: a column is missing.
    """
    told = rule.column or (path if rule.pattern else None)
    if told is not None:
        require(frame, [told], name)
        frame = frame.with_columns(_matched(frame[told], rule.pattern).alias(told))
    elif rule.pattern:
        raise SourceError(
            f"{name} is a table: a pattern needs a column to be searched in.",
            received=f"label: {{pattern: {rule.pattern}}}",
            hint=f"Add `column:` to `label:`; the columns are {', '.join(frame.columns)}.",
        )
    if not rule.taxa:
        return frame[str(told)].alias("label")
    columns = [told] if told else [column for column in taxon_columns if column in frame.columns]
    if not columns:
        require(frame, taxon_columns[:1], name)
    found = pl.repeat(None, frame.height, dtype=pl.String, eager=True)
    for label_name, taxa in rule.taxa.items():
        fits = of_taxa(frame, taxa, columns) & found.is_null()
        found = found.zip_with(~fits, pl.repeat(label_name, frame.height, dtype=pl.String, eager=True))
    return found.alias("label")


def of_taxa(frame: pl.DataFrame, names: Iterable[str | int], columns: Iterable[str]) -> pl.Series:
    """Return whether each row belongs to one of the taxa `names`.

    It does where any of `columns` (names or ids) holds a name, or a name and more behind a space (`Apis` holds
    for `Apis dorsata Fabricius, 1793`). Upper and lower case are the same.
    """
    wanted = sorted({" ".join(str(item).split()).lower() for item in names})
    fits = pl.repeat(value=False, n=frame.height, dtype=pl.Boolean, eager=True)
    for column in columns:
        # Each spelling is looked at once: 200,000 rows hold a few hundred.
        spellings = frame[column].drop_nulls().unique()
        plain = _plain(pl.col("raw")).str.to_lowercase()
        begins = [plain.str.starts_with(f"{item} ") for item in wanted if not item.isdigit()]
        table = spellings.to_frame("raw").filter(pl.any_horizontal(plain.is_in(wanted), *begins))
        fits |= frame[column].is_in(table["raw"].implode()).fill_null(value=False)
    return fits


def near_taxa(frame: pl.DataFrame, names: Iterable[str | int], columns: Iterable[str]) -> list[str]:
    """Return the names in `columns` that are nearest to those of `names` that no row belongs to."""
    present = list(columns)
    absent = [str(item) for item in names if not of_taxa(frame, [item], present).any()]
    known = sorted({text for column in present for text in frame[column].drop_nulls().unique()})
    lowered = {text.lower(): text for text in known}
    return [lowered[near] for item in absent for near in difflib.get_close_matches(item.lower(), lowered, n=3)]


def candidates(
    frame: pl.DataFrame,
    columns: Mapping[str, str],
    *,
    aliases: Mapping[str, Sequence[str]],
    name: str = "The table",
) -> pl.DataFrame:
    """Return the columns of CANDIDATES that the table holds, in their types, a row for each of its rows.

    Args:
        frame: the table.
        columns: column of candidates to the table's column, as a recipe says; must exist.
        aliases: column of candidates to names the table's column may have, first come first served; upper and
            lower case are the same.
        name: of the table, for errors.

    Returns:
        Dates and numbers that cannot be read, and coordinates off the globe, are null; licences are slugs.

    Raises:
        SourceError: a column is missing, or `columns` names one that candidates have not.
    """
    unknown = [column for column in columns if column not in _MAPPED]
    if unknown:
        near = difflib.get_close_matches(unknown[0], _MAPPED, n=1)
        raise SourceError(
            f"`columns:` maps {', '.join(unknown)}, which no image has.",
            received=f"Known: {', '.join(_MAPPED)}.",
            hint=f"Did you mean {near[0]}?" if near else "A class is told by `label:`.",
        )
    require(frame, columns.values(), name)
    lowered = {present.lower(): present for present in reversed(frame.columns)}
    offered = {column: [lowered[item.lower()] for item in names if item.lower() in lowered] for column, names in
               aliases.items()}  # fmt: skip
    chosen = {column: found[0] for column, found in offered.items() if found} | dict(columns)
    typed = [_typed(frame[chosen[column]], column).alias(column) for column in CANDIDATES if column in chosen]
    return pl.DataFrame(typed)


def _typed(values: pl.Series, column: str) -> pl.Series:
    if column == "licence":
        return slugs(values)
    if column == "observed_on":
        return _days(values)
    if column in {"latitude", "longitude"}:
        most = 90 if column == "latitude" else 180
        number = values.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        return number.set(~number.is_between(-most, most).fill_null(value=False), None)
    return values


def _days(values: pl.Series) -> pl.Series:
    """Return the day of dates and times; null for a month, a year or more than one day (`2020-01-01/2020-01-07`)."""
    first, last = pl.col("day").str.extract(_DAY, 1), pl.col("day").str.extract(_UNTIL, 1)
    one = pl.when(last.is_null() | last.str.starts_with(first)).then(first)
    days = values.to_frame("day").select(one.str.replace_all("/", "-").str.to_date("%Y-%m-%d", strict=False))
    return days.to_series()


def _matched(values: pl.Series, pattern: str | None) -> pl.Series:
    """Return the first group of `pattern` in each value; without a pattern the values."""
    if pattern is None:
        return values
    # Python's expressions, as the recipe's check reads them; Polars' know no lookaround.
    compiled = re.compile(pattern)
    spellings = values.unique().to_list()
    groups = [
        (found[1] or "").strip() or None if (found := compiled.search(text or "")) else None for text in spellings
    ]
    return values.replace_strict(spellings, groups, return_dtype=pl.String)


def _plain(values: pl.Expr) -> pl.Expr:
    """Return values without blanks around them; `48662.0`, as pandas writes a column with gaps, is `48662`."""
    return values.str.strip_chars().str.replace(r"^(-?\d+)\.0+$", "$1")


def _plain_text(text: str) -> str:
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text.strip())


def _not_readable(path: Path, what: str, error: OSError) -> SourceError:
    return SourceError(
        f"The {what} {path} cannot be read.",
        received=f"{type(error).__name__}: {error.strerror}",
        hint="`path:` must name a file that this user may read.",
    )


def _beside(path: Path) -> list[str]:
    return [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
