"""The photo site: `python -m tasks.rehearse.site FOLDER` serves the plan of FOLDER on loopback.

Reads `plan.json`, `site.json` (the port) and pictures; appends one line a request to `requests.jsonl`.
Speaks the APIs of `tasks.rehearse.stage.APIS`, and plain image hosting everywhere else.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.files import storing
from tasks.rehearse import commons, gbif, google, inaturalist, openverse
from tasks.rehearse.behaviour import answer
from tasks.rehearse.plan import LOG, Plan, load, load_port
from tasks.rehearse.speaking import Json, QueryError, Question
from tasks.rehearse.visit import SENT, Visit

HOST = "127.0.0.1"
_GRACE = 0.2  # seconds left to requests under way when the site stops
_KIND: web.RequestKey[str] = web.RequestKey("kind", str)


Speaker = Callable[[Question], Json]
SPEAKERS: dict[str, Speaker] = {
    "/v1/observations": inaturalist.observations,
    "/v1/places/autocomplete": inaturalist.places,
    "/v1/taxa": inaturalist.taxa,
    "/v1/taxa/autocomplete": inaturalist.taxa,
    "/v1/taxa/{rest}": inaturalist.taxa_by_id,
    "/gbif/v1/occurrence/search": gbif.occurrences,
    "/gbif/v1/species/match": gbif.match,
    "/gbif/v1/species/{rest}": gbif.species,
    "/customsearch/v1": google.custom_search,
    "/serpapi/search.json": google.serpapi,
    "/openverse/v1/images": openverse.images,
    "/openverse/v1/images/": openverse.images,
    "/w/api.php": commons.answer,
}
"""Path to what answers a GET for it."""
POSTED: dict[str, Speaker] = {"/serper/images": google.serper}
"""Path to what answers a POST of JSON to it."""
_SECRET = re.compile(r"(?i)\b((?:api_)?key|cx)=[^&]*")


def application(plan: Plan, folder: Path, log: IO[str]) -> web.Application:
    """Return the aiohttp application that serves `plan` and writes a line a request to `log`."""
    app = web.Application(middlewares=[_logging(log)])
    app.add_routes([web.get("/healthz", _health(plan)), web.get("/robots.txt", _robots(plan))])
    app.add_routes([web.get(path, _telling(plan, speaker)) for path, speaker in SPEAKERS.items()])
    app.add_routes([web.post(path, _telling(plan, speaker)) for path, speaker in POSTED.items()])
    app.add_routes([web.get("/{path:.*}", _hosting(plan, folder))])
    return app


def _health(plan: Plan) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        request[_KIND] = "health"
        return web.json_response({"status": "ok", "key": plan.key, "pid": os.getpid()})

    return handler


def _robots(plan: Plan) -> Handler:
    """Keep everybody from exactly the addresses of the kind `disallowed`."""
    paths = [address.path for address in plan.addresses if address.kind == "disallowed"]
    text = "".join(f"{line}\n" for line in ("User-agent: *", *(f"Disallow: {path}$" for path in paths)))

    async def handler(request: web.Request) -> web.StreamResponse:
        request[_KIND] = "robots"
        return web.Response(text=text)

    return handler


def _logging(log: IO[str]) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began, status = dt.datetime.now(dt.UTC), None
        request[SENT] = 0
        try:
            response = await handler(request)
            status = response.status
            if isinstance(response, web.Response):  # leaves in one go, as soon as its line is in the log
                request[SENT] = len(response.body) if isinstance(response.body, bytes) else 0
            return response
        finally:
            line = {
                "time": began.isoformat(),
                "method": request.method,
                "path": request.path,
                "query": _SECRET.sub(r"\1=…", request.query_string),
                "range": request.headers.get("Range"),
                "status": status,  # null: the visitor left before the answer was whole
                "sent": request[SENT],  # bytes of the body
                "kind": request.get(_KIND, "unknown"),
            }
            log.write(json.dumps(line) + "\n")
            log.flush()

    return middleware


def _telling(plan: Plan, speaker: Speaker) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        request[_KIND] = "api"
        try:
            return web.json_response(speaker(await _question(plan, request)))
        except QueryError as error:
            return web.json_response(error.body, status=error.status)

    return handler


async def _question(plan: Plan, request: web.Request) -> Question:
    body: Any = {}
    if request.method == "POST":
        try:
            body = await request.json()
        except ValueError:
            raise QueryError(400, "The body is not JSON.") from None
    return Question(
        plan,
        tuple(request.query.items()),
        request.match_info.get("rest", ""),
        request.headers,
        body if isinstance(body, dict) else {},
    )


def _hosting(plan: Plan, folder: Path) -> Handler:
    addresses = {address.key: address for address in plan.addresses}
    warned: set[str] = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        address = addresses.get(_key(request.path))
        if address is None:
            return web.Response(status=404, text="404")
        request[_KIND] = address.kind
        return await answer(Visit(request, address, folder, warned))

    return handler


def _key(path: str) -> str:
    """Return what the site finds the (unescaped) `path` of a request by: one photo has an address a size."""
    if path.startswith("/photos/"):
        return path.rpartition("/")[0]
    if path.startswith(f"{commons.FILES}thumb/"):
        return path.replace(f"{commons.FILES}thumb/", commons.FILES, 1).rpartition("/")[0]
    return path


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
