from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from tasks.core.errors import BlockedAddressError
from tasks.core.network import NetworkPolicy
from tasks.core.transport import guarded_client, retry_after


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200, "Très bien" if self.path == "/bien" else None)  # sent in Latin-1
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Hello)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def ask(url: str, *allowed: str) -> httpx.Response:
    async def main() -> httpx.Response:
        async with guarded_client(NetworkPolicy(user_agent="t", allowed_hosts=allowed), timeout=2) as client:
            return await client.get(url)

    return asyncio.run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:7f00:1]"])
def test_no_spelling_of_loopback_is_connected_to(port: int, host: str) -> None:
    with pytest.raises(BlockedAddressError, match="HARVESTMAN_ALLOWED_HOSTS"):
        ask(f"http://{host}:{port}/")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_allowed_host_is_reached(port: int, host: str) -> None:
    assert ask(f"http://{host}:{port}/", f"{host}:{port}").text == "hello"


def test_proxies_of_the_environment_are_ignored(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(f"http://127.0.0.1:{port}/", f"127.0.0.1:{port}").text == "hello"


def test_a_reason_phrase_in_any_encoding_does_not_hide_the_answer(port: int) -> None:
    answer = ask(f"http://127.0.0.1:{port}/bien", f"127.0.0.1:{port}")
    assert (answer.status_code, answer.text, answer.reason_phrase) == (200, "hello", "Tr?s bien")


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_a_name_that_no_resolver_takes_is_an_invalid_address(host: str) -> None:
    with pytest.raises(httpx.InvalidURL):
        ask(f"http://{host}/")


def test_retry_after_is_read_in_seconds_and_as_a_date() -> None:
    def header(value: str) -> float | None:
        return retry_after(httpx.Response(429, headers={"Retry-After": value}))

    assert header("7") == 7
    assert header(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)) == pytest.approx(90, abs=3)
    assert header("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert header("soon") is None
    assert retry_after(httpx.Response(429)) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1.5", 2), ("0.001", 1), ("2.0", 2), ("3.", 3), ("9" * 400, math.inf), ("9" * 400 + ".5", math.inf)],
)
def test_a_retry_after_of_parts_of_a_second_is_taken_up(text: str, seconds: float) -> None:
    assert retry_after(httpx.Response(429, headers={"Retry-After": text})) == seconds


@pytest.mark.parametrize(
    "text", ["²", "1.²", "1.5.2", ".", "inf", "nan", "1e3", "-5", "-1.5", "soon", "Mon, 01 Jan 99999 00:00:00 GMT"]
)
def test_a_retry_after_that_says_nothing_is_none(text: str) -> None:
    assert retry_after(httpx.Response(429, headers=[(b"Retry-After", text.encode("latin-1"))])) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://api.inaturalist.org/v1/observations",
        "https://INATURALIST-OPEN-DATA.S3.amazonaws.com/photos/1/a.jpg",
        "https://s3.amazonaws.com/inaturalist%2Dopen-data/photos/1/a.jpg",
    ],
)
def test_inaturalist_is_not_asked_without_a_contact_wherever_a_redirect_came_from(url: str) -> None:
    with pytest.raises(BlockedAddressError, match="HARVESTMAN_CONTACT="):
        ask(url)
