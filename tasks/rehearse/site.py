"""The photo site: `python -m tasks.rehearse.site FOLDER` serves the plan of FOLDER on loopback.

Reads `plan.json`, `site.json` (the port) and pictures; appends one line a request to `requests.jsonl`.
Speaks the iNaturalist API v1 below /v1, and plain image hosting everywhere else.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.files import storing
from tasks.rehearse import inaturalist
from tasks.rehearse.behaviour import Visit, answer
from tasks.rehearse.plan import LOG, Plan, load, load_port

HOST = "127.0.0.1"
_GRACE = 0.2  # seconds left to requests under way when the site stops
_KIND: web.RequestKey[str] = web.RequestKey("kind", str)


def application(plan: Plan, folder: Path, log: IO[str]) -> web.Application:
    """Return the aiohttp application that serves `plan` and writes a line a request to `log`."""
    app = web.Application(middlewares=[_logging(log)])
    app.add_routes(
        [
            web.get("/healthz", _telling("health", lambda _: {"status": "ok", "key": plan.key, "pid": os.getpid()})),
            web.get("/v1/observations", _telling("api", lambda request: inaturalist.observations(plan, request.query))),
            web.get("/v1/taxa", _telling("api", lambda request: inaturalist.taxa(plan, request.query))),
            web.get("/v1/taxa/autocomplete", _telling("api", lambda request: inaturalist.taxa(plan, request.query))),
            web.get(
                "/v1/taxa/{ids}",
                _telling("api", lambda request: inaturalist.taxa_by_id(plan, request.match_info["ids"])),
            ),
            web.get("/{path:.*}", _hosting(plan, folder)),
        ]
    )
    return app


def _logging(log: IO[str]) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began, status = dt.datetime.now(dt.UTC), None
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            line = {
                "time": began.isoformat(),
                "path": request.path,
                "query": request.query_string,
                "status": status,  # null: the visitor left before there was an answer
                "kind": request.get(_KIND, "unknown"),
            }
            log.write(json.dumps(line) + "\n")
            log.flush()

    return middleware


def _telling(kind: str, tell: Callable[[web.Request], inaturalist.Json]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        request[_KIND] = kind
        try:
            return web.json_response(tell(request))
        except inaturalist.QueryError as error:
            return web.json_response({"error": error.message, "status": error.status}, status=error.status)

    return handler


def _hosting(plan: Plan, folder: Path) -> Handler:
    addresses = {address.key: address for address in plan.addresses}
    warned: set[str] = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        key = request.path.rsplit("/", 1)[0] if request.path.startswith("/photos/") else request.path
        address = addresses.get(key)
        if address is None:
            return web.Response(status=404, text="404")
        request[_KIND] = address.kind
        return await answer(Visit(request, address, folder, warned))

    return handler


async def serve(folder: Path, *, with_parent: bool) -> None:
    """Serve the site in `folder` until SIGTERM or SIGINT, or, `with_parent`, until standard input ends.

    Raises:
        SourceError: the folder holds no site, or its port is taken.
        WorkspaceError: the request log cannot be written.
    """
    plan, port = load(folder), load_port(folder)
    with storing(folder / LOG):
        log = (folder / LOG).open("a", encoding="utf-8")
    with log:
        # Without handler_cancellation a hanging answer would hang on after its visitor has left.
        runner = web.AppRunner(
            application(plan, folder, log), access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE
        )
        await runner.setup()
        try:
            await _listen(runner, port, folder)
            await _stopped(with_parent=with_parent)
        finally:
            await runner.cleanup()


async def _listen(runner: web.AppRunner, port: int | None, folder: Path) -> None:
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        raise SourceError(
            f"The photo site of {folder} cannot listen on port {port}.",
            received=str(error),
            hint="The port is kept so that a resumed rehearsal meets the same addresses. Stop the program that\n"
            f"holds it, or delete {folder} to start another rehearsal.",
        ) from error


async def _stopped(*, with_parent: bool) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if with_parent:
        loop.add_reader(sys.stdin.fileno(), _watch(stop))
    await stop.wait()


def _watch(stop: asyncio.Event) -> Callable[[], None]:
    """The kernel closes the pipe however the parent ends, kill -9 included."""

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            stop.set()

    return look


def main(arguments: list[str] | None = None) -> int:
    """Run the site from the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tasks.rehearse.site", description="Serve a rehearsal's photo site."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--with-parent", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(serve(options.folder, with_parent=options.with_parent))
    except HarvestmanError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
