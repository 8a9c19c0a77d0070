"""Pictures of Wikimedia Commons, found by words or taken from categories. No key is needed.

Asks `action=query` of the MediaWiki API; writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from tasks.core.errors import HarvestmanError, SourceError, SourceUnavailableError
from tasks.discover.api import Api, open_api
from tasks.discover.found import Ask, Page
from tasks.discover.licences import accepted, slug
from tasks.discover.searches import WikimediaCommonsSource
from tasks.discover.searching import Answer, Row, walk

_PER_PAGE = 50  # more scaled addresses are not given in one answer
_MAXLAG = 5  # seconds that Commons' databases may lag behind; above, robots are asked to wait
_ATTEMPTS = 5
_MAX_WAIT = 60.0  # seconds
_PASSING = ("maxlag", "ratelimited", "readonly", "internal_api_error")  # beginnings of error codes
_FORMATS = {"image/jpeg", "image/png", "image/gif", "image/webp", "image/tiff"}
_LICENCE = ("License", "LicenseUrl", "LicenseShortName", "UsageTerms")
_WANTED = (*_LICENCE, "Artist", "GPSLatitude", "GPSLongitude")
_NAMED = ("cc", "creative", "public", "no known copyright")
_ADVICE = "Check `query:` and `category:`; the words of CirrusSearch (`incategory:`, `filetype:`) may stand in a query."
_EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}

_BREAKS = {"br", "div", "li", "p", "td"}


class _Told(BaseModel):
    value: str | float | int | None = None


class _Info(BaseModel):
    url: str | None = None  # missing where the file is hidden
    thumburl: str | None = None
    descriptionurl: str | None = None
    width: int = 0
    mime: str = ""
    extmetadata: dict[str, _Told] = {}

    @field_validator("extmetadata", mode="before")
    @classmethod
    def _php(cls, value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        return value or {}  # PHP writes an empty map as a list

    def told(self, name: str) -> str:
        """Return what the file's page tells under `name`, in HTML; empty = nothing."""
        value = self.extmetadata[name].value if name in self.extmetadata else None
        return "" if value is None else str(value)


class _File(BaseModel):
    pageid: int = 0  # missing where the page is
    index: int = 0  # place among the results of a search
    imageinfo: list[_Info] = []  # empty where this answer leaves it to the next


class _Pages(BaseModel):
    pages: list[_File] = []


class _Error(BaseModel):
    code: str
    info: str = ""
    text: str = ""  # where `info` stands in newer error formats
    lag: float | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    batchcomplete: bool = False
    query: _Pages | None = None
    onward: dict[str, str | int] | None = Field(None, alias="continue")
    error: _Error | None = None
    errors: list[_Error] = []

    @model_validator(mode="after")
    def _told(self) -> _Answer:
        if not self.model_fields_set:  # an empty result says at least that it is complete
            raise ValueError("it has none of query, batchcomplete, continue, error and errors")
        return self


_ANSWER = TypeAdapter(_Answer)
_Query = dict[str, str | int]


def problems(_ask: Ask[WikimediaCommonsSource]) -> Iterable[HarvestmanError]:
    """Yield nothing: it needs neither file nor key."""
    return ()


def pages(ask: Ask[WikimediaCommonsSource]) -> Iterator[Page]:
    """Yield the files of each query, then of each category, `limit` of each at the most.

    Left out and counted: `not-an-image` (drawings, documents, films, sound), `licence-refused`, `hidden`,
    `beyond-limit`.

    Raises:
        SourceError: the query is refused, a category holds no file, or the answer has another shape.
        SourceUnavailableError: Commons does not answer, or asks robots to stay away for now.
    """
    source = ask.source
    searches = [[_searched(query)] for query in source.queries] + [[_listed(name)] for name in source.categories]
    with open_api(ask, "wikimedia_commons", advice=_ADVICE) as api:

        def answer(generator: _Query, place: _Query | None) -> Answer:
            got = _answer(api, source, asked=generator | (place or {}))
            if place is None and not got.items and got.onward is None and "gcmtitle" in generator:
                raise _no_files(str(generator["gcmtitle"]))
            return got

        yield from walk(ask, searches, answer)


def _no_files(title: str) -> SourceError:
    return SourceError(
        f"Wikimedia Commons has no files in {title}.",
        hint="Correct `category:`: upper and lower case count behind the first letter. Files of sub-categories are not "
        "taken: name those, or search for them (`query: 'deepcategory:\"…\"'`).",
    )


def _searched(query: str) -> _Query:
    return {"generator": "search", "gsrsearch": query, "gsrnamespace": 6, "gsrlimit": _PER_PAGE}


def _listed(category: str) -> _Query:
    title = f"Category:{category.removeprefix('Category:')}"
    return {"generator": "categorymembers", "gcmtitle": title, "gcmtype": "file", "gcmlimit": _PER_PAGE}


def _answer(api: Api, source: WikimediaCommonsSource, *, asked: _Query) -> Answer:
    query: _Query = {
        "action": "query",
        "format": "json",
        "formatversion": 2,
        "maxlag": _MAXLAG,
        **asked,
        "prop": "imageinfo",
        "iiprop": "url|size|mime|extmetadata",
        "iiurlwidth": source.width,
        "iiextmetadatafilter": "|".join(_WANTED),
    }
    found = _patiently(api, query)
    files = sorted(found.query.pages if found.query else [], key=lambda file: (file.index, file.pageid))
    told = [(file, file.imageinfo[0]) for file in files if file.imageinfo]
    notes, licences, rows = Counter(rows=len(told)), accepted(source.licences), list[Row]()
    for file, info in told:
        if reason := _refusal(info, licences):
            notes[reason] += 1
        else:
            rows.append(_row(file, info, source.width))
    return Answer(rows, notes, found.onward, None, len(files))


def _patiently(api: Api, query: _Query) -> _Answer:
    """Ask; where Commons answers, with a success, that it is busy, wait as long as it lags and ask again."""
    for attempt in range(1, _ATTEMPTS + 1):
        found = api.get("", query, _ANSWER)
        error = found.error or next(iter(found.errors), None)
        if error is None:
            return found
        received = f"{error.code}: {error.info or error.text}"
        if not error.code.startswith(_PASSING):
            raise SourceError("Wikimedia Commons refuses the query.", received=received, hint=_ADVICE)
        if attempt < _ATTEMPTS:
            api.sleep(min(_MAXLAG * 2.0 ** (attempt - 1) if error.lag is None else error.lag, _MAX_WAIT))
    raise SourceUnavailableError(
        "Wikimedia Commons is busy.",
        received=received,
        hint="Run the same command again later: what is collected already is kept.",
    )


def _refusal(info: _Info, licences: set[str] | None) -> str | None:
    """Say why a file is left out; None where it is taken."""
    if not info.url:
        return "hidden"
    if info.mime not in _FORMATS:
        return "not-an-image"
    return "licence-refused" if licences is not None and _licence(info) not in licences else None


def _row(file: _File, info: _Info, width: int) -> Row:
    latitude, longitude = _number(info.told("GPSLatitude")), _number(info.told("GPSLongitude"))
    return {
        "url": info.thumburl if info.thumburl and info.width > width else info.url,
        "source_id": str(file.pageid),
        "licence": _licence(info),
        "creator": plain_text(info.told("Artist")) or None,
        "page_url": info.descriptionurl,
        "latitude": latitude if longitude is not None else None,
        "longitude": longitude if latitude is not None else None,
    }


def _licence(info: _Info) -> str | None:
    """Return the licence that the file's page names.

    Commons knows more free licences than we have slugs for. What names neither Creative Commons nor the public
    domain is unknown: its `Attribution` is not CC BY, though it reads like it.
    """
    texts = [info.told(name) for name in _LICENCE]
    named = [text for text in texts if any(word in text.lower() for word in _NAMED)]
    return next((found for text in named if (found := slug(text))), None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class _Text(HTMLParser):
    """Collects the text a reader sees."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0  # elements open since one that is not shown

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        unseen = tag in {"style", "script"} or "display:none" in (dict(attrs).get("style") or "").replace(" ", "")
        if tag in _BREAKS:
            self.parts.append(" ")
        if tag not in _EMPTY and (self._hidden or unseen):
            self._hidden += 1

    def handle_endtag(self, tag: str) -> None:
        if tag not in _EMPTY and self._hidden:
            self._hidden -= 1

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def plain_text(html: str) -> str:
    """Return the visible text of `html` on one line."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    return " ".join("".join(parser.parts).split())
