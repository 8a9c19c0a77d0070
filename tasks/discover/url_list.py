"""Hand-made lists of image addresses: one a line, with all that browsers and spreadsheets leave in them.

Reads one text file; writes nothing.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tasks.core.errors import SourceError
from tasks.core.network import NetworkPolicy
from tasks.discover.config import UrlListSource
from tasks.discover.found import Discovered, candidate_frame, counted

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),  # Notepad's "Unicode"
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_QUOTES = "\"'`<>\u201c\u201d\u2018\u2019\u00ab\u00bb"
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*://[^\s/?#]+", re.IGNORECASE)
_HOST_AND_PATH = re.compile(r"^[\w-]+(\.[\w-]+)*\.[a-z]{2,}(:\d+)?/\S*$", re.IGNORECASE)
_GOOGLE = re.compile(r"(^|\.)google(\.[a-z]{2,3}){1,2}$")
_THUMBNAIL = re.compile(r"^encrypted-tbn\d*\.(gstatic|google)\.com$")


@dataclass(frozen=True)
class _Line:
    """A line that holds an address, or the reason that it holds none."""

    url: str = ""
    page_url: str | None = None
    skipped: str | None = None
    unwrapped: bool = False


def discover_url_list(source: UrlListSource, *, label: str, network: NetworkPolicy) -> Discovered:  # noqa: ARG001 - a file needs no network
    """Read the addresses of a list file.

    Quotes, byte order marks, CRLF, blank lines, `#` comments and repetitions are seen through;
    `google.…/imgres` wrappers are replaced by the picture they show, with its page; Google's own
    thumbnails (`encrypted-tbn…`) and `data:` URIs are left out and counted. UTF-8, UTF-16 with a
    byte order mark, else Latin-1.

    Raises:
        SourceError: there is no such file, it cannot be read, or no line holds a usable address.
    """
    lines = [_parse(line) for line in _read(source.path).splitlines()]
    found: dict[str, _Line] = {}
    notes = Counter({"rows": 0})
    for line in lines:
        if line.skipped in {"blank", "comments"}:
            continue
        notes["rows"] += 1
        notes["unwrapped"] += line.unwrapped
        if line.skipped:
            notes[line.skipped] += 1
        elif line.url in found:
            notes["duplicates"] += 1
        else:
            found[line.url] = line
    if not found:
        raise _nothing(source.path, notes)
    rows = [
        {"url": url, "label": label, "source": "url_list", "page_url": line.page_url} for url, line in found.items()
    ]
    return Discovered(candidate_frame(rows), counted(notes, candidates=len(found)))


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SourceError(
            f"There is no URL list {path}.",
            hint="Write one image address a line into it, or correct `path:` in the recipe "
            "(a relative path starts at the recipe's folder).",
        ) from None
    except OSError as error:
        raise SourceError(
            f"The URL list {path} cannot be read.",
            received=f"{type(error).__name__}: {error.strerror}",
            hint="`path:` must name a text file that this user may read.",
        ) from error
    encoding = next((name for mark, name in _BOMS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _nothing(path: Path, notes: Counter[str]) -> SourceError:
    left_out = ", ".join(f"{number} {name}" for name, number in sorted(notes.items()) if number and name != "rows")
    return SourceError(
        f"The URL list {path} holds no usable image address.",
        received=f"{notes['rows']} lines: {left_out}" if notes["rows"] else "an empty file",
        hint="Write one image address a line into it: the address of the picture itself, not of its thumbnail.",
    )


def _parse(raw: str) -> _Line:
    text = raw.strip().lstrip("\ufeff").strip(_QUOTES + ",; \t").strip()
    if not text:
        return _Line(skipped="blank")
    if text.startswith("#"):
        return _Line(skipped="comments")
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
