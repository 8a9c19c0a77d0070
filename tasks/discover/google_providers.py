"""The interfaces to Google Images: how each is asked, and its answer in one shape.

Asks Custom Search, SerpApi or Serper through `tasks.discover.api`; writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter
from pydantic.alias_generators import to_camel

from tasks.core.endpoints import APIS
from tasks.core.errors import SourceError
from tasks.core.network import NetworkPolicy
from tasks.discover.api import Api, Query, hidden
from tasks.discover.licences import accepted
from tasks.discover.searches import GoogleSource

CLOSES = date(2027, 1, 1)  # the day from which Google's Custom Search JSON API answers nobody
_WINDOW = 100  # Custom Search refuses a query whose start + num is above
_PER_PAGE = 10  # Custom Search's most
_HUNDRED = 100  # results of a page of the two others
_PAGES = 100  # of one search at the most: `limit` cannot be above 10,000
_NOTHING = "any results"  # SerpApi's "Google hasn't returned any results for this query."

ADVICE = {
    "custom_search": "Check the keys google-key and google-cx, and that the Custom Search API is switched on for the "
    "key's project; new customers are not admitted any more: use `provider: serper` or `serpapi`.",
    "serpapi": "Check the key serpapi-key and the searches left at serpapi.com/dashboard.",
    "serper": "Check the key serper-key and the credits left at serper.dev/dashboard.",
}


@dataclass(frozen=True)
class Search:
    """One query in one language."""

    source: GoogleSource
    query: str
    language: str | None
    keys: Mapping[str, SecretStr]

    def key(self, name: str) -> str:
        """Return a key as it is sent."""
        return self.keys[name].get_secret_value()


@dataclass(frozen=True)
class Result:
    """What Google says of one picture; sizes in pixels."""

    link: str | None
    page: str | None
    size: tuple[int | None, int | None]
    thumbnail: str | None
    thumbnail_size: tuple[int | None, int | None]


@dataclass(frozen=True)
class Results:
    """One page of them."""

    items: list[Result]
    onward: int | None
    total: int | None = None


class _Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _CustomImage(_Camel):
    context_link: str | None = None
    width: int | None = None
    height: int | None = None
    thumbnail_link: str | None = None
    thumbnail_width: int | None = None
    thumbnail_height: int | None = None


class _CustomItem(_Camel):
    link: str | None = None
    image: _CustomImage = _CustomImage()


class _CustomQueries(_Camel):
    next_page: list[dict[str, object]] = []


class _CustomInformation(_Camel):
    total_results: int = 0  # a string of digits


class _CustomAnswer(_Camel):
    queries: _CustomQueries  # always there, also without results: its absence tells that the API has changed
    items: list[_CustomItem] = []
    search_information: _CustomInformation = _CustomInformation()


class _SerpImage(BaseModel):
    original: str | None = None
    original_width: int | None = None
    original_height: int | None = None
    link: str | None = None
    thumbnail: str | None = None


class _SerpPages(BaseModel):
    next: str | None = None


class _SerpAnswer(BaseModel):
    images_results: list[_SerpImage] | None = None
    serpapi_pagination: _SerpPages | None = None
    error: str | None = None


class _SerperImage(_Camel):
    image_url: str | None = None
    image_width: int | None = None
    image_height: int | None = None
    link: str | None = None
    thumbnail_url: str | None = None
    thumbnail_width: int | None = None
    thumbnail_height: int | None = None


class _SerperAnswer(_Camel):
    images: list[_SerperImage]


_CUSTOM, _SERP, _SERPER = TypeAdapter(_CustomAnswer), TypeAdapter(_SerpAnswer), TypeAdapter(_SerperAnswer)


def custom_search(api: Api, search: Search, place: int | None) -> Results:
    """Ask Google's own interface for ten results from the `place`-th on (1 to 99)."""
    start = place or 1
    query: Query = {
        "key": search.key("google-key"),
        "cx": search.key("google-cx"),
        "q": search.query,
        "searchType": "image",
        "num": min(_PER_PAGE, _WINDOW - start),
        "start": start,
        **_given(hl=search.language, gl=search.source.country, rights=rights(search.source.licences)),
    }
    answer = api.get("", query, _CUSTOM)
    items = [
        Result(
            item.link,
            item.image.context_link,
            (item.image.width, item.image.height),
            item.image.thumbnail_link,
            (item.image.thumbnail_width, item.image.thumbnail_height),
        )
        for item in answer.items
    ]
    onward = start + _PER_PAGE
    more = bool(items) and bool(answer.queries.next_page) and onward < _WINDOW
    total = min(answer.search_information.total_results, _WINDOW - 1)
    return Results(items, onward if more else None, total or None)


def serpapi(api: Api, search: Search, place: int | None) -> Results:
    """Ask serpapi.com for the `place`-th hundred results (from 0)."""
    page = place or 0
    query: Query = {
        "engine": "google_images",
        "api_key": search.key("serpapi-key"),
        "q": search.query,
        "ijn": page,
        **_given(hl=search.language, gl=search.source.country, tbs=_creative_commons(search.source)),
    }
    answer = api.get("", query, _SERP)
    if answer.error and _NOTHING not in answer.error:
        raise SourceError(
            "SerpApi refuses the query.", received=hidden(answer.error, api.secrets), hint=ADVICE["serpapi"]
        )
    if answer.images_results is None and not answer.error:
        raise SourceError(
            "The answer of SerpApi has another shape than expected.",
            received="neither images_results nor error",
            hint="Check HARVESTMAN_APIS; if the address of serpapi is right, the API has changed.",
        )
    items = [
        Result(image.original, image.link, (image.original_width, image.original_height), image.thumbnail, (None, None))
        for image in answer.images_results or []
    ]
    pages = answer.serpapi_pagination
    more = bool(items) and page + 1 < _PAGES and (pages is None or bool(pages.next))
    return Results(items, page + 1 if more else None)


def serper(api: Api, search: Search, place: int | None) -> Results:
    """Ask serper.dev for the `place`-th hundred results (from 1)."""
    page = place or 1
    body = {
        "q": search.query,
        "num": _HUNDRED,
        "page": page,
        **_given(hl=search.language, gl=search.source.country, tbs=_creative_commons(search.source)),
    }
    answer = api.post("", body, _SERPER, headers={"X-API-KEY": search.key("serper-key")})
    items = [
        Result(
            image.image_url,
            image.link,
            (image.image_width, image.image_height),
            image.thumbnail_url,
            (image.thumbnail_width, image.thumbnail_height),
        )
        for image in answer.images
    ]
    # It says nowhere whether there is more, and may give fewer than asked for on any page: only an empty page ends.
    return Results(items, page + 1 if items and page < _PAGES else None)


PROVIDERS: dict[str, Callable[[Api, Search, int | None], Results]] = {
    "custom_search": custom_search,
    "serpapi": serpapi,
    "serper": serper,
}
"""Provider to the function that asks it. To add one: its address in APIS, its keys in NEEDED, a line here."""


def closed(provider: str, network: NetworkPolicy, today: date) -> SourceError | None:
    """Say that Google has closed its own interface; None where it has not, or another address stands in for it."""
    if provider != "custom_search" or today < CLOSES or network.api(provider) != APIS[provider]:
        return None
    return SourceError(
        f"Google closed the Custom Search JSON API on {CLOSES}.",
        hint="Use `provider: serper` or `provider: serpapi`, or the sources openverse and wikimedia_commons, "
        "which need no key.",
    )


def rights(licences: tuple[str, ...] | str) -> str | None:
    """Return Custom Search's `rights` for a recipe's licences; None = any.

    Google knows five marks; a picture may carry several. So the conditions that are not accepted are excluded:
    its own search page writes `(cc_publicdomain|cc_attribute|cc_sharealike).-(cc_noncommercial|cc_nonderived)`.
    """
    wanted = accepted(licences)
    if wanted is None:
        return None
    marks = {"cc_sharealike": "sa", "cc_noncommercial": "nc", "cc_nonderived": "nd"}
    parts = {part for slug in wanted for part in slug.split("-")}
    taken = ["cc_publicdomain", *(["cc_attribute"] if "by" in parts else [])]
    taken += [mark for mark, part in marks.items() if part in parts]
    refused = [mark for mark, part in marks.items() if part not in parts]
    return f"({'|'.join(taken)})" + (f".-({'|'.join(refused)})" if refused else "")


def _creative_commons(source: GoogleSource) -> str | None:
    """Return Google's own filter by licence, which SerpApi and Serper pass on; it knows no single licences."""
    return None if accepted(source.licences) is None else "il:cl"


def _given(**parameters: str | None) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}
