"""Openly licensed pictures of Openverse (Flickr, Wikimedia, museums, …), found by words. No key is needed.

Asks `/images/` of the Openverse API v1; writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, TypeAdapter

from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.inaturalist import observation_group
from tasks.discover.api import Api, open_api
from tasks.discover.found import Ask, Page
from tasks.discover.licences import accepted, slug
from tasks.discover.searches import OpenverseSource
from tasks.discover.searching import Answer, Row, walk

# Measured by others in headers and refusals of anonymous requests: 20 a minute, 200 a day, 20 results a page,
# 240 results a search.
_PER_PAGE = 20
_DEPTH = 240
_CODES = {
    "cc0": "cc0",
    "public-domain": "pdm",
    "cc-by": "by",
    "cc-by-sa": "by-sa",
    "cc-by-nd": "by-nd",
    "cc-by-nc": "by-nc",
    "cc-by-nc-sa": "by-nc-sa",
    "cc-by-nc-nd": "by-nc-nd",
}
_ADVICE = "Check `query:`, `licences:` and `providers:` (Openverse's names of collections: flickr, wikimedia, …)."


class _Image(BaseModel):
    id: str
    url: str | None = None
    foreign_landing_url: str | None = None
    creator: str | None = None
    license: str | None = None


class _Answer(BaseModel):
    result_count: int
    page_count: int
    results: list[_Image]


_ANSWER = TypeAdapter(_Answer)


def problems(ask: Ask[OpenverseSource]) -> Iterable[HarvestmanError]:
    """Yield licences that Openverse does not have."""
    unknown = sorted((accepted(ask.source.licences) or set()) - set(_CODES))
    if unknown:
        yield SourceError(
            f"Openverse has no pictures with the licence {', '.join(unknown)}.",
            received=f"licences: {', '.join(ask.source.licences)}",
            hint=f"It has {', '.join(_CODES)}.",
        )


def pages(ask: Ask[OpenverseSource]) -> Iterator[Page]:
    """Yield the results of each query, 240 at the most: Openverse shows no more to whom it does not know.

    Left out and counted: `licence-refused`, `not-addresses` (a result without one), `beyond-limit`.

    Raises:
        SourceError: the query is refused, or the answer has another shape.
        SourceUnavailableError: Openverse does not answer.
    """
    with open_api(ask, "openverse", advice=_ADVICE) as api:
        searches = [[query] for query in ask.source.queries]
        yield from walk(ask, searches, lambda query, place: _answer(api, ask.source, query=query, page=place or 1))


def _answer(api: Api, source: OpenverseSource, *, query: str, page: int) -> Answer:
    licences = accepted(source.licences) or set()
    codes = [code for licence, code in _CODES.items() if licence in licences]
    parameters: dict[str, str | int] = {"q": query, "license": ",".join(codes), "page": page, "page_size": _PER_PAGE}
    if source.providers:
        parameters["source"] = ",".join(source.providers)
    found = api.get("/images/", parameters, _ANSWER)
    notes = Counter(rows=len(found.results))
    rows = [row for image in found.results if (row := _row(image, licences, notes))]
    more = bool(found.results) and page < min(found.page_count, _DEPTH // _PER_PAGE)
    return Answer(rows, notes, page + 1 if more else None, min(found.result_count, _DEPTH), len(found.results))


def _row(image: _Image, licences: set[str], notes: Counter[str]) -> Row | None:
    licence = slug(image.license)
    if licence not in licences:
        notes["licence-refused"] += 1
        return None
    if not image.url:
        notes["not-addresses"] += 1
        return None
    return {
        "url": image.url,
        "source_id": image.id,
        # Where its page is an observation's; a photo's (`/photos/<id>`) does not name the observation: such a
        # picture meets its other roads by the identity of its address.
        "group_id": observation_group(image.foreign_landing_url),
        "licence": licence,
        "creator": image.creator or None,
        "page_url": image.foreign_landing_url,
    }
