"""The fault matrix: what the web does to a downloader, one row a fault, and what must have become of it.

All rows pass the door in one batch, each from a host (a port) of its own, so that none is there to be met by another.
Bytes are counted at both ends: by the ledger as they came, by the site's log as they left.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tasks.core.network import NetworkPolicy
from tasks.core.tables import read_ledger
from tasks.core.workspace import Workspace
from tasks.ingest.batch import run_batch
from tasks.ingest.config import IngestConfig
from tasks.ingest.plan import plan
from tasks.rehearse.faults import PAGE, PIXEL, derived, flat, gzip_bomb, pixel_bomb
from tasks.rehearse.plan import Address, Plan
from tasks.rehearse.site import application

from .conftest import NOW, offer_urls, picture

HOST = "127.0.0.1"
TRIES = 2
HOPS = 5
LIMIT = 500_000  # bytes of a body
IN_BUFFERS = 8_000_000  # bytes that left the site and nobody read: Linux grants a fast reader six megabytes of them
CONFIG = IngestConfig(
    timeout=1, attempts=TRIES, max_redirects=HOPS, max_wait=5, max_bytes=LIMIT, min_side=32, rate=1000
)  # fmt: skip
Wire = Callable[[int], tuple[int, int]]


def exactly(times: int = 1, *, of: int = 1) -> Wire:
    """All of the file, or a part of it, `times` times, to the byte."""
    return lambda size: (size // of * times, size // of * times)


def between(least: int, most: int) -> Wire:
    return lambda _: (least, most)


nothing = between(0, 0)
refusal = between(0, 40)  # a sentence that need not be read


@dataclass(frozen=True)
class Fault:
    """One row of the matrix. What the site does is told by `kind` (see tasks.rehearse.faults) or by the address."""

    name: str
    outcome: str
    kind: str = ""
    attempts: int = 1
    requests: int | None = None  # lines of the site's log; None = one an attempt
    received: Wire = nothing  # bytes of bodies in the ledger, by the length of the file
    sent: Wire | None = None  # bytes in the site's log; None = as many as were received
    reason: str = ""  # a part of it
    address: str = "http://{host}/faults/{name}.jpg"


FAULTS = [
    # No answer
    Fault("refused", "unreachable", attempts=TRIES, requests=0, address="http://{closed}/x.jpg"),
    Fault("self-signed", "unreachable", requests=0, address="https://{tls}/x.jpg", reason="ertificate"),
    Fault("no-such-name", "unreachable", attempts=TRIES, requests=0, address="http://no-such-host.invalid/x.jpg"),
    Fault("silence", "timeout", "hanging", attempts=TRIES),
    # No picture
    Fault("status-404", "not-found", "missing", sent=refusal, reason="404"),
    Fault("status-410", "not-found", "gone", sent=refusal, reason="410"),
    Fault("status-403", "forbidden", "forbidden", sent=refusal, reason="403"),
    Fault("status-429", "rate-limited", "throttled", attempts=TRIES, sent=refusal, reason="429"),
    Fault("status-429-dated", "rate-limited", "throttled-dated", attempts=TRIES, sent=refusal, reason="429"),
    Fault("status-503", "server-error", "unavailable", attempts=TRIES, sent=refusal, reason="503"),
    Fault("html", "html", "page", received=between(len(PAGE), len(PAGE))),
    Fault("empty", "empty", "nothing"),
    # Somewhere else
    Fault("redirects", "kept", "redirected", requests=3, received=exactly()),
    Fault("redirect-loop", "too-many-redirects", "endless", requests=HOPS + 1),
    Fault("redirect-to-metadata", "blocked-address", "metadata", reason="metadata"),
    Fault("redirect-to-private", "blocked-address", "private", reason="private"),
    Fault("redirect-to-loopback", "blocked-address", "loopback", reason="loopback"),
    Fault("name-of-loopback", "blocked-address", "photo", requests=0, address="http://localhost:{port}/faults/{name}.jpg",
          reason="loopback"),
    # A body that does not come as announced
    Fault("dripping", "timeout", "dripping", attempts=TRIES, received=between(2 * TRIES, 40 * TRIES),
          sent=between(2 * TRIES, 40 * TRIES)),
    Fault("cut-short", "incomplete", "cut-short", attempts=TRIES, received=exactly(TRIES, of=2)),
    Fault("reset-midway", "incomplete", "reset", attempts=TRIES, received=exactly(TRIES, of=2)),
    Fault("length-too-long", "incomplete", "overstated", attempts=TRIES, received=exactly(TRIES)),
    Fault("length-too-short", "damaged", "understated", received=exactly(of=2), sent=exactly()),
    # The answer is lost to the client's parser with what follows it: no body, and no answer either.
    Fault("length-too-short-at-once", "unreachable", "understated-at-once", attempts=TRIES, sent=exactly(TRIES)),
    Fault("resumed", "kept", "resumable", attempts=2, received=exactly()),
    # Too much of it
    Fault("gzip-bomb", "too-large", "gzip-bomb", received=between(100, 70_000), sent=between(100, 70_000)),
    Fault("vast", "too-large", "vast", sent=between(0, 2_000_000), reason="200,000,000 bytes announced"),
    Fault("vast-unannounced", "too-large", "vast-unannounced", received=between(LIMIT, LIMIT + 200_000),
          sent=between(LIMIT, LIMIT + IN_BUFFERS), reason="500,000"),
    Fault("pixel-bomb", "too-large", "pixel-bomb", received=between(len(pixel_bomb()), len(pixel_bomb()))),
    # Spoilt pictures
    Fault("truncated-50", "damaged", "truncated", received=exactly()),
    Fault("truncated-90", "damaged", "truncated-90", received=exactly()),
    Fault("truncated-99", "damaged", "truncated-99", received=exactly()),
    Fault("zeroed", "damaged", "zeroed", received=exactly()),
    Fault("placeholder", "flat", "flat", received=between(len(flat()), len(flat()))),
    Fault("pixel", "too-small", "pixel", received=between(len(PIXEL), len(PIXEL))),
    # Odd, and all right
    Fault("wrong-extension", "kept", "misnamed", received=exactly()),
    Fault("gzipped", "kept", "gzipped", received=between(100, LIMIT)),
    Fault("not-ascii", "kept", "photo", received=exactly(), address="http://{host}/fälle/spinnë-日本.jpg"),
    # Not for us
    Fault("opted-out-by-header", "opted-out", "tagged", received=lambda size: (0, size), sent=exactly()),
    Fault("opted-out-by-robots", "opted-out", "disallowed", attempts=0),
    # No address
    Fault("no-scheme", "invalid-address", attempts=0, address="pictures/x.jpg", reason="scheme"),
    Fault("no-port", "invalid-address", attempts=0, address="http://example.org:port/x.jpg", reason="port"),
    Fault("file-url", "invalid-address", attempts=0, address="file:///etc/passwd", reason="scheme"),
    Fault("data-url", "invalid-address", attempts=0, address="data:image/gif;base64,R0lGODlhAQABAAAAACw=",
          reason="scheme"),
]  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """What has become of a fault."""

    row: dict[str, Any]  # of the ledger
    lines: list[dict[str, Any]]  # of the site's log
    size: int  # bytes of the file behind the address


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, Ended]:
    """Let all faults pass the door at once; return what has become of each."""
    gzip_bomb()  # made ahead of the clock
    with listening() as sockets, socket.socket() as closed:
        closed.bind((HOST, 0))  # and never listens
        tls = tls_context(folder)
        names = {name: f"{HOST}:{s.getsockname()[1]}" for name, s in sockets.items()}
        urls = {fault.name: url_of(fault, names, closed=f"{HOST}:{closed.getsockname()[1]}") for fault in FAULTS}
        files = {fault.name: file_of(fault, folder) for fault in FAULTS}
        site = plan_of([address_of(fault, urls[fault.name], files[fault.name]) for fault in FAULTS if fault.kind])
        allowed = (*names.values(), f"{HOST}:{closed.getsockname()[1]}")
        with (folder / "log").open("w+") as log, serving(application(site, folder, log), sockets, tls):
            workspace = Workspace(folder / "workspace")
            rows = passed(workspace, urls, NetworkPolicy(user_agent="harvestman-test", allowed_hosts=allowed))
            lines = logged(folder / "log", at_least=sum(requests_of(fault) for fault in FAULTS))
    asked = {
        fault.name: [line for line in lines if fault.kind and urls[fault.name].endswith(line["path"])]
        for fault in FAULTS
    }
    assert sum(map(len, asked.values())) == len(lines)  # each line is of one fault
    return {name: Ended(rows[url], asked[name], files[name].stat().st_size) for name, url in urls.items()}


def requests_of(fault: Fault) -> int:
    return fault.attempts if fault.requests is None else fault.requests


@contextmanager
def listening() -> Iterator[dict[str, socket.socket]]:
    """Give each fault a host of its own, and `tls` one."""
    found = {name: socket.create_server((HOST, 0)) for name in ("tls", *(fault.name for fault in FAULTS))}
    try:
        yield found
    finally:
        for listener in found.values():
            listener.close()


def url_of(fault: Fault, names: dict[str, str], *, closed: str) -> str:
    host = names[fault.name]
    port = host.rpartition(":")[2]
    return fault.address.format(host=host, port=port, name=fault.name, tls=names["tls"], closed=closed)


def file_of(fault: Fault, folder: Path) -> Path:
    base = folder / "photo.jpg"
    if not base.exists():
        base.write_bytes(picture(7, side=200))
    return derived(fault.kind, base, folder / "derived" / fault.name)


def plan_of(addresses: list[Address]) -> Plan:
    return Plan(key="k", base_url="", taxa=(), observations=(), addresses=tuple(addresses))


def address_of(fault: Fault, url: str, file: Path) -> Address:
    path = f"/{url.split('/', 3)[3]}"
    return Address(path=path, key=path, kind=fault.kind, label="x", source=0, file=str(file), expected=fault.outcome)


def tls_context(folder: Path) -> ssl.SSLContext:
    """A certificate that nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "site.pem").write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "site.pem")
    return context


@contextmanager
def serving(app: web.Application, sockets: dict[str, socket.socket], tls: ssl.SSLContext) -> Iterator[None]:
    """Serve the site at every socket, in an event loop of its own."""
    up, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
        await runner.setup()
        for name, listener in sockets.items():
            await web.SockSite(runner, listener, ssl_context=tls if name == "tls" else None).start()
        up.set()
        await stop.wait()
        await runner.cleanup()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert up.wait(10)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def passed(workspace: Workspace, urls: dict[str, str], network: NetworkPolicy) -> dict[str, dict[str, Any]]:
    collection = workspace.collection("faults")
    offer_urls(collection, *urls.values())
    [batch] = plan(collection, CONFIG, now=NOW).batches
    run_batch(batch, workspace=workspace, config=CONFIG, network=network)
    return {row["url"]: row for row in read_ledger(collection).to_dicts()}


def logged(log: Path, *, at_least: int) -> list[dict[str, Any]]:
    """Return the log's lines. An answer that its visitor left is written down when the site has noticed."""
    until = time.monotonic() + 5
    while True:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        pictures = [line for line in lines if line["kind"] != "robots"]
        if len(pictures) >= at_least or time.monotonic() > until:
            return pictures
        time.sleep(0.05)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_ends_as_it_must(ended: dict[str, Ended], fault: Fault) -> None:
    found = ended[fault.name]
    row = found.row
    assert (row["outcome"], row["attempts"]) == (fault.outcome, fault.attempts), row["reason"]
    assert fault.reason in (row["reason"] or "")
    assert len(row["reason"] or "") < 500
    assert len(found.lines) == requests_of(fault)

    least, most = fault.received(found.size)
    assert least <= (row["received"] or 0) <= most
    sent = sum(line["sent"] for line in found.lines)
    least, most = fault.sent(found.size) if fault.sent else (row["received"] or 0, row["received"] or 0)
    assert least <= sent <= most

    assert (row["sha256"] is not None) == (fault.outcome == "kept")


def test_nothing_is_stored_but_what_is_kept(ended: dict[str, Ended], folder: Path) -> None:
    kept = {found.row["sha256"] for found in ended.values()} - {None}
    images = Workspace(folder / "workspace").images
    assert {path.stem for path in images.rglob("*") if path.is_file()} == kept


def test_a_picture_that_came_in_two_pieces_is_the_one_that_came_whole(ended: dict[str, Ended]) -> None:
    first, second = ended["resumed"].lines
    assert (first["range"], first["status"]) == (None, 200)
    assert (second["range"], second["status"]) == (f"bytes={ended['resumed'].size // 2}-", 206)
    whole = {ended[name].row["sha256"] for name in ("resumed", "gzipped", "redirects", "not-ascii")}
    assert len(whole) == 1


def test_the_format_of_a_misnamed_picture_is_that_of_its_bytes(ended: dict[str, Ended]) -> None:
    assert ended["wrong-extension"].row["format"] == "PNG"


@pytest.mark.parametrize("name", ["status-429", "status-429-dated"])
def test_a_rest_is_kept_in_seconds_and_as_a_date(ended: dict[str, Ended], name: str) -> None:
    first, second = (dt.datetime.fromisoformat(line["time"]) for line in ended[name].lines)
    assert (second - first).total_seconds() >= 0.95  # a back-off would be half a second
