"""Addresses of pictures that Google Images finds, through one of three paid interfaces.

Asks them by `tasks.discover.google_providers`; writes nothing. Google tells neither licence nor maker of a picture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from tasks.core.errors import HarvestmanError
from tasks.discover import keys
from tasks.discover.api import open_api
from tasks.discover.found import Ask, Page
from tasks.discover.google_providers import ADVICE, PROVIDERS, Result, Search, closed
from tasks.discover.searches import GoogleSource
from tasks.discover.searching import Answer, Row, walk

_WEB = re.compile(r"https?://[^/\s]", re.IGNORECASE)  # Google also hands out `x-raw-image:///…` and `data:`
_GOOGLES_COPY = re.compile(r"https?://encrypted-tbn\d*\.(?:gstatic|google)\.com/", re.IGNORECASE)


def problems(ask: Ask[GoogleSource]) -> Iterable[HarvestmanError]:
    """Yield the keys that are missing, and that the provider has closed."""
    yield from keys.missing(ask.source, ask.keys)
    if error := closed(ask.source.provider, ask.network, datetime.now(UTC).date()):
        yield error


def pages(ask: Ask[GoogleSource]) -> Iterator[Page]:
    """Yield the results of each query in each language, `limit` distinct addresses of a query at the most.

    Left out and counted: `thumbnails` (results that have no address but Google's own small copy),
    `too-small-stated` (the stated size is below `min_side`), `duplicates` (an address that came in another
    language, or on another page), `beyond-limit`.

    Raises:
        SourceError: a key is missing or refused, or the answer has another shape.
        SourceUnavailableError: the provider does not answer, or its quota is used up.
    """
    source = ask.source
    for error in keys.missing(source, ask.keys):
        raise error
    languages = source.languages or (None,)
    searches = [[Search(source, query, language, ask.keys) for language in languages] for query in source.queries]
    with open_api(ask, source.provider, advice=ADVICE[source.provider]) as api:

        def answer(search: Search, place: Any) -> Answer:  # noqa: ANN401 - a page number, from JSON
            found = PROVIDERS[source.provider](api, search, place)
            notes = Counter(rows=len(found.items))
            rows = [row for result in found.items if (row := _row(result, source, notes))]
            return Answer(rows, notes, found.onward, found.total, len(found.items))

        yield from walk(ask, searches, answer, paid=True)


def _row(result: Result, source: GoogleSource, notes: Counter[str]) -> Row | None:
    """Return the candidate of a result, or None where it is left out: `notes` then says why."""
    url, size = (result.link or "").strip(), result.size
    if not _WEB.match(url) or _GOOGLES_COPY.match(url):
        small = next((text for text in (result.thumbnail, result.link) if text and _WEB.match(text)), None)
        if small is None or not source.thumbnails:
            notes["thumbnails"] += 1
            return None
        url, size = small, result.thumbnail_size
    if any(side is not None and 0 < side < source.min_side for side in size):
        notes["too-small-stated"] += 1
        return None
    return {"url": url, "page_url": result.page}
