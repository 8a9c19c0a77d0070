"""The site that the ingest benchmarks download from: nginx on loopback, many hosts, and one that takes its time.

Reads the photos it serves; writes nginx's configuration, pid and error log into a folder of its own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HOSTS = 50
_READY = 10.0  # seconds nginx may take to answer
_CONFIG = """\
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ worker_connections 4096; multi_accept on; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ image/jpeg jpg; }}
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ {listen} root {photos}; }}
}}
"""


def nginx() -> str:
    """Return where nginx lies; end the program with what to do where there is none."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        sys.exit("These benchmarks need nginx, a server too cheap to count: apt-get install nginx (or brew, dnf, ...).")
    return found


@contextmanager
def photo_site(photos: Path, folder: Path, *, hosts: int = HOSTS) -> Iterator[list[str]]:
    """Serve the files of `photos` on `hosts` free ports; yield them as `127.0.0.1:port`.

    Each port is a host of its own to every program that is measured.
    """
    ports = _free_ports(hosts)
    folder.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""  # else its worker could not read below a private folder
    listen = " ".join(f"listen 127.0.0.1:{port};" for port in ports)
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, user=user, listen=listen, photos=photos))
    server = subprocess.Popen([nginx(), "-e", str(folder / "error.log"), "-c", str(config)])  # noqa: S603 - from PATH
    try:
        _await(ports[-1], server)
        yield [f"127.0.0.1:{port}" for port in ports]
    finally:
        server.terminate()
        server.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _READY
    while time.monotonic() < until and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("nginx does not answer; what it said stands above and in its error.log.")


@contextmanager
def slow_host(body: bytes, *, seconds: float) -> Iterator[str]:
    """Run a host that answers every request, robots.txt too, after `seconds`; yield it as `127.0.0.1:port`."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ports: list[int] = []
    ended = asyncio.Event()

    async def serve() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _answer_late(reader, writer, body=body, seconds=seconds)

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await ended.wait()
        server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield f"127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _answer_late(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, body: bytes, seconds: float
) -> None:
    """Answer the requests of one connection, one after another."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(seconds)
            found = not head.startswith(b"GET /robots.txt")
            sent = body if found else b""
            status = "200 OK" if found else "404 Not Found"
            start = f"HTTP/1.1 {status}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(sent)}\r\n\r\n"
            writer.write(start.encode() + sent)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return  # the client has gone
    finally:
        writer.close()
