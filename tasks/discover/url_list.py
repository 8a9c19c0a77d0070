"""Hand-made lists of image addresses: one a line, or a table, with all that browsers and spreadsheets leave in them.

Reads files; writes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import polars as pl

from tasks.core.errors import HarvestmanError, SourceError
from tasks.discover.config import UrlListSource
from tasks.discover.delimited import decoded, one_newline
from tasks.discover.fields import ALIASES
from tasks.discover.found import Ask, Page
from tasks.discover.tabular import (
    NAMED_SUFFIXES,
    TABLE_SUFFIXES,
    candidates,
    first_row_as_header,
    label,
    read_bytes,
    read_table,
    require,
    suffix_of,
    unreadable,
    where,
)

# Names that tables give these columns, first come first served. A table with `image_url` and `url` (iNaturalist's)
# means a page by the second.
_ADDRESSES = ("image_url", "photo_url", "media_url", "img_url", "imageurl", "url", "image", "link", "identifier", "src")
_ALIASES = {
    **ALIASES,
    "source_id": ("source_id", "photo_id", "image_id", "id"),
    "page_url": (*ALIASES["page_url"], "url"),
}
_WHAT = "URL list"
_QUOTES = "\"'`<>\u201c\u201d\u2018\u2019\u00ab\u00bb"
_ROUND = _QUOTES + "\ufeff,; \t\r\n"
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*://[^\s/?#]+", re.IGNORECASE)
_HOST_AND_PATH = re.compile(r"^[\w-]+(\.[\w-]+)*\.[a-z]{2,}(:\d+)?/\S*$", re.IGNORECASE)
_GOOGLE = re.compile(r"(^|\.)google(\.[a-z]{2,3}){1,2}$")
_THUMBNAIL = re.compile(r"^encrypted-tbn\d*\.(gstatic|google)\.com$")
_LOOKS = rf"(?i)^[{re.escape(_ROUND)}]*(?:data:|[a-z][a-z0-9+.-]*://|//|www\.)[^\s/?#]"
_PLAIN = r"^https?://[^\s/?#]+"  # needs no second look, unless Google is in it
_MOST = 0.5  # of a column's cells are addresses: it is the column of addresses


@dataclass(frozen=True)
class _Line:
    """A line that holds an address, or the reason that it holds none."""

    url: str | None = None
    page_url: str | None = None
    skipped: str | None = None
    unwrapped: bool = False


def problems(ask: Ask[UrlListSource]) -> Iterable[HarvestmanError]:
    """Yield an error for each file that is missing or may not be read."""
    return unreadable(ask.source.files, what=_WHAT)


def pages(ask: Ask[UrlListSource]) -> Iterator[Page]:
    """Yield the addresses of all the files.

    Quotes, byte order marks, CRLF, blank lines, `#` comments and repetitions are seen through;
    `google.…/imgres` wrappers are replaced by the picture they show, with its page; Google's own
    thumbnails (`encrypted-tbn…`) and `data:` URIs are left out and counted. UTF-8, UTF-16, else Latin-1.

    Raises:
        SourceError: a file cannot be read, its column of addresses is not plain, or no file holds a usable address.
    """
    notes = Counter({"rows": 0})
    found = pl.concat([_listed(path, ask, notes) for path in ask.source.files], how="diagonal")
    if found.is_empty():
        raise _nothing(ask.source.files, notes)
    ordered = found.sort(found.columns, nulls_last=True)  # whichever of two rows comes first, the same one stays
    unique = ordered.unique(["url", *({"label"} & set(found.columns))], keep="first", maintain_order=True)
    notes["duplicates"] += found.height - unique.height
    yield Page(unique, +notes)


def _listed(path: Path, ask: Ask[UrlListSource], notes: Counter[str]) -> pl.DataFrame:
    """Return the addresses of one file with what stands beside them, rows without one left out and counted."""
    source, name = ask.source, f"The {_WHAT} {path}"
    content = read_bytes(path, what=_WHAT)
    frame = _table(content, path) if _is_table(content, source, path) else _lines(content, name)
    if not frame.is_empty():
        notes["rows"] += frame.height
        rows = where(frame, source.where, name)
        notes["other-value"] += frame.height - rows.height
        frame = rows
    address = _address_column(frame, source, name)
    aliases = {column: [item for item in names if item != address.lower()] for column, names in _ALIASES.items()}
    mapped = {column: of for column, of in source.columns.items() if column != "url"}
    told = candidates(frame, mapped, aliases=aliases, name=name)
    parsed = _parsed(frame[address])
    page = (
        told["page_url"] if "page_url" in told.columns else pl.repeat(None, frame.height, dtype=pl.String, eager=True)
    )
    behind = parsed["page_url"].zip_with(parsed["page_url"].is_not_null(), page)
    told = pl.DataFrame([parsed["url"], behind, *told.drop("page_url", strict=False)])
    if ask.label is None and source.label is not None:
        taxa = [frame_name for frame_name in frame.columns if frame_name.lower() in _ALIASES["taxon"]]
        told = told.with_columns(label(frame, source.label, name, taxon_columns=taxa or ["taxon"], path=address))
    notes["unwrapped"] += int(parsed["unwrapped"].sum())
    notes.update(dict(parsed.drop_nulls("skipped").group_by("skipped").len().sort("skipped").iter_rows()))
    return told.filter(parsed["skipped"].is_null())


def _is_table(content: bytes, source: UrlListSource, path: Path) -> bool:
    """Return whether the file is a table: by its name, a tab in its first line, or what the recipe wants of it."""
    asks = bool(source.columns or source.where or (source.label and (source.label.column or source.label.taxa)))
    tabs = b"\t" in content[:4096].strip().split(b"\n")[0]
    return asks or tabs or suffix_of(path.name) in TABLE_SUFFIXES or path.suffix == ".gz"


def _table(content: bytes, path: Path) -> pl.DataFrame:
    """Return a table; where its first row holds an address, it has no header."""
    frame = read_table(content, str(path), what=_WHAT, header=False)
    headless = pl.Series(frame.row(0), dtype=pl.String).str.contains(_LOOKS).any()
    return frame if headless or suffix_of(path.name) in NAMED_SUFFIXES else first_row_as_header(frame)


def _lines(content: bytes, name: str) -> pl.DataFrame:
    """Return the lines that are neither blank nor a comment."""
    lines = pl.Series("url", one_newline(decoded(content, name)).split("\n"), dtype=pl.String)
    return lines.filter(~lines.str.strip_chars(_ROUND).str.contains(r"^(?:#|$)")).to_frame()


def _address_column(frame: pl.DataFrame, source: UrlListSource, name: str) -> str:
    """Return the column that holds the addresses: named by the recipe, by its name, or the only one that can."""
    if "url" in source.columns:
        require(frame, [source.columns["url"]], name)
        return source.columns["url"]
    if frame.width == 1:
        return frame.columns[0]
    looks = {column: frame[column].drop_nulls().str.contains(_LOOKS).mean() or 0.0 for column in frame.columns}
    for alias in _ADDRESSES:
        for column, share in looks.items():
            if column.lower() == alias and float(str(share)):
                return column
    found = [column for column, share in looks.items() if float(str(share)) > _MOST]
    if len(found) == 1:
        return found[0]
    raise SourceError(
        f"{name} has {'several columns' if found else 'no column'} of addresses.",
        received=f"Its columns: {', '.join(frame.columns)}."
        + (f" Addresses are in {', '.join(found)}." if found else ""),
        hint="Name the one with the pictures in the recipe: `columns: {url: <column>}`; "
        "without a header they are column_1, column_2, …",
    )


def _parsed(texts: pl.Series) -> pl.DataFrame:
    """Return url, page_url, skipped and unwrapped of each line or cell; those that are plain need no Python."""
    cells = texts.str.strip_chars(_ROUND).fill_null("").to_frame("text")
    plain = pl.col("text").str.contains(_PLAIN) & ~pl.col("text").str.contains(r"(?i)google|gstatic")
    odd = cells.filter(~plain)["text"].unique().to_list()
    looked_at = [_parse(text) for text in odd]
    columns = {name: [getattr(line, name) for line in looked_at] for name in ("url", "page_url", "skipped")}
    table = pl.DataFrame(
        {"text": odd, **columns, "unwrapped": [line.unwrapped for line in looked_at]},
        schema={
            "text": pl.String,
            "url": pl.String,
            "page_url": pl.String,
            "skipped": pl.String,
            "unwrapped": pl.Boolean,
        },
    )
    joined = cells.join(table, on="text", how="left", maintain_order="left")
    return joined.select(
        pl.when(plain).then("text").otherwise("url").alias("url"),
        "page_url",
        "skipped",
        pl.col("unwrapped").fill_null(value=False),
    )


def _parse(text: str) -> _Line:
    if text[:5].lower() == "data:":
        return _Line(skipped="data-uris")
    url = _with_scheme(text)
    return _picture(url) if url else _Line(skipped="not-addresses")


def _with_scheme(text: str) -> str | None:
    """Return `text` with a scheme; None when it is no address."""
    if text.startswith("//"):
        return f"https:{text}"  # as on the pages such addresses are copied from
    if _HOST_AND_PATH.match(text):
        return f"http://{text}"  # sites that have https redirect to it; the others have nothing else
    return text if _ADDRESS.match(text) else None


def _picture(url: str) -> _Line:
    """Look behind Google's wrappers."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return _Line(url)  # ingest writes down that it is invalid
    if _THUMBNAIL.match(host):
        return _Line(skipped="thumbnails")
    if _GOOGLE.search(host) and parts.path == "/imgres":
        query = parse_qs(parts.query)
        inner = _with_scheme(query.get("imgurl", [""])[0].strip())
        if inner is None:
            return _Line(skipped="not-addresses")
        behind = _picture(inner)
        return _Line(behind.url, query.get("imgrefurl", [None])[0], behind.skipped, unwrapped=True)
    return _Line(url)


def _nothing(paths: tuple[Path, ...], notes: Counter[str]) -> SourceError:
    left_out = ", ".join(f"{number} {name}" for name, number in sorted(notes.items()) if number and name != "rows")
    many = len(paths) > 1
    return SourceError(
        f"The {_WHAT}{'s' * many} {', '.join(map(str, paths))} hold{'s' * (not many)} no usable image address.",
        received=f"{notes['rows']} lines: {left_out}" if notes["rows"] else "an empty file",
        hint="Write one image address a line into it: the address of the picture itself, not of its thumbnail.",
    )
