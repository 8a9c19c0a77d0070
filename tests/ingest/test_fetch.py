from __future__ import annotations

import asyncio
import gzip
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tasks.core.errors import BlockedAddressError, StopError
from tasks.core.network import NetworkPolicy
from tasks.core.spending import Spending
from tasks.core.transport import GuardedTransport
from tasks.core.waiting import stoppable
from tasks.ingest.body import MEMORY
from tasks.ingest.config import IngestConfig
from tasks.ingest.fetch import Fetched, Fetcher
from tasks.ingest.politeness import Politeness
from tasks.ingest.request import Asker

from .conftest import Answer, Site, answer, in_turn

T = TypeVar("T")
PHOTO = bytes(range(256)) * 400  # 102,400 bytes; nothing here looks into them
ETAG = '"v1"'
RANGES = {"Accept_Ranges": "bytes", "ETag": ETAG}


@dataclass
class Got:
    """What came of an address; its bytes are read before they are dropped."""

    fetched: Fetched
    content: bytes | None
    on_disk: bool

    @property
    def story(self) -> tuple[str, int]:
        return self.fetched.outcome, self.fetched.attempts


class Caller:
    """A fetcher with a client and manners of its own for each call."""

    def __init__(self, folder: Path, config: IngestConfig, network: NetworkPolicy) -> None:
        self.folder, self.config, self.network = folder, config, network
        self.room = 100

    def use(self, work: Callable[[Fetcher], Awaitable[T]], **changes: object) -> T:
        config = self.config.model_copy(update=changes)

        async def main() -> T:
            manners = Politeness(
                Spending(self.network),
                connections=config.connections,
                per_host=config.per_host,
                max_wait=config.max_wait,
                rate=config.rate,
            )
            transport = GuardedTransport(self.network, connections=config.connections)
            async with asyncio.timeout(20), transport:  # a deadlock would else never end
                return await work(Fetcher(transport, manners, config, room=asyncio.Semaphore(self.room)))

        return asyncio.run(main())

    async def one(self, fetcher: Fetcher, url: str, hold: float = 0.0) -> Got:
        async with fetcher.fetching(url, self.folder / f"{abs(hash(url))}.part") as fetched:
            content = None if fetched.body is None else fetched.body.content
            await asyncio.sleep(hold)
            if isinstance(content, Path):
                return Got(fetched, content.read_bytes(), on_disk=True)
            return Got(fetched, None if content is None else bytes(content), on_disk=False)

    def all(self, *urls: str, hold: float = 0.0, **changes: object) -> list[Got]:
        async def work(fetcher: Fetcher) -> list[Got]:
            return list(await asyncio.gather(*(self.one(fetcher, url, hold) for url in urls)))

        return self.use(work, **changes)

    def __call__(self, url: str, **changes: object) -> Got:
        return self.all(url, **changes)[0]


@pytest.fixture
def call(tmp_path: Path, network: NetworkPolicy) -> Caller:
    folder = tmp_path / "parts"
    folder.mkdir()
    return Caller(folder, IngestConfig(timeout=0.5, attempts=3, max_wait=0.05, rate=1000), network)


def page(body: bytes = PHOTO, status: int = 200, **headers: str) -> Answer:
    return answer(body, status, **headers)


def cut(size: int, body: bytes = PHOTO, **headers: str) -> Answer:
    """The first `size` bytes of an answer that announces all of `body`."""

    def send(request: BaseHTTPRequestHandler) -> None:
        answer(body[:size], **{"Content_Length": str(len(body)), **headers})(request)
        request.close_connection = True

    return send


def part(start: int, end: int | None = None, body: bytes = PHOTO, **headers: str) -> Answer:
    """A 206 with the bytes from `start` to `end`."""
    end = len(body) if end is None else end
    placed = {"Content_Range": f"bytes {start}-{end - 1}/{len(body)}", **RANGES, **headers}
    return answer(body[start:end], 206, **placed)


@dataclass
class Wire:
    """A server that sends exactly the bytes of a script, one entry a request; the last one again and again."""

    script: list[bytes] = field(default_factory=list)
    address: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    hang_up: bool = False


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire, listener = Wire(), socket.create_server(("127.0.0.1", 0))
    wire.address = f"127.0.0.1:{listener.getsockname()[1]}"

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while request := _head(connection):
                if b"/robots.txt" in request:
                    connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
                    continue
                wire.requests.append(request)
                connection.sendall(wire.script.pop(0) if len(wire.script) > 1 else wire.script[0])
                if wire.hang_up:
                    return

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                wire.connections += 1
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    yield wire
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def _head(connection: socket.socket) -> bytes:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        more = connection.recv(4096)
        if not more:
            return b""
        request += more
    return request


# What came


def test_a_small_body_comes_in_memory_with_what_the_server_said_of_it(call: Caller, site: Site) -> None:
    modified = "Sun, 01 Mar 2026 12:00:00 GMT"
    got = call(site.add("/photo", page(ETag=ETAG, Last_Modified=modified)))
    assert (got.fetched.outcome, got.fetched.http_status, got.fetched.attempts) == ("kept", 200, 1)
    assert (got.content, got.on_disk) == (PHOTO, False)
    assert (got.fetched.etag, got.fetched.last_modified) == (ETAG, modified)
    assert got.fetched.received == len(PHOTO)
    assert got.fetched.seconds is not None
    assert 0 < got.fetched.seconds < 1


def test_a_large_body_comes_in_a_file_that_is_gone_afterwards(call: Caller, site: Site) -> None:
    body = os.urandom(2 * MEMORY)
    got = call(site.add("/photo", page(body)))
    assert (got.content, got.on_disk) == (body, True)
    assert list(call.folder.iterdir()) == []


def test_an_answer_that_is_no_image_has_no_body(call: Caller, site: Site) -> None:
    got = call(site.url("/none"))
    assert (got.story, got.content) == (("not-found", 1), None)


@pytest.mark.parametrize(
    "url",
    ["", "photo.jpg", "//host/x", "data:image/png;base64,AA==", "file:///etc/passwd", "ftp://h/x", "http://",
     "http:///x", "http://h:x/", "http://127.0.0.1:0/x", "http://127.0.0.1:99999/x"],
)  # fmt: skip
def test_what_is_no_address_of_the_web_is_never_asked(call: Caller, url: str) -> None:
    assert call(url).story == ("invalid-address", 0)


# Bodies that break off


def test_a_body_that_breaks_off_is_continued(call: Caller, site: Site) -> None:
    url = site.add("/photo", in_turn(cut(40_000, **RANGES), part(40_000)))
    got = call(url)
    assert (got.story, got.content) == (("kept", 2), PHOTO)
    assert got.fetched.received == len(PHOTO)  # nothing came twice
    assert [headers.get("range") for headers in site.headers] == [None, "bytes=40000-"]
    assert site.headers[1]["if-range"] == ETAG


def test_a_large_body_is_continued_in_its_file(call: Caller, site: Site) -> None:
    body = os.urandom(3 * MEMORY)
    url = site.add("/photo", in_turn(cut(2 * MEMORY, body, **RANGES), part(2 * MEMORY, body=body)))
    got = call(url)
    assert (got.story, got.content, got.on_disk) == (("kept", 2), body, True)


def test_a_date_will_do_where_there_is_no_strong_etag(call: Caller, site: Site) -> None:
    told = {"Accept_Ranges": "bytes", "ETag": 'W/"v1"', "Last_Modified": "Sun, 01 Mar 2026 12:00:00 GMT"}
    url = site.add("/photo", in_turn(cut(40_000, **told), part(40_000, ETag='W/"v1"')))
    assert call(url).content == PHOTO
    assert site.headers[1]["if-range"] == told["Last_Modified"]


@pytest.mark.parametrize(
    "told",
    [{}, {"ETag": ETAG}, {"Accept_Ranges": "none", "ETag": ETAG}, {"Accept_Ranges": "bytes"},
     {"Accept_Ranges": "bytes", "ETag": 'W/"v1"'}],
    ids=["nothing", "no ranges", "none", "no validator", "weak"],
)  # fmt: skip
def test_where_the_rest_cannot_be_had_for_certain_all_is_asked_for_again(
    call: Caller, site: Site, told: dict[str, str]
) -> None:
    got = call(site.add("/photo", in_turn(cut(40_000, **told), page())))
    assert (got.story, got.content) == (("kept", 2), PHOTO)
    assert got.fetched.received == len(PHOTO) + 40_000
    assert not any("range" in headers for headers in site.headers)


NEW = PHOTO[::-1]


def test_a_body_that_has_changed_meanwhile_replaces_what_came(call: Caller, site: Site) -> None:
    got = call(site.add("/photo", in_turn(cut(40_000, **RANGES), page(NEW, ETag='"v2"'))))
    assert (got.story, got.content, got.fetched.etag) == (("kept", 2), NEW, '"v2"')


@pytest.mark.parametrize(
    "wrong",
    [part(30_000, body=NEW), part(40_000, body=NEW + b"more"), part(40_000, body=NEW, ETag='"v2"'),
     part(40_000, body=NEW, Content_Range="bytes 40000-102399/*"), part(40_000, body=NEW, Content_Range="rubbish"),
     answer(NEW[40_000:], 206), page(b"", 416), part(40_000, body=NEW, Content_Encoding="gzip")],
    ids=["start", "total", "version", "no total", "unreadable", "no place", "416", "packed"],
)  # fmt: skip
def test_a_rest_that_does_not_fit_is_dropped_and_all_is_asked_for(call: Caller, site: Site, wrong: Answer) -> None:
    got = call(site.add("/photo", in_turn(cut(40_000, **RANGES), wrong, page(NEW))))
    assert (got.story, got.content) == (("kept", 3), NEW)
    assert [headers.get("range") for headers in site.headers] == [None, "bytes=40000-", None]


OLD, YOUNG = "Sat, 01 Feb 2020 12:00:00 GMT", "Sat, 01 Feb 2020 12:00:01 GMT"


def dated(page: Answer) -> Answer:
    """Answer as at the moment YOUNG."""

    def send(request: BaseHTTPRequestHandler) -> None:
        request.date_time_string = lambda timestamp=None: YOUNG  # type: ignore[method-assign]  # noqa: ARG005
        page(request)

    return send


def test_a_rest_with_another_date_is_of_another_version(call: Caller, site: Site) -> None:
    first = dated(cut(40_000, Accept_Ranges="bytes", Last_Modified=OLD))
    told = {"Content_Range": f"bytes 40000-{len(PHOTO) - 1}/{len(PHOTO)}", "Last_Modified": YOUNG}
    heedless = answer(NEW[40_000:], 206, **told)
    got = call(site.add("/photo", in_turn(first, heedless, page(NEW))))
    assert (got.story, got.content) == (("kept", 3), NEW)
    assert [headers.get("if-range") for headers in site.headers] == [None, OLD, None]


def test_a_date_of_the_same_second_tells_no_versions_apart(call: Caller, site: Site) -> None:
    first = dated(cut(40_000, Accept_Ranges="bytes", Last_Modified=YOUNG))
    assert call(site.add("/photo", in_turn(first, page()))).content == PHOTO
    assert not any("range" in headers for headers in site.headers)


def test_an_etag_that_cannot_be_sent_back_is_not(call: Caller, site: Site) -> None:
    got = call(site.add("/photo", in_turn(cut(40_000, Accept_Ranges="bytes", ETag='"é"'), page())))
    assert (got.story, got.content) == (("kept", 2), PHOTO)


def test_a_length_of_thousands_of_digits_is_none(call: Caller, site: Site) -> None:
    told = {"Content_Range": f"bytes 40000-{len(PHOTO) - 1}/{'9' * 5000}"}
    got = call(site.add("/photo", in_turn(cut(40_000, **RANGES), part(40_000, **told), page())))
    assert (got.story, got.content) == (("kept", 3), PHOTO)


def test_what_the_last_answer_does_not_say_of_the_file_is_not_known(call: Caller, site: Site) -> None:
    got = call(site.add("/photo", in_turn(cut(40_000, ETag=ETAG), page(b"", 404, ETag='"page"'))))
    assert (got.story, got.fetched.etag) == (("not-found", 2), None)
    resumed = site.add("/resumed", in_turn(cut(40_000, **RANGES), answer(PHOTO[40_000:], 206, **PLACED)))
    assert call(resumed).fetched.etag == ETAG  # a part need not repeat it


PLACED = {"Content_Range": f"bytes 40000-{len(PHOTO) - 1}/{len(PHOTO)}"}


@pytest.mark.parametrize(("told", "kept"), [({}, 0), (RANGES, 1)])
def test_only_what_can_be_continued_is_kept_until_the_next_attempt(
    call: Caller, site: Site, told: dict[str, str], kept: int
) -> None:
    asked = threading.Event()

    def large(request: BaseHTTPRequestHandler) -> None:
        cut(2 * MEMORY, bytes(3 * MEMORY), **told)(request)
        asked.set()

    async def work(fetcher: Fetcher) -> int:
        task = asyncio.create_task(call.one(fetcher, site.add("/large", large)))
        await asyncio.to_thread(asked.wait)
        await asyncio.sleep(0.2)  # it rests until half a second is over, or most of it
        found = len(list(call.folder.iterdir()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return found

    assert call.use(work, max_wait=9, robots_txt=False) == kept


def test_a_rest_that_breaks_off_too_is_continued_in_turn(call: Caller, site: Site) -> None:
    def second(request: BaseHTTPRequestHandler) -> None:
        placed = {"Content_Range": f"bytes 40000-{len(PHOTO) - 1}/{len(PHOTO)}", "Content_Length": "62400"}
        answer(PHOTO[40_000:70_000], 206, **placed)(request)
        request.close_connection = True

    got = call(site.add("/photo", in_turn(cut(40_000, **RANGES), second, part(70_000))))
    assert (got.story, got.content) == (("kept", 3), PHOTO)
    assert [headers.get("range") for headers in site.headers] == [None, "bytes=40000-", "bytes=70000-"]


def test_a_server_that_sends_the_rest_in_parts_is_asked_for_each(call: Caller, site: Site) -> None:
    got = call(site.add("/photo", in_turn(cut(40_000, **RANGES), part(40_000, 60_000), part(60_000))))
    assert (got.story, got.content) == (("kept", 3), PHOTO)


def test_a_piece_that_nobody_asked_for_is_not_taken_for_the_whole(call: Caller, site: Site) -> None:
    middle = site.add("/middle", part(1_000, 2_000))
    first = site.add("/first", part(0, 2_000))
    assert [got.story for got in call.all(middle, first, attempts=1)] == [("incomplete", 1), ("incomplete", 1)]


@pytest.mark.parametrize(
    "place", ["bytes 0-9/100", "bytes 0-9/*", "bytes 90-99/100", "bytes 0-99/*", "", "bytes */100"]
)
def test_a_part_that_nobody_asked_for_is_incomplete_whatever_came(call: Caller, site: Site, place: str) -> None:
    body = PHOTO[:100]
    url = site.add("/part", answer(body, 206, Content_Range=place))
    got = call(url, attempts=2)
    assert (got.story, got.content) == (("incomplete", 2), None)
    assert "all of it was asked for" in (got.fetched.reason or "")
    assert not any("range" in headers for headers in site.headers)


def test_a_part_that_nobody_asked_for_and_that_is_all_is_kept(call: Caller, site: Site) -> None:
    got = call(site.add("/all", part(0)))
    assert (got.story, got.content, got.fetched.etag) == (("kept", 1), PHOTO, ETAG)


@pytest.mark.parametrize("port", [0, 99_999])
def test_a_redirect_to_a_port_that_there_is_not_is_an_invalid_address(call: Caller, site: Site, port: int) -> None:
    got = call(site.add("/moved", answer(status=302, Location=f"http://127.0.0.1:{port}/x")))
    assert got.story == ("invalid-address", 1)
    assert "port" in (got.fetched.reason or "")


def test_no_more_than_64_bodies_wait_for_their_rest(call: Caller, site: Site) -> None:
    together = threading.Barrier(80)

    def first(request: BaseHTTPRequestHandler) -> None:
        together.wait(10)
        cut(4_000, **RANGES)(request)

    urls = [site.add(f"/{n}", in_turn(first, _rest_or_all)) for n in range(80)]
    got = call.all(*urls, per_host=80, connections=80, timeout=5, max_wait=4)
    assert {one.content for one in got} == {PHOTO}
    assert 0 < sum("range" in headers for headers in site.headers) <= 64


def _rest_or_all(request: BaseHTTPRequestHandler) -> None:
    (part(4_000) if "Range" in request.headers else page())(request)


def test_the_rest_is_asked_of_the_address_that_sent_the_beginning_only(call: Caller, site: Site) -> None:
    site.add("/a", cut(40_000, **RANGES))
    site.add("/b", page())
    url = site.add("/photo", in_turn(answer(b"", 302, Location="/a"), answer(b"", 302, Location="/b")))
    assert call(url).content == PHOTO
    assert not any("range" in headers for headers in site.headers)


def test_the_limit_holds_for_the_whole(call: Caller, site: Site) -> None:
    url = site.add("/photo", in_turn(cut(40_000, **RANGES), part(40_000)))
    got = call(url, max_bytes=len(PHOTO) - 1)
    assert got.story == ("too-large", 1)  # the first answer announces it all
    unknown = site.add("/unknown", in_turn(_chunked(PHOTO[:40_000], **RANGES), part(40_000)))
    got = call(unknown, max_bytes=len(PHOTO) - 1)
    assert got.story == ("too-large", 2)
    assert call(site.add("/again", in_turn(cut(40_000, **RANGES), part(40_000))), max_bytes=len(PHOTO)).content == PHOTO


def _chunked(body: bytes, **headers: str) -> Answer:
    """A chunked body that ends without its last chunk."""

    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        for name, value in {"Transfer-Encoding": "chunked", **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        request.close_connection = True

    return send


def test_a_chunked_body_without_its_end_is_incomplete(call: Caller, site: Site) -> None:
    assert call(site.add("/photo", _chunked(PHOTO))).story == ("incomplete", 3)


# Lengths


def test_a_body_announced_too_large_is_not_read(call: Caller, site: Site) -> None:
    got = call(site.add("/photo", page()), max_bytes=1000)
    assert (got.story, got.fetched.received) == (("too-large", 1), 0)
    assert "102,400 bytes announced" in str(got.fetched.reason)


def test_a_body_that_grows_too_large_is_left_early(call: Caller, wire: Wire) -> None:
    call.network = NetworkPolicy(user_agent="t", allowed_hosts=(wire.address,))
    wire.script, wire.hang_up = [b"HTTP/1.1 200 OK\r\n\r\n" + bytes(8_000_000)], True
    got = call(f"http://{wire.address}/photo", max_bytes=100_000)
    assert got.story == ("too-large", 1)
    assert got.fetched.received < 400_000


def test_fewer_bytes_than_announced_are_incomplete(call: Caller, site: Site) -> None:
    got = call(site.add("/photo", cut(40_000)))
    assert (got.story, got.content) == (("incomplete", 3), None)
    assert got.fetched.received == 120_000


def test_more_bytes_than_announced_do_not_count_and_are_no_answer_to_the_next_request(call: Caller, wire: Wire) -> None:
    call.network = NetworkPolicy(user_agent="t", allowed_hosts=(wire.address,))
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
    for rubbish in (b"rubbish", forged, b"\r\n\r\n" + forged):
        wire.script = [good + rubbish, good]
        urls = [f"http://{wire.address}/{number}" for number in range(4)]
        assert [got.content for got in call.all(*urls, per_host=1)] == [b"good"] * 4, rubbish


def test_rubbish_that_comes_late_is_no_answer_to_the_next_request(call: Caller, wire: Wire) -> None:
    call.network = NetworkPolicy(user_agent="t", allowed_hosts=(wire.address,))
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    call.network = NetworkPolicy(user_agent="t", allowed_hosts=(address,))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while _head(connection):
                connection.sendall(good)
                time.sleep(0.1)
                connection.sendall(good.replace(b"good", b"evil"))

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()

    async def two(fetcher: Fetcher) -> list[bytes | None]:
        first = await call.one(fetcher, f"http://{address}/1")
        await asyncio.sleep(0.3)
        second = await call.one(fetcher, f"http://{address}/2")
        return [first.content, second.content]

    try:
        assert call.use(two, robots_txt=False) == [b"good", b"good"]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


# Packed bodies


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(PHOTO)), ("x-gzip", gzip.compress(PHOTO)), ("GZIP", gzip.compress(PHOTO)),
     ("deflate", zlib.compress(PHOTO)), ("deflate", zlib.compress(PHOTO, 6, -15))],
    ids=["gzip", "x-gzip", "capitals", "zlib", "raw"],
)  # fmt: skip
def test_a_body_sent_packed_is_unpacked(call: Caller, site: Site, encoding: str, packed: bytes) -> None:
    got = call(site.add("/photo", page(packed, Content_Encoding=encoding)))
    assert (got.story, got.content) == (("kept", 1), PHOTO)
    assert got.fetched.received == len(packed)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_bomb_is_too_large_after_little(call: Caller, site: Site, pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(bytes(100_000_000))
    got = call(site.add("/bomb", page(bomb, Content_Encoding="gzip" if pack is gzip.compress else "deflate")))
    assert (got.story, got.content) == (("too-large", 1), None)
    assert len(bomb) < 100_000
    assert list(call.folder.iterdir()) == []


def test_packed_bytes_that_unpack_to_nothing_are_limited_too(call: Caller, site: Site) -> None:
    empty = gzip.compress(b"") * 10_000
    url = site.add("/photo", _chunked(empty, Content_Encoding="gzip"))
    assert call(url, max_bytes=100_000, attempts=1).story == ("too-large", 1)


def test_a_packed_body_that_ends_early_is_incomplete_and_asked_for_anew(call: Caller, site: Site) -> None:
    packed = gzip.compress(PHOTO)
    short = page(packed[:-20], Content_Encoding="gzip", **RANGES)
    got = call(site.add("/photo", in_turn(short, cut(300, packed, Content_Encoding="gzip", **RANGES), page())))
    assert (got.story, got.content) == (("kept", 3), PHOTO)
    assert not any("range" in headers for headers in site.headers)


def test_packed_bytes_that_do_not_unpack_are_damaged(call: Caller, site: Site) -> None:
    packed = bytearray(gzip.compress(PHOTO))
    packed[20:40] = bytes(20)
    assert call(site.add("/photo", page(bytes(packed), Content_Encoding="gzip"))).story == ("damaged", 1)


def test_other_packings_are_not_an_image(call: Caller, site: Site) -> None:
    urls = [site.add(f"/{name}", page(Content_Encoding=name)) for name in ("br", "zstd", "gzip,gzip")]
    for got in call.all(*urls):
        assert (got.story, got.fetched.received) == (("not-an-image", 1), 0)
        assert "although plain bytes were asked for" in str(got.fetched.reason)


# robots.txt


def robots(site: Site, *lines: str) -> None:
    site.add("/robots.txt", page("\n".join(("User-agent: *", *lines)).encode()))


def test_what_robots_txt_disallows_is_never_asked(call: Caller, site: Site) -> None:
    robots(site, "Disallow: /private/")
    urls = [site.add("/private/photo", page()), site.add("/photo", page())]
    assert [got.story for got in call.all(*urls)] == [("opted-out", 0), ("kept", 1)]
    assert site.asked == ["/photo"]


def test_robots_txt_is_asked_for_once_and_before_all_else(call: Caller, site: Site) -> None:
    robots(site, "Disallow: /private/")
    urls = [site.add(f"/{number}", page()) for number in range(20)]
    assert {got.story for got in call.all(*urls)} == {("kept", 1)}
    assert len(site.robots) == 1
    assert site.robots[0] < min(site.times)


def test_robots_txt_is_not_asked_for_where_the_recipe_says_so(call: Caller, site: Site) -> None:
    robots(site, "Disallow: /")
    assert call(site.add("/photo", page()), robots_txt=False).story == ("kept", 1)
    assert site.robots == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_robots_txt_that_is_refused_allows_everything(call: Caller, site: Site, status: int) -> None:
    site.add("/robots.txt", page(b"User-agent: *\nDisallow: /", status))
    assert call(site.add("/photo", page())).story == ("kept", 1)


@pytest.mark.parametrize(("status", "outcome"), [(429, "rate-limited"), (500, "server-error"), (503, "server-error")])
def test_a_robots_txt_that_cannot_be_had_for_now_allows_nothing(
    call: Caller, site: Site, status: int, outcome: str
) -> None:
    site.add("/robots.txt", page(b"", status))
    got = call(site.add("/photo", page()))
    assert got.story == (outcome, 3)
    assert str(got.fetched.reason) == f"robots.txt: HTTP {status}"
    assert (len(site.robots), site.asked) == (3, [])


def test_a_robots_txt_that_comes_at_the_second_attempt_counts(call: Caller, site: Site) -> None:
    rules = page(b"User-agent: *\nDisallow: /private")
    site.add("/robots.txt", in_turn(page(b"", 503), rules))
    urls = [site.add("/photo", page()), site.add("/private", page())]
    assert [got.story[0] for got in call.all(*urls)] == ["kept", "opted-out"]
    assert len(site.robots) == 2


def test_those_who_wait_for_a_robots_txt_share_its_failure(call: Caller, site: Site) -> None:
    site.add("/robots.txt", page(b"", 503))
    urls = [site.add(f"/{number}", page()) for number in range(10)]
    assert {got.story for got in call.all(*urls, attempts=1)} == {("server-error", 1)}
    assert len(site.robots) == 1


def test_redirects_of_robots_txt_are_followed(call: Caller, site: Site) -> None:
    for number in range(5):
        site.add("/robots.txt" if not number else f"/r{number}", answer(b"", 301, Location=f"/r{number + 1}"))
    site.add("/r5", page(b"User-agent: *\nDisallow: /photo"))
    assert call(site.add("/photo", page())).story == ("opted-out", 0)


@pytest.mark.parametrize("target", ["/robots.txt", "http://169.254.169.254/robots.txt", "ftp://example.org/", "data:x"])
def test_a_robots_txt_that_leads_nowhere_is_taken_as_absent(call: Caller, site: Site, target: str) -> None:
    site.add("/robots.txt", answer(b"", 302, Location=target))
    assert call(site.add("/photo", page())).story == ("kept", 1)
    assert len(site.robots) <= 6


def test_no_more_than_512_000_bytes_of_robots_txt_are_read(call: Caller, site: Site) -> None:
    start, rule = b"User-agent: *\n#", b"\nDisallow: /photo\n"
    filler = 512_000 - len(start) - len(rule)
    for size, outcome in ((filler, "opted-out"), (filler + 600, "kept")):
        site.add("/robots.txt", page(start + b"x" * size + rule + b"#" * 5_000_000))
        assert call(site.add("/photo", page())).story[0] == outcome


def test_a_robots_txt_without_an_end_is_left(call: Caller, site: Site) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.close_connection = True
        while True:  # until the other side hangs up
            request.wfile.write(b"# nothing\n" * 1000)

    site.add("/robots.txt", endless)
    assert call(site.add("/photo", page()), attempts=1).story == ("kept", 1)


def test_a_robots_txt_sent_packed_is_read_and_a_bomb_is_not(call: Caller, site: Site) -> None:
    rules = b"User-agent: *\nDisallow: /photo\n"
    for text in (rules, rules + bytes(100_000_000)):
        site.add("/robots.txt", page(gzip.compress(text), Content_Encoding="gzip"))
        assert call(site.add("/photo", page())).story == ("opted-out", 0)
    site.add("/robots.txt", page(rules, Content_Encoding="br"))
    got = call(site.url("/photo"))
    assert (got.story, site.asked) == (("opted-out", 0), [])
    assert "sent as br" in str(got.fetched.reason)


def test_a_robots_txt_that_cannot_be_read_is_asked_for_once(call: Caller, site: Site) -> None:
    site.add("/robots.txt", page(b"?", Content_Encoding="br"))

    async def work(fetcher: Fetcher) -> list[Got]:
        return [await call.one(fetcher, site.add(f"/{number}", page())) for number in range(3)]

    for got in call.use(work):
        assert got.story == ("opted-out", 0)
        assert "sent as br" in str(got.fetched.reason)
    assert len(site.robots) == 1


def test_robots_txt_behind_a_reason_phrase_in_another_encoding_is_obeyed(call: Caller, site: Site) -> None:
    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200, "Très bien")  # in Latin-1
        request.send_header("Content-Length", "26")
        request.end_headers()
        request.wfile.write(b"User-agent: *\nDisallow: /r\n"[:26])

    site.add("/robots.txt", send)
    assert [got.story for got in call.all(site.add("/red", send), site.add("/blue", send))] == [
        ("opted-out", 0),
        ("kept", 1),
    ]


def test_a_host_that_may_not_be_connected_to_does_not_count_as_one_without_robots_txt(call: Caller) -> None:
    """Its name may have another address in a minute."""
    asked: list[str] = []

    def send(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if len(asked) == 1:
            raise BlockedAddressError("blocked")
        return httpx.Response(200, stream=httpx.ByteStream(b"User-agent: *\nDisallow: /"))

    async def work(fetcher: Fetcher) -> list[str]:
        fetcher = Fetcher(httpx.MockTransport(send), fetcher.politeness, fetcher.config, room=fetcher.room)
        return [(await call.one(fetcher, "http://a.example/photo")).fetched.outcome for _ in range(2)]

    assert call.use(work) == ["blocked-address", "opted-out"]
    assert asked == ["/robots.txt", "/robots.txt"]


def test_the_rules_of_a_redirects_target_hold_too(call: Caller, site: Site) -> None:
    robots(site, "Disallow: /private/")
    site.add("/private/photo", page())
    got = call(site.add("/photo", answer(b"", 302, Location="/private/photo")))
    assert got.story == ("opted-out", 1)
    assert site.asked == ["/photo"]


def test_a_crawl_delay_is_kept(call: Caller, site: Site) -> None:
    robots(site, "Crawl-delay: 0.3")
    call.all(*(site.add(f"/{number}", page()) for number in range(3)), max_wait=2)
    moments = sorted(site.robots + site.times)
    assert min(later - sooner for sooner, later in pairwise(moments)) > 0.25


def test_one_slot_a_host_is_enough_for_robots_txt_and_the_address(call: Caller, site: Site) -> None:
    urls = [site.add(f"/{number}", page()) for number in range(3)]
    assert {got.story for got in call.all(*urls, per_host=1, connections=1)} == {("kept", 1)}


def test_an_address_survives_that_the_one_who_asks_for_robots_txt_is_cancelled(call: Caller, site: Site) -> None:
    def slow(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        page(b"")(request)

    site.add("/robots.txt", slow)

    async def work(fetcher: Fetcher) -> Got:
        asker = asyncio.create_task(call.one(fetcher, site.add("/1", page())))
        await asyncio.sleep(0.1)
        waiter = asyncio.create_task(call.one(fetcher, site.add("/2", page())))
        await asyncio.sleep(0.1)
        asker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asker
        return await waiter

    assert call.use(work).story == ("kept", 1)
    assert site.asked == ["/2"]


def test_an_address_survives_that_the_run_of_the_one_who_asks_for_robots_txt_is_stopped(
    call: Caller, site: Site
) -> None:
    """Both wait at a host that asked for a rest, in contexts of their own, as batches do."""
    site.add("/robots.txt", in_turn(page(b"", 503, Retry_After="2"), page(b"")))

    async def work(fetcher: Fetcher) -> Got:
        with suppress(KeyboardInterrupt), stoppable():
            asker = asyncio.create_task(call.one(fetcher, site.add("/1", page())), context=copy_context())
            await asyncio.sleep(0.6)  # asked once, now it waits for its second turn
            waiter = asyncio.create_task(call.one(fetcher, site.add("/2", page())), context=_unstopped)
            await asyncio.sleep(0.1)
            raise KeyboardInterrupt
        with pytest.raises(StopError):
            await asker
        return await waiter

    _unstopped = copy_context()
    assert call.use(work, max_wait=5).story == ("kept", 1)
    assert site.asked == ["/2"]


def test_a_waiter_ends_when_its_own_run_is_stopped(call: Caller, site: Site) -> None:
    site.add("/robots.txt", lambda _: time.sleep(4))

    async def work(fetcher: Fetcher) -> float:
        outside = copy_context()
        asker = asyncio.create_task(call.one(fetcher, site.add("/1", page())), context=outside)
        await asyncio.sleep(0.1)
        with suppress(KeyboardInterrupt), stoppable():
            waiter = asyncio.create_task(call.one(fetcher, site.add("/2", page())), context=copy_context())
            await asyncio.sleep(0.1)
            raise KeyboardInterrupt
        began = time.monotonic()
        with pytest.raises(StopError):
            await waiter
        asker.cancel()
        return time.monotonic() - began

    assert call.use(work, timeout=10) < 1.5


# Hosts that want to be left alone


def test_a_redirects_target_that_is_given_up_ends_the_attempts(call: Caller, site: Site, wire: Wire) -> None:
    call.network = NetworkPolicy(user_agent="t", allowed_hosts=(site.address, wire.address))
    wire.script = [b"HTTP/1.1 429 No\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"]
    away = answer(b"", 302, Location=f"http://{wire.address}/photo")
    got = call.all(*(site.add(f"/{number}", away) for number in range(6)), per_host=1)
    assert {one.story for one in got} == {("rate-limited", 1)}
    assert (len(wire.requests), len(site.asked)) == (1, 6)
    assert got[0].fetched.reason == "HTTP 429"


def test_a_rest_that_is_asked_for_while_another_waits_for_its_slot_is_kept(call: Caller, site: Site) -> None:
    call.room = 1

    def slow(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        page(b"", 429, Retry_After="3600")(request)

    urls = [site.add("/1", slow), site.add("/2", page())]
    assert [got.fetched.outcome for got in call.all(*urls, timeout=5)] == ["rate-limited"] * 2
    assert site.asked == ["/1"]


# X-Robots-Tag


def test_a_header_that_says_noai_is_obeyed_and_the_body_left_unread(call: Caller, site: Site) -> None:
    url = site.add("/photo", page(X_Robots_Tag="noai"))
    got = call(url)
    assert (got.story, got.fetched.received, got.fetched.http_status) == (("opted-out", 1), 0, 200)
    assert got.fetched.reason == "X-Robots-Tag: noai"
    assert call(url, robots_tag=False).story == ("kept", 1)


# Errors of ours


class _Broken:
    received, seconds, slot = 0, None, None

    def headers(self, url: httpx.URL) -> dict[str, str]:
        del url
        return {}

    async def read(self, answer: httpx.Response) -> str:
        raise self.error(answer.status_code)

    def __init__(self, error: type[Exception]) -> None:
        self.error = error


@pytest.mark.parametrize("error", [ValueError, OSError, KeyError])
def test_an_error_of_ours_is_no_outcome(call: Caller, site: Site, error: type[Exception]) -> None:
    async def work(fetcher: Fetcher) -> None:
        asker, url = Asker(fetcher.transport, fetcher.politeness, fetcher.config), httpx.URL(site.add("/1", page()))
        with pytest.raises(error, match="200"):
            await asker.ask(url, asker.host(url), _Broken(error))

    call.use(work)


# What is sent


def test_a_login_goes_to_its_own_origin_only(call: Caller, site: Site, wire: Wire) -> None:
    call.network = NetworkPolicy(user_agent="t", allowed_hosts=(site.address, wire.address))
    wire.script = [
        b"HTTP/1.1 302 Found\r\nLocation: http://%s/back\r\nContent-Length: 0\r\n\r\n" % site.address.encode()
    ]
    site.add("/photo", answer(b"", 302, Location="/next"))
    site.add("/next", answer(b"", 302, Location=f"http://evil:pass@{wire.address}/away"))
    site.add("/back", page())
    got = call(f"http://ann:s%20cret@{site.address}/photo")
    assert (got.story, site.asked) == (("kept", 1), ["/photo", "/next", "/back"])
    ours = "Basic YW5uOnMgY3JldA=="
    assert [headers.get("authorization") for headers in site.headers] == [ours] * 3
    assert b"uthorization" not in wire.requests[0]
    assert b"ann" not in wire.requests[0]


def test_no_cookie_no_referer_and_our_own_name_are_sent(call: Caller, site: Site) -> None:
    site.add("/next", page(Set_Cookie="b=2"))
    url = site.add("/photo", answer(b"", 302, Location="/next", Set_Cookie="a=1; Path=/"))
    call.all(url, url)
    for headers in site.headers:
        assert headers["user-agent"] == "harvestman-test"
        assert not {"cookie", "referer", "authorization"} & set(headers)
        assert headers["accept-encoding"] == "identity"


# TLS


@pytest.fixture
def tls_address(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """A server with a certificate that nobody signed, and its count of connections."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    listener, seen = socket.create_server(("127.0.0.1", 0)), []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            seen.append(1)
            with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as stream:
                stream.recv(1)

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}", seen
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize("robots_txt", [True, False])
def test_a_certificate_that_is_not_trusted_is_not_tried_again(
    call: Caller, tls_address: tuple[str, list[int]], robots_txt: bool
) -> None:
    address, seen = tls_address
    call.network = NetworkPolicy(user_agent="t", allowed_hosts=(address,))
    got = call(f"https://{address}/photo", robots_txt=robots_txt)
    assert got.story == ("unreachable", 1)
    assert "ertificate" in str(got.fetched.reason)
    assert len(seen) == 1


# Slots


def test_bodies_wait_for_room(call: Caller, site: Site) -> None:
    call.room, inside, most = 2, 0, 0
    urls = [site.add(f"/{number}", page()) for number in range(8)]

    async def work(fetcher: Fetcher) -> None:
        async def one(url: str) -> None:
            nonlocal inside, most
            async with fetcher.fetching(url, call.folder / "x") as fetched:
                assert fetched.outcome == "kept"
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.05)
                inside -= 1

        async with asyncio.TaskGroup() as group:
            for url in urls:
                group.create_task(one(url))

    call.use(work)
    assert most == 2


def test_room_is_not_held_by_those_who_wait_for_a_turn(call: Caller, site: Site) -> None:
    call.room = 1
    cuts = [site.add(f"/cut{number}", in_turn(cut(4_000, **RANGES), part(4_000))) for number in range(4)]
    site.add("/photo", page())
    around = [site.add(f"/around{number}", answer(b"", 302, Location="/photo")) for number in range(4)]
    gone = [site.url(f"/gone{number}") for number in range(4)]
    got = call.all(*cuts, *around, *gone, connections=2)
    assert [one.fetched.outcome for one in got] == ["kept"] * 8 + ["not-found"] * 4


def test_an_address_that_is_cancelled_gives_back_its_room_and_its_file(call: Caller, site: Site) -> None:
    call.room = 1

    def stuck(request: BaseHTTPRequestHandler) -> None:
        cut(2 * MEMORY, bytes(3 * MEMORY))(request)
        time.sleep(0.4)

    async def work(fetcher: Fetcher) -> Got:
        task = asyncio.create_task(call.one(fetcher, site.add("/stuck", stuck)))
        await asyncio.sleep(0.2)
        assert len(list(call.folder.iterdir())) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list(call.folder.iterdir()) == []
        return await call.one(fetcher, site.add("/photo", page()))

    assert call.use(work, timeout=2).content == PHOTO
