"""Darwin Core files of any make brought into two tables: the occurrences, and the media that belong to them.

Reads a Darwin Core Archive (zip or folder, see http://rs.tdwg.org/dwc/terms/guides/text/), a record set in XML
(http://rs.tdwg.org/dwc/xsd/tdwg_dwc_simple.xsd) or one table of media; writes nothing.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.parsers import expat

import polars as pl

from tasks.core.archives import members, read_member
from tasks.core.errors import SourceError
from tasks.discover.delimited import decoded, one_newline, rows_of
from tasks.discover.tabular import read_bytes, read_table, require

WHAT = "Darwin Core file"
KEY = "_key"  # column of both tables: the id of the occurrence
_KEYS = ("gbifID", "coreid", "id", "occurrenceID")  # what that column is called in a table of media alone
_MEDIA = {"multimedia", "image", "document"}  # row types, without the vocabulary they come from
_LARGEST = 2 << 30  # bytes of one table, unpacked: three times as much memory for a moment
_DESCRIPTION = 1 << 20  # bytes of meta.xml, whose elements take many times their size
_TEXT = "{http://rs.tdwg.org/dwc/text/}"
_SEPARATED = r"\s*[|;]\s*(https?://)"  # between the addresses of associatedMedia


@dataclass(frozen=True)
class Records:
    """What a Darwin Core file holds. Strings only; columns have the terms' names without their vocabulary."""

    occurrences: pl.DataFrame | None
    """A row an occurrence, KEY once each; None where the file has media only."""
    media: pl.DataFrame
    """A row a medium, in the file's order."""
    key: str
    """What KEY is: `gbifID`, `occurrenceID`, or a number of the archive's own."""


@dataclass(frozen=True)
class _Table:
    """What meta.xml says of one table."""

    kind: str
    files: tuple[str, ...]
    delimiter: str
    quoted: bool
    header_lines: int
    key: int
    terms: dict[int, str]
    defaults: dict[str, str]


def read_records(path: Path, columns: Iterable[str], asked: Iterable[str]) -> Records:
    """Read a Darwin Core file.

    Args:
        path: zip, folder, XML file or table of media.
        columns: terms that are taken of the occurrences where they are there; of the media all are taken.
        asked: terms that the recipe names, of either table.

    Raises:
        SourceError: it cannot be read, holds no media, or lacks a term asked for.
    """
    if path.is_dir():
        return _archive(path, lambda name: read_bytes(path / name, what=WHAT), columns=[*columns], asked=[*asked])
    head = read_head(path)
    if head.startswith(b"PK"):
        inside = [member.name for member in members(path) if not member.refused]
        meta = min((name for name in inside if PurePosixPath(name).name == "meta.xml"), key=len, default="meta.xml")
        within = PurePosixPath(meta).parent

        def read(name: str) -> bytes:
            return read_member(path, str(within / name), limit=_DESCRIPTION if name == "meta.xml" else _LARGEST)

        return _archive(path, read, columns=[*columns], asked=[*asked])
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        records = _record_set(read_bytes(path, what=WHAT), path)
        require(pl.DataFrame(schema=_names(records)), asked, f"The {WHAT} {path}")
        return records
    media = read_table(read_bytes(path, what=WHAT), str(path), what=WHAT)
    require(media, asked, f"The {WHAT} {path}")
    key = next((name for name in _KEYS if name in media.columns), media.columns[0])
    return Records(None, media.with_columns(pl.col(key).alias(KEY)), key)


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(64)
    except OSError:
        return read_bytes(path, what=WHAT)[:64]  # says why in our words


def _archive(path: Path, read: Callable[[str], bytes], *, columns: list[str], asked: list[str]) -> Records:
    name = f"The {WHAT} {path}"
    core, *extensions = _described(read("meta.xml"), path)
    extension = next((table for table in extensions if table.kind in _MEDIA), core if core.kind in _MEDIA else None)
    terms = [*core.terms.values(), *core.defaults, *((extension.terms.values()) if extension else ())]
    require(pl.DataFrame(schema=dict.fromkeys(terms, pl.String)), asked, name)
    wanted = {*columns, *asked, *(() if extension else ["associatedMedia"])}
    if extension is core:
        return Records(None, *_read(core, read, wanted={*core.terms.values()}, path=path))
    rows, key = _read(core, read, wanted=wanted, path=path)
    occurrences = rows.unique(KEY, keep="first", maintain_order=True)
    if extension is not None:
        media, _ = _read(extension, read, wanted={*extension.terms.values()}, path=path)
    elif "associatedMedia" in occurrences.columns:
        media = _associated(occurrences)
    else:
        raise SourceError(
            f"{name} has no table of media.",
            received=f"Its tables: {', '.join(table.kind for table in (core, *extensions))}.",
            hint="Ask for the archive with multimedia; at GBIF that is the download format Darwin Core Archive.",
        )
    return Records(occurrences, media, key)


def _associated(occurrences: pl.DataFrame) -> pl.DataFrame:
    """Return the addresses that museums write into one cell, a row each."""
    cells = occurrences.select(KEY, pl.col("associatedMedia").alias("identifier")).drop_nulls("identifier")
    split = pl.col("identifier").str.replace_all(_SEPARATED, "\x1f$1").str.split("\x1f")
    return cells.with_columns(split).explode("identifier").with_columns(pl.col("identifier").str.strip_chars())


def _read(table: _Table, read: Callable[[str], bytes], *, wanted: set[str], path: Path) -> tuple[pl.DataFrame, str]:
    """Return the columns of a table that are wanted, named by their terms, and KEY; and what the table calls KEY."""
    key = table.terms.get(table.key, "id")
    chosen: dict[str, int] = {}
    for index, term in sorted(table.terms.items()):
        if term in wanted:
            chosen.setdefault(term, index)
    names = [KEY, *chosen]
    frames = [pl.DataFrame(schema=dict.fromkeys(names, pl.String))]
    for file in table.files:
        lines = one_newline(decoded(read(file), f"{path}/{file}")).split("\n", table.header_lines)
        text = lines[-1] if len(lines) > table.header_lines else ""
        if len(lines) > 1 and lines[0].split(table.delimiter)[table.key :][:1] == ["gbifID"]:
            key = "gbifID"  # where GBIF's own meta.xml does not say so
        only = {table.key, *chosen.values()}
        rows = rows_of(text, table.delimiter, name=f"{path}/{file}", quoted=table.quoted, only=only)
        found = [f"column_{index + 1}" for index in (table.key, *chosen.values())]
        missing = [pl.lit(None, dtype=pl.String).alias(column) for column in found if column not in rows.columns]
        full = rows.with_columns(missing) if rows.height else pl.DataFrame(schema=dict.fromkeys(found, pl.String))
        frames.append(full.select(pl.col(column).alias(name) for name, column in zip(names, found, strict=True)))
    given = [pl.lit(value).alias(term) for term, value in table.defaults.items() if term in wanted - chosen.keys()]
    return pl.concat(frames).with_columns(given), key


def _described(content: bytes, path: Path) -> list[_Table]:
    """Return the tables that meta.xml describes, the core first."""
    root = _parsed(content, f"{path}/meta.xml")
    elements = [*root.iter(f"{_TEXT}core"), *root.iter(f"{_TEXT}extension")]
    try:
        tables = [_table(element) for element in elements]
    except (ValueError, IndexError, AttributeError) as error:
        raise _bad_meta(path, f"{type(error).__name__}: {error}") from error
    if not tables:
        raise _bad_meta(path, f"<{root.tag}> without a core")
    return tables


def _table(element: ET.Element) -> _Table:
    fields = [
        (field.get("index"), local(field.get("term", "")), field.get("default"))
        for field in element.iter(f"{_TEXT}field")
    ]
    key = next((child.get("index", "0") for child in element if child.tag in {f"{_TEXT}id", f"{_TEXT}coreid"}), "0")
    files = tuple((item.text or "").strip() for item in element.iter(f"{_TEXT}location"))
    outside = [file for file in files if file.startswith(("/", "\\")) or ".." in PurePosixPath(file).parts]
    if outside:
        raise ValueError(f"{outside[0]} lies outside of the archive")
    delimiter = _unescaped(element.get("fieldsTerminatedBy", ","))
    if len(delimiter) != 1:
        raise ValueError(f"fieldsTerminatedBy is {delimiter!r}, not one character")
    return _Table(
        kind=local(element.get("rowType", "")).lower(),
        files=files,
        delimiter=delimiter,
        quoted=bool(element.get("fieldsEnclosedBy", '"')),
        header_lines=int(element.get("ignoreHeaderLines", "0")),
        key=int(key),
        terms={int(index): term for index, term, _ in fields if index is not None},
        defaults={term: default for _, term, default in fields if default is not None},
    )


def _record_set(content: bytes, path: Path) -> Records:
    """Return the records of a SimpleDarwinRecordSet, as iNaturalist's API and its tools write it."""
    occurrences: list[dict[str, str]] = []
    media: list[dict[str, str]] = []
    for number, record in enumerate(_parsed(content, str(path))):
        said = _texts(child for child in record if not len(child))
        key = said.get("occurrenceID") or said.get("references") or str(number)
        occurrences.append({**said, KEY: key})
        media += [{**_texts(child), KEY: key} for child in record if len(child)]
    if not media:
        raise SourceError(
            f"The {WHAT} {path} has no media.",
            received=f"{len(occurrences)} records without a dataObject",
            hint="Give a SimpleDarwinRecordSet with media, a Darwin Core Archive, or its table of media.",
        )
    frames = [_framed(rows) for rows in (occurrences, media)]
    return Records(frames[0].unique(KEY, keep="first", maintain_order=True), frames[1], "occurrenceID")


def _texts(elements: Iterable[ET.Element]) -> dict[str, str]:
    """Return the texts by the names of their elements; the first of several counts."""
    texts: dict[str, str] = {}
    for element in elements:
        texts.setdefault(local(element.tag), (element.text or "").strip())
    return texts


def _framed(rows: list[dict[str, str]]) -> pl.DataFrame:
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame(
        {name: [row.get(name) or None for row in rows] for name in names}, schema=dict.fromkeys(names, pl.String)
    )


def _names(records: Records) -> dict[str, type[pl.DataType]]:
    frames = (records.occurrences, records.media)
    return {name: pl.String for frame in frames if frame is not None for name in frame.columns if name != KEY}


def local(term: str) -> str:
    """Return a term, or an element's tag, without the vocabulary it comes from."""
    return term.rsplit("}", 1)[-1].rstrip("/").rsplit("/", 1)[-1].rsplit("#", 1)[-1]


def _parsed(content: bytes, name: str) -> ET.Element:
    """Parse XML; a document type, which could define entities without end, is refused before it is read."""
    try:
        guard = expat.ParserCreate()
        guard.StartDoctypeDeclHandler = _refuse
        guard.Parse(content, True)  # noqa: FBT003 - expat takes no keywords
        return ET.fromstring(content)  # noqa: S314 - entities are refused above
    except (expat.ExpatError, ET.ParseError, LookupError, ValueError) as error:
        raise SourceError(
            f"{name} cannot be read as XML.",
            received=f"{type(error).__name__}: {error}",
            hint="Fetch the archive again; a document type (<!DOCTYPE>) is never read.",
        ) from error


def _refuse(*_: object) -> None:
    raise ValueError("it has a document type")


def _bad_meta(path: Path, received: str) -> SourceError:
    return SourceError(
        f"The meta.xml of the {WHAT} {path} does not describe its tables.",
        received=received,
        hint="Fetch the archive again, or give its table of media (multimedia.txt) alone.",
    )


def _unescaped(text: str) -> str:
    return {"\\t": "\t", "\\n": "\n", "\\r": "\r"}.get(text, text)
