from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
from pydantic import SecretStr, TypeAdapter

from tasks.core.errors import BlockedAddressError, HarvestmanError, SourceError, SourceUnavailableError, TryAgainError
from tasks.core.network import NetworkPolicy
from tasks.core.spending import Spending
from tasks.discover.api import Api, hidden, open_api
from tasks.discover.found import Ask
from tasks.discover.searches import OpenverseSource

SHAPE = TypeAdapter(dict[str, Any])
KEY = "ab+c/d=="
SOURCE = OpenverseSource(source="openverse", query="bear")
Handler = Callable[[httpx.Request], httpx.Response]


class Site:
    """Answers as told, and notes what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content, request=request)


def asking(site: Handler, spent: Path | None = None, **budgets: object) -> Ask[Any]:
    network = NetworkPolicy.model_validate(
        {"user_agent": "t", "apis": {"openverse": "http://api.example/v1"}, "budgets": budgets, "spent": spent}
    )
    return Ask(SOURCE, "bear", network, transport=httpx.MockTransport(site))


def get(ask: Ask[Any]) -> dict[str, Any]:
    with open_api(ask, "openverse", advice="Check `query:`.") as api:
        waits: list[float] = []
        quick = replace(api, sleep=waits.append)
        return quick.get("/images", {"q": "bear", "key": KEY}, SHAPE)


def error_of(ask: Ask[Any]) -> HarvestmanError:
    with pytest.raises(HarvestmanError) as caught:
        get(ask)
    return caught.value


def test_a_connection_that_fails_is_tried_again_and_one_that_stays_away_is_unavailable() -> None:
    assert get(asking(Site(httpx.ConnectError("reset"), httpx.Response(200, json={"a": 1})))) == {"a": 1}
    down = Site(httpx.ConnectError("reset"))
    assert isinstance(error_of(asking(down)), SourceUnavailableError)
    assert down.asked == 4
    error_of(replace(asking(down), attempts=1))
    assert down.asked == 5


def test_a_site_that_asks_for_an_hour_of_rest_is_asked_once_by_all_sources_of_the_workspace(tmp_path: Path) -> None:
    site = Site(httpx.Response(429, headers={"Retry-After": "3600"}))
    ask = asking(site, tmp_path / "spent.db")
    assert "Retry-After 3600" in error_of(ask).received
    for _ in range(3):
        error = error_of(ask)
        assert isinstance(error, SourceUnavailableError)
        assert "asks to be left alone until 2" in error.what
        assert "Check the network" not in error.hint
        assert "was not asked again" in error.received
    assert site.asked == 1


def test_a_short_rest_is_kept_by_the_next_source_too(tmp_path: Path) -> None:
    site = Site(httpx.Response(429, headers={"Retry-After": "1"}), httpx.Response(200, json={}))
    ask = asking(site, tmp_path / "spent.db")
    error_of(replace(ask, attempts=1))
    began = time.monotonic()
    with open_api(ask, "openverse", advice="") as api:
        assert api.get("/images", {}, SHAPE) == {}
    assert 0.7 < time.monotonic() - began < 5


def test_a_budget_used_up_for_longer_than_the_patience_is_told_at_once(tmp_path: Path) -> None:
    site = Site(httpx.Response(200, json={}))
    ask = asking(site, tmp_path / "spent.db", mine={"hosts": ["api.example"], "requests": {"hour": 1}})
    get(ask)
    error = error_of(replace(ask, patience=65))
    assert isinstance(error, TryAgainError)
    assert "mine is used up (1 requests an hour)" in error.what
    assert "goes on at 2" in error.received
    assert site.asked == 1


def test_a_budget_that_is_waited_for_is_told_to_who_listens() -> None:
    told: list[str] = []
    ask = asking(Site(httpx.Response(200, json={})), mine={"hosts": ["api.example"], "requests": {"minute": 1}})

    class EnoughError(Exception):
        pass

    def sleep(seconds: float) -> None:
        assert 50 < seconds <= 60
        raise EnoughError

    with open_api(replace(ask, say=told.append), "openverse", advice="") as opened:
        api: Api = replace(opened, sleep=sleep)
        api.get("", {}, SHAPE)
        with pytest.raises(EnoughError):
            api.get("", {}, SHAPE)
    assert len(told) == 1
    assert told[0].startswith("The budget mine is used up (1 requests a minute): goes on at 2")


@pytest.mark.parametrize(
    "code",
    [
        str,
        quote,
        quote_plus,
        lambda key: quote(key, safe=""),
        lambda key: quote(key, safe="").lower(),
        lambda key: json.dumps(key).replace("/", "\\/"),
    ],
)
def test_a_key_is_hidden_however_it_is_written(code: Callable[[str], str]) -> None:
    text = hidden(f"bad request: ?key={code(KEY)}&q=1", ["", KEY])
    assert text in {"bad request: ?key=…&q=1", 'bad request: ?key="…"&q=1'}


@pytest.mark.parametrize("status", [400, 403, 500])
def test_an_answer_that_repeats_the_address_shows_no_key(status: int) -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text=f"{'x' * 200} cannot serve {request.url} " * 20)

    error = error_of(replace(asking(echo), keys={"serper-key": SecretStr(KEY)}, attempts=1))
    assert "cannot serve" in str(error)
    assert "ab+c" not in str(error)
    assert "ab%2Bc" not in str(error)


def test_a_403_is_laid_to_the_key_only_where_there_is_one() -> None:
    ask = asking(Site(httpx.Response(403, text="no")))
    assert error_of(ask).hint == "Check `query:`."
    assert "key" in error_of(replace(ask, keys={"serper-key": SecretStr(KEY)})).hint


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    sent = [0]

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent[0] += 1_000_000
            yield b" " * 1_000_000

    error = error_of(asking(lambda _: httpx.Response(200, content=endless())))
    assert isinstance(error, SourceError)
    assert "too large" in error.what
    assert sent[0] < 100_000_000


def test_a_packed_answer_is_read() -> None:
    def packed(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=gzip.compress(b'{"a": 1}'))

    assert get(asking(packed)) == {"a": 1}


def test_a_rest_ends_and_is_of_one_host(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    spending = Spending(NetworkPolicy(user_agent="t", spent=tmp_path / "spent.db"), lambda: now[0])
    spending.rest("A.example", 443, 1e30)
    spending.rest("a.example", 443, 10)  # a shorter one takes nothing from it
    assert spending.resting("a.example", 443) == 86_400
    assert spending.resting("b.example", 443) == 0
    now[0] += 86_401
    assert spending.resting("a.example", 443) == 0


def test_a_page_for_people_is_told_by_its_kind_and_its_words() -> None:
    page = "<html><head><style>p {color: red}</style><title>Sign in</title></head><body><p>Hotel wireless</p>"
    error = error_of(asking(Site(httpx.Response(200, html=page))))
    assert isinstance(error, SourceError)
    assert error.received.endswith("Content-Type text/html; charset=utf-8: Sign in Hotel wireless")
    empty = error_of(asking(Site(httpx.Response(200, headers={"Content-Type": "text/csv"}))))
    assert empty.received.endswith("Content-Type text/csv: nothing")


def test_an_answer_that_sends_elsewhere_says_where_without_a_key() -> None:
    site = Site(httpx.Response(302, headers={"Location": f"https://login.example/{KEY}?next={KEY}"}))
    error = error_of(replace(asking(site), keys={"serper-key": SecretStr(KEY)}))
    assert "sends us elsewhere" in error.what
    assert error.received == "HTTP 302, Location: https://login.example/…"
    assert site.asked == 1


def test_an_answer_that_drips_is_given_up_in_words() -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    ask = replace(asking(lambda _: httpx.Response(200, content=drip())), attempts=1)
    with (
        open_api(ask, "openverse", advice="") as api,
        pytest.raises(SourceUnavailableError, match=r"no whole answer in 0\.2 s\n") as caught,
    ):
        replace(api, deadline=0.2).get("/images", {}, SHAPE)
    assert "does not answer" in caught.value.what


@pytest.mark.parametrize("seconds", ["3600", "9" * 400])
@pytest.mark.parametrize("status", [429, 503])
def test_a_site_that_asks_to_be_left_alone_is_not_said_to_be_silent(status: int, seconds: str) -> None:
    error = error_of(asking(Site(httpx.Response(status, headers={"Retry-After": seconds}))))
    assert isinstance(error, SourceUnavailableError)
    assert "http://api.example/v1/images asks to be left alone until 2" in error.what
    assert "network" not in str(error)


def test_a_used_up_quota_is_said_to_be_one() -> None:
    error = error_of(asking(Site(httpx.Response(403, json={"error": {"errors": [{"reason": "dailyLimitExceeded"}]}}))))
    assert isinstance(error, SourceUnavailableError)
    assert error.what == "The quota of api.example is used up."
    assert "network" not in str(error)


def test_the_api_of_inaturalist_is_not_asked_without_a_contact(tmp_path: Path) -> None:
    network = NetworkPolicy(user_agent="t", spent=tmp_path / "spent.db")
    ask = Ask(SOURCE, "bear", network)
    with (
        open_api(ask, "inaturalist", advice="") as api,
        pytest.raises(BlockedAddressError, match="HARVESTMAN_CONTACT="),
    ):
        api.get("/observations", {}, SHAPE)
