"""A real web site on the loopback interface that misbehaves on request, and pictures to serve."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tasks.core.network import NetworkPolicy
from tasks.core.tables import CANDIDATES, conform, write_table
from tasks.core.workspace import Workspace
from tasks.ingest.config import IngestConfig

Answer = Callable[[BaseHTTPRequestHandler], None]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def picture(seed: int = 0, *, side: int = 160, image_format: str = "JPEG") -> bytes:
    """Coarse noise: like a photo it has low frequencies, so it survives JPEG and has a hash of its own."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side)).save(buffer, image_format)
    return buffer.getvalue()


def answer(body: bytes = b"", status: int = 200, **headers: str) -> Answer:
    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return send


def in_turn(*answers: Answer) -> Answer:
    rest = list(answers)

    def send(request: BaseHTTPRequestHandler) -> None:
        (rest.pop(0) if len(rest) > 1 else rest[0])(request)

    return send


@dataclass
class Site:
    address: str = ""
    pages: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    robots: list[float] = field(default_factory=list)
    """When robots.txt was asked for: neither in `asked` nor in `times`."""
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request in `asked`, their names in small letters."""

    def add(self, path: str, page: Answer) -> str:
        self.pages[path] = page
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/robots.txt":
                site.robots.append(time.monotonic())
            else:
                site.asked.append(self.path)
                site.times.append(time.monotonic())
                site.headers.append({name.lower(): value for name, value in self.headers.items()})
            try:
                site.pages.get(self.path, answer(b"nothing here", 404))(self)
            except ConnectionError:
                self.close_connection = True  # the client hung up, as it does on bodies too large

        def log_message(self, *_: object) -> None:
            return

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    server.daemon_threads = True
    site.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def listening(site: Site) -> Iterator[str]:
    """Serve the pages of `site` at one more port, which is one more host; yield its address."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *where: Any) -> None:  # noqa: ANN401 - as socketserver has it
            if not isinstance(sys.exception(), ConnectionError):  # of a client that was killed
                super().handle_error(*where)

    server = Server(("127.0.0.1", 0), _handler(site))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def network(site: Site) -> NetworkPolicy:
    return NetworkPolicy(user_agent="harvestman-test", allowed_hosts=(site.address,))


@pytest.fixture
def config() -> IngestConfig:
    return IngestConfig(timeout=0.5, attempts=2, max_wait=2, min_side=32, rate=1000)


@pytest.fixture
def collection(workspace: Workspace) -> Path:
    return workspace.collection("birds")


def offer(collection: Path, *rows: dict[str, object]) -> None:
    frame = conform(pl.DataFrame(list(rows)), CANDIDATES)
    write_table(frame, collection / "candidates" / f"{len(list(collection.glob('candidates/*')))}.parquet")


def offer_urls(collection: Path, *urls: str, label: str = "wren") -> None:
    offer(collection, *({"url": url, "label": label, "source": "url_list"} for url in urls))
