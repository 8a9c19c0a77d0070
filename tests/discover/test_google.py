"""Google Images through its three interfaces: what is asked, what is taken, what a key may never do."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import polars as pl
import pytest
from pydantic import SecretStr

from tasks.core.errors import HarvestmanError, SourceError, SourceUnavailableError
from tasks.core.network import NetworkPolicy
from tasks.discover import google
from tasks.discover.config import GoogleSource
from tasks.discover.found import Ask
from tasks.discover.google_providers import CLOSES, closed, rights

KEY = "sk5Tr0ngK3yThatNobodyMaySee"
KEYS = {name: SecretStr(KEY) for name in ("google-key", "google-cx", "serpapi-key", "serper-key")}
PROVIDERS = ("custom_search", "serpapi", "serper")
THUMBNAIL = "https://encrypted-tbn0.gstatic.com/images?q=tbn:{}"
Json = dict[str, Any]
Handler = Callable[[httpx.Request], httpx.Response]


class Google:
    """All three interfaces over one list of pictures; remembers what it was asked."""

    def __init__(self, *pictures: Json) -> None:
        self.pictures, self.asked = pictures, list[Json]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content) if request.method == "POST" else dict(request.url.params)
        self.asked.append(asked)
        return httpx.Response(200, json=getattr(self, request.url.path.strip("/"))(asked))

    def custom_search(self, asked: Json) -> Json:
        start, count = int(asked["start"]) - 1, int(asked["num"])
        assert start + 1 + count <= 100
        more = {"nextPage": [{"startIndex": start + 11}]} if start + count < len(self.pictures) else {}
        information = {"totalResults": str(len(self.pictures))}
        items = [
            {
                "link": picture.get("url"),
                "image": {
                    "contextLink": picture.get("page"),
                    "width": picture.get("side"),
                    "height": picture.get("side"),
                    "thumbnailLink": picture.get("thumbnail"),
                    "thumbnailWidth": 100,
                    "thumbnailHeight": 100,
                },
            }
            for picture in self.pictures[start : start + count]
        ]
        body = {"queries": {"request": [{}], **more}, "searchInformation": information}
        return body | ({"items": items} if items else {})

    def serpapi(self, asked: Json) -> Json:
        start = 100 * int(asked["ijn"])
        shown = [
            {
                "original": picture.get("url"),
                "original_width": picture.get("side"),
                "original_height": picture.get("side"),
                "link": picture.get("page"),
                "thumbnail": picture.get("thumbnail"),
            }
            for picture in self.pictures[start : start + 100]
        ]
        if not shown:
            return {"error": "Google hasn't returned any results for this query."}
        more = {"serpapi_pagination": {"next": "https://serpapi.com/…"}} if start + 100 < len(self.pictures) else {}
        return {"images_results": shown, "serpapi_pagination": {"current": 0}} | more

    def serper(self, asked: Json) -> Json:
        start = 100 * (int(asked["page"]) - 1)
        images = [
            {
                "imageUrl": picture.get("url"),
                "imageWidth": picture.get("side"),
                "imageHeight": picture.get("side"),
                "link": picture.get("page"),
                "thumbnailUrl": picture.get("thumbnail"),
                "thumbnailWidth": 100,
                "thumbnailHeight": 100,
            }
            for picture in self.pictures[start : start + 100]
        ]
        return {"images": images, "credits": 2}


def pictures(count: int) -> list[Json]:
    return [
        {
            "url": f"https://x.org/{number}.jpg",
            "page": f"https://x.org/{number}",
            "side": 300,
            "thumbnail": THUMBNAIL.format(number),
        }
        for number in range(count)
    ]


def asked(handler: Handler | None = None, *, base: str = "http://127.0.0.1:1", **fields: Any) -> Ask[GoogleSource]:  # noqa: ANN401 - any field of the source
    source = GoogleSource.model_validate({"source": "google", "query": "spider"} | fields)
    apis = {provider: f"{base}/{provider}" for provider in PROVIDERS}
    network = NetworkPolicy(user_agent="test", apis=apis, allowed_hosts=(base.removeprefix("http://"),))
    transport = httpx.MockTransport(handler) if handler else None
    return Ask(source, "spiders", network, keys=KEYS, transport=transport)


def found(handler: Handler, **fields: Any) -> tuple[pl.DataFrame, Counter[str]]:  # noqa: ANN401 - any field of the source
    pages = list(google.pages(asked(handler, **fields)))
    return pl.concat([page.candidates for page in pages]), sum((page.notes for page in pages), Counter())


@contextmanager
def server(status: int, body: Json) -> Iterator[str]:
    """A real HTTP server that answers everything with `body`; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_all_results_are_taken_page_by_page(provider: str) -> None:
    frame, notes = found(Google(*pictures(57)), provider=provider)
    assert frame["url"].to_list() == [f"https://x.org/{number}.jpg" for number in range(57)]
    assert frame["page_url"][5] == "https://x.org/5"
    assert frame["licence"].null_count() == frame["creator"].null_count() == 57
    assert notes == Counter(rows=57)


@pytest.mark.parametrize(("provider", "pages"), [("custom_search", 3), ("serpapi", 1), ("serper", 1)])
def test_no_page_is_paid_for_that_the_limit_does_not_need(provider: str, pages: int) -> None:
    engine = Google(*pictures(300))
    frame, _ = found(engine, provider=provider, limit=25)
    assert frame.height == 25
    assert len(engine.asked) == pages


def test_custom_search_never_asks_beyond_its_hundred_results() -> None:
    engine = Google(*pictures(300))
    frame, _ = found(engine, provider="custom_search", limit=300)
    assert frame.height == 99
    assert [int(query["start"]) + int(query["num"]) for query in engine.asked] == [*range(11, 101, 10), 100]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_query_is_asked_in_each_language(provider: str) -> None:
    engine = Google(*pictures(2))
    fields = {"query": ("garden spider", "Araneus"), "languages": ("pt", "en"), "country": "pt"}
    _, notes = found(engine, provider=provider, **fields)
    order = dict.fromkeys((query["q"], query["hl"], query["gl"]) for query in engine.asked)
    assert list(order) == [(words, language, "pt") for words in fields["query"] for language in ("pt", "en")]
    assert notes["duplicates"] == 4


def test_each_interface_gets_its_keys_its_own_way() -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return Google(*pictures(1))(request)

    for provider in PROVIDERS:
        next(google.pages(asked(handler, provider=provider)))
    custom, serpapi, serper = requests
    assert (custom.url.params["key"], custom.url.params["cx"], custom.url.params["searchType"]) == (KEY, KEY, "image")
    assert (serpapi.url.params["api_key"], serpapi.url.params["engine"]) == (KEY, "google_images")
    assert (serper.method, serper.headers["X-API-KEY"], serper.url.query) == ("POST", KEY, b"")
    assert KEY.encode() not in serper.content


@pytest.mark.parametrize(
    ("provider", "parameter", "value"),
    [
        ("custom_search", "rights", "(cc_publicdomain|cc_attribute|cc_sharealike).-(cc_noncommercial|cc_nonderived)"),
        ("serpapi", "tbs", "il:cl"),
        ("serper", "tbs", "il:cl"),
    ],
)
def test_licences_become_the_interfaces_own_filter(provider: str, parameter: str, value: str) -> None:
    engine = Google(*pictures(1))
    found(engine, provider=provider)
    assert parameter not in engine.asked[0]
    frame, _ = found(engine, provider=provider, licences=("cc0", "CC BY 4.0", "by-sa"))
    assert engine.asked[-1][parameter] == value
    assert frame["licence"].to_list() == [None]  # Google's filter is a claim, not the picture's licence


def test_rights_refuse_only_what_is_not_accepted() -> None:
    assert rights("any") is None
    assert rights(("cc0",)) == "(cc_publicdomain).-(cc_sharealike|cc_noncommercial|cc_nonderived)"
    every = "(cc_publicdomain|cc_attribute|cc_sharealike|cc_noncommercial|cc_nonderived)"
    assert rights(("by", "by-nc-sa", "by-nd")) == every


@pytest.mark.parametrize("provider", PROVIDERS)
def test_results_without_an_address_of_their_own_are_counted_and_taken_only_when_wanted(provider: str) -> None:
    mixed: list[Json] = [
        {"url": "https://x.org/own.jpg", "thumbnail": THUMBNAIL.format(0)},
        {"url": THUMBNAIL.format(1), "thumbnail": THUMBNAIL.format(1)},
        {"url": None, "thumbnail": THUMBNAIL.format(2)},
        {"url": "x-raw-image:///3", "thumbnail": THUMBNAIL.format(3)},
        {"url": None, "thumbnail": "data:image/jpeg;base64,AAAA"},
    ]
    frame, notes = found(Google(*mixed), provider=provider)
    assert frame["url"].to_list() == ["https://x.org/own.jpg"]
    assert notes == Counter(rows=5, thumbnails=4)
    frame, notes = found(Google(*mixed), provider=provider, thumbnails=True)
    assert frame["url"].to_list() == ["https://x.org/own.jpg", *map(THUMBNAIL.format, (1, 2, 3))]
    assert notes == Counter(rows=5, thumbnails=1)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_results_that_are_said_to_be_small_are_left_out_and_those_of_unknown_size_taken(provider: str) -> None:
    sized = [{"url": f"https://x.org/{side}.jpg", "side": side} for side in (0, 199, 200, None)]
    frame, notes = found(Google(*sized), provider=provider, min_side=200)
    assert frame["url"].to_list() == [f"https://x.org/{side}.jpg" for side in (0, 200, None)]
    assert notes == Counter({"rows": 4, "too-small-stated": 1})


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_page_is_bought_behind_two_of_which_min_side_refuses_all(provider: str) -> None:
    google = Google(*({"url": f"https://x.org/{number}.jpg", "side": 100} for number in range(1000)))
    frame, notes = found(google, provider=provider, min_side=500, languages=("pt", "en"))
    assert frame.is_empty()
    assert len(google.asked) == 4
    assert notes["too-small-stated"] == notes["rows"] > 0


def test_googles_own_copies_are_measured_by_their_own_size() -> None:
    copy = {"url": None, "side": 3000, "thumbnail": THUMBNAIL.format(1)}  # the copy's sides are 100 pixels
    frame, notes = found(Google(copy), thumbnails=True, min_side=101)
    assert frame.is_empty()
    assert notes == Counter({"rows": 1, "too-small-stated": 1})
    frame, _ = found(Google(copy), thumbnails=True, min_side=100)
    assert frame.height == 1


def test_serpapi_is_paid_for_no_page_that_it_says_is_not_there() -> None:
    engine, silent = Google(*pictures(150)), Google(*pictures(150))
    assert found(engine, provider="serpapi")[0].height == 150
    assert [query["ijn"] for query in engine.asked] == ["0", "1"]

    def without_pagination(request: httpx.Request) -> httpx.Response:
        body = silent(request).json()
        return httpx.Response(200, json={name: value for name, value in body.items() if name != "serpapi_pagination"})

    assert found(without_pagination, provider="serpapi")[0].height == 150
    assert [query["ijn"] for query in silent.asked] == ["0", "1", "2"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_query_without_results_is_no_error(provider: str) -> None:
    frame, notes = found(Google(), provider=provider)
    assert frame.is_empty()
    assert notes["rows"] == 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_missing_keys_are_known_before_anything_is_asked(provider: str) -> None:
    ask = asked(Google(), provider=provider)
    bare = Ask(ask.source, ask.label, ask.network, transport=ask.transport)
    told = [str(error) for error in google.problems(bare)]
    assert len(told) == (2 if provider == "custom_search" else 1)
    assert all("HARVESTMAN_" in text and "harvestman-" in text for text in told)
    with pytest.raises(SourceError, match="is missing"):
        next(google.pages(bare))
    assert list(google.problems(ask)) == []


def test_custom_search_is_said_to_be_closed_from_the_day_on_it_is() -> None:
    network, other = NetworkPolicy(user_agent="test"), asked().network
    assert closed("custom_search", network, date(2026, 12, 31)) is None
    error = closed("custom_search", network, CLOSES)
    assert error is not None
    assert "serper" in error.hint
    assert closed("serper", network, CLOSES) is None
    assert closed("custom_search", other, CLOSES) is None


REFUSALS: list[tuple[str, int, Json, type[HarvestmanError]]] = [
    ("custom_search", 400, {"error": {"code": 400, "message": f"API key {KEY} not valid."}}, SourceError),
    ("custom_search", 403, {"error": {"errors": [{"reason": "forbidden"}], "message": "No access."}}, SourceError),
    ("custom_search", 403, {"error": {"errors": [{"reason": "dailyLimitExceeded"}]}}, SourceUnavailableError),
    ("serpapi", 401, {"error": f"Invalid API key {KEY}. See https://serpapi.com/manage-api-key"}, SourceError),
    ("serpapi", 200, {"error": f"The key {KEY} has run out of searches."}, SourceError),
    ("serper", 403, {"message": f"Unauthorized {KEY}.", "statusCode": 403}, SourceError),
    ("serper", 400, {"message": "Not enough credits", "statusCode": 400}, SourceError),
]


@pytest.mark.parametrize(("provider", "status", "body", "kind"), REFUSALS)
def test_refusals_say_what_to_do_and_never_show_a_key(
    provider: str, status: int, body: Json, kind: type[HarvestmanError], caplog: pytest.LogCaptureFixture
) -> None:
    # Over a real connection: what the HTTP libraries log is seen too.
    caplog.set_level(logging.DEBUG)
    with server(status, body) as base, pytest.raises(kind) as caught:
        list(google.pages(asked(base=base, provider=provider)))
    assert type(caught.value) is kind
    assert caught.value.received
    assert caught.value.hint
    assert any(record.name == "httpx" for record in caplog.records)
    assert KEY not in repr(caught.getrepr(style="long", showlocals=False)) + str(caught.value) + caplog.text
    assert KEY not in "".join(str(record.__dict__) for record in caplog.records)


@pytest.mark.parametrize("form", [str, quote, quote_plus, lambda key: quote(key, safe="")])
def test_an_error_of_serpapi_shows_no_key_however_it_is_written(form: Callable[[str], str]) -> None:
    key = "ab+c/d=="
    body = {"error": f"Invalid query: /search?api_key={form(key)}&q=spider"}
    ask = replace(
        asked(lambda _: httpx.Response(200, json=body), provider="serpapi"), keys={"serpapi-key": SecretStr(key)}
    )
    with pytest.raises(SourceError, match="api_key=…&q=spider"):
        list(google.pages(ask))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_shows_no_key_in_candidates_cursor_or_log(provider: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    body = {
        "queries": {"request": [{"cx": KEY}]},
        "items": [{"link": "https://x.org/1.jpg"}],
        "images_results": [{"original": "https://x.org/1.jpg"}],
        "images": [{"imageUrl": "https://x.org/1.jpg"}],
    }
    with server(200, body) as base:
        page = next(google.pages(asked(base=base, provider=provider)))
    assert page.candidates["url"].to_list() == ["https://x.org/1.jpg"]
    assert KEY not in f"{page.candidates.to_dicts()} {page.cursor} {caplog.text}"


def test_a_used_up_quota_is_a_matter_of_time() -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"Retry-After": "3600"}, json={"error": "run out of searches"})

    for provider in PROVIDERS:
        with pytest.raises(SourceUnavailableError, match="Retry-After 3600 s"):
            list(google.pages(asked(handler, provider=provider)))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("body", [{"results": []}, [], {"queries": 1, "images_results": 1, "images": 1}])
def test_an_answer_of_another_shape_is_an_error(provider: str, body: object) -> None:
    with pytest.raises(SourceError, match="another shape"):
        list(google.pages(asked(lambda _: httpx.Response(200, json=body), provider=provider)))


@pytest.mark.real
def test_googles_real_answer_is_read(real_data: Path) -> None:
    text = (real_data / "fixtures" / "google_custom_search" / "imageResponse.json").read_bytes()
    items = json.loads(text)["items"]
    page = next(google.pages(asked(lambda _: httpx.Response(200, content=text), provider="custom_search")))
    assert page.candidates["url"].to_list() == [item["link"] for item in items]
    assert page.candidates["page_url"].to_list() == [item["image"]["contextLink"] for item in items]
    assert page.notes == Counter(rows=len(items))
    assert (page.items, page.total) == (len(items), 99)
    smaller = sum(min(item["image"]["width"], item["image"]["height"]) < 700 for item in items)
    assert 0 < smaller < len(items)
    ask = asked(lambda _: httpx.Response(200, content=text), provider="custom_search", min_side=700)
    assert next(google.pages(ask)).notes == Counter({"rows": len(items), "too-small-stated": smaller})
