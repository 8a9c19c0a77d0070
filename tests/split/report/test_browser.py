"""The report in a real browser: what strangers wrote is shown, and no request leaves the page."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="neither chromium nor google-chrome is installed")


class _Listener(ThreadingHTTPServer):
    """A loopback site that writes down what it is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Listener

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[_Listener]:
    server = _Listener()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _opened(page: Path) -> str:
    """Open `page` and return its elements as the browser holds them."""
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the browser itself asks nobody either
        f"--user-data-dir={page.parent / page.stem}", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_no_request_leaves_the_page_even_if_markup_got_in(
    row: Callable[..., Any], scene: Callable[..., Any], listener: _Listener, tmp_path: Path
) -> None:
    """Each of the two walls is tried without the other: the escaping without the policy, the policy on raw markup.

    Without the policy the raw markup must be seen to ask; else this test would prove nothing.
    """

    def markup(name: str) -> str:
        at = f"{listener.url}/{name}"
        return (
            f'"><img src="{at}/img"><link rel=stylesheet href="{at}/css"><script src="{at}/js"></script>'
            f'<i style="background:url({at}/bg)">x</i>'
        )

    evil = markup("escaped")
    rows = [
        *(row(f"{listener.url}/{n}/{evil}", evil, page_url=f"{listener.url}/{evil}", creator=evil) for n in range(3)),
        row("n", evil, verdict="near-duplicate", detail=evil, cluster_id=row("k")["sha256"]), row("k", evil),
        row("h", evil, outcome="html", verdict=None, reason=evil), row("w", "wasp"),
    ]  # fmt: skip
    text = scene(rows, paint=True).write(tmp_path / "out")
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    pages = {
        "policy": text.replace("<body>", '<body><i title="' + markup("policy")),
        "neither": policy.sub("", text).replace("<body>", '<body><i title="' + markup("neither")),
    }
    for name, page in pages.items():
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
    with ThreadPoolExecutor() as threads:
        shown = dict(zip(pages, threads.map(_opened, [tmp_path / f"{name}.html" for name in pages]), strict=True))
    assert sorted(listener.asked) == [f"/neither/{name}" for name in ("bg", "css", "img", "js")]
    for page in shown.values():
        assert page.count('src="data:image/webp') == text.count('src="data:image/webp') > 6
        assert f"{listener.url}/escaped/img" in page
