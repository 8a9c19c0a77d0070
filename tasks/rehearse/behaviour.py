"""How a photo site answers for each kind of address.

Reads the pictures of the plan. Writes only to the connection.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import hdrs, web

from tasks.rehearse import streams
from tasks.rehearse.faults import PAGE, PIXEL, flat, gzip_bomb, pixel_bomb
from tasks.rehearse.visit import Visit, whole

HOPS = 2  # redirects of a `redirected` picture
_REST = 2.0  # seconds until the date that a visitor is asked to come back: dates have whole seconds
_PRIVATE = "http://10.255.255.1/x.jpg"
_LOOPBACK = "http://127.0.0.1:1/"
_METADATA = "http://169.254.169.254/latest/meta-data/"

Answer = Callable[[Visit], Awaitable[web.StreamResponse]]


async def _picture(visit: Visit) -> web.StreamResponse:
    return await whole(visit, await visit.body())


async def _gzipped(visit: Visit) -> web.StreamResponse:
    packed = await asyncio.to_thread(gzip.compress, await visit.body())
    return await whole(visit, packed, {hdrs.CONTENT_ENCODING: "gzip"})


async def _gzip_bomb(visit: Visit) -> web.StreamResponse:
    return await whole(visit, await asyncio.to_thread(gzip_bomb), {hdrs.CONTENT_ENCODING: "gzip"})


async def _tagged(visit: Visit) -> web.StreamResponse:
    return await whole(visit, await visit.body(), {"X-Robots-Tag": "noai, noimageai"})


async def _busy_once(visit: Visit) -> web.StreamResponse:
    return await (_throttled if visit.first() else _picture)(visit)


async def _busy_dated(visit: Visit) -> web.StreamResponse:
    return await (_throttled_dated if visit.first() else _picture)(visit)


async def _throttled(_: Visit) -> web.StreamResponse:
    return _come_back("1")


async def _throttled_dated(_: Visit) -> web.StreamResponse:
    return _come_back(formatdate(time.time() + _REST, usegmt=True))


def _come_back(when: str) -> web.Response:
    return web.Response(status=429, text="Too many requests", headers={hdrs.RETRY_AFTER: when})


async def _redirected(visit: Visit) -> web.StreamResponse:
    hop = visit.request.query.get("hop", "0")
    taken = int(hop) if hop.isdecimal() else HOPS
    if taken >= HOPS:
        return await _picture(visit)
    # One absolute and one relative location: both are met on the web.
    location = visit.request.url.with_query(hop=taken + 1)
    return _moved(str(location if taken == 0 else location.relative()))


async def _endless(visit: Visit) -> web.StreamResponse:
    return _moved(str(visit.request.url), status=301)


async def _private(_: Visit) -> web.StreamResponse:
    return _moved(_PRIVATE)


async def _loopback(_: Visit) -> web.StreamResponse:
    return _moved(_LOOPBACK)


async def _metadata(_: Visit) -> web.StreamResponse:
    return _moved(_METADATA, status=301)


def _moved(location: str, *, status: int = 302) -> web.Response:
    return web.Response(status=status, headers={hdrs.LOCATION: location})


async def _hanging(_: Visit) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")  # pragma: no cover


async def _page(_: Visit) -> web.StreamResponse:
    return web.Response(body=PAGE, content_type="text/html")


async def _pixel(_: Visit) -> web.StreamResponse:
    return web.Response(body=PIXEL, content_type="image/gif")


async def _flat(_: Visit) -> web.StreamResponse:
    return web.Response(body=flat(), content_type="image/gif")


async def _pixel_bomb(_: Visit) -> web.StreamResponse:
    return web.Response(body=pixel_bomb(), content_type="image/png")


async def _nothing(visit: Visit) -> web.StreamResponse:
    return web.Response(body=b"", headers=visit.headers)


def _refusing(status: int) -> Answer:
    async def refuse(_: Visit) -> web.StreamResponse:
        return web.Response(status=status, text=f"{status}")

    return refuse


ANSWERS: dict[str, Answer] = {
    "slow": streams.slow,
    "busy-once": _busy_once,
    "busy-dated": _busy_dated,
    "redirected": _redirected,
    "gzipped": _gzipped,
    "resumable": streams.resumable,
    "missing": _refusing(404),
    "gone": _refusing(410),
    "forbidden": _refusing(403),
    "throttled": _throttled,
    "throttled-dated": _throttled_dated,
    "unavailable": _refusing(503),
    "hanging": _hanging,
    "dripping": streams.dripping,
    "cut-short": streams.cut_short,
    "reset": streams.reset,
    "overstated": streams.overstated,
    "understated": streams.understated,
    "understated-at-once": streams.understated_at_once,
    "vast": streams.vast,
    "vast-unannounced": streams.vast_unannounced,
    "page": _page,
    "nothing": _nothing,
    "pixel": _pixel,
    "flat": _flat,
    "gzip-bomb": _gzip_bomb,
    "pixel-bomb": _pixel_bomb,
    "tagged": _tagged,
    "private": _private,
    "loopback": _loopback,
    "metadata": _metadata,
    "endless": _endless,
}


async def answer(visit: Visit) -> web.StreamResponse:
    """Answer a request for an address of the plan; kinds without a behaviour of their own serve their picture."""
    return await ANSWERS.get(visit.address.kind, _picture)(visit)
