"""How a photo site answers for each kind of address.

Reads the pictures of the plan. Writes only to the connection.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import hdrs, web

from tasks.rehearse.door import SIDES
from tasks.rehearse.faults import PAGE, PIXEL, shrunk
from tasks.rehearse.plan import Address

PAUSE = 0.5  # seconds of each of the two pauses of a slow answer
HOPS = 2  # redirects of a `redirected` picture
_PRIVATE = "http://10.255.255.1/x.jpg"
_LOOPBACK = "http://127.0.0.1:1/"
_TYPES = {
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}


@dataclass
class Visit:
    """One request for an address of the plan."""

    request: web.Request
    address: Address
    folder: Path  # of the site
    warned: set[str] = field(default_factory=set)  # keys of the busy addresses that have said so already

    @property
    def picture(self) -> Path:
        """The file behind the address."""
        return self.folder / self.address.file

    async def body(self) -> bytes:
        """Return the picture in the size asked for."""
        word = self.request.path.rsplit("/", 1)[-1].partition(".")[0]
        if self.address.key.startswith("/photos/") and word in SIDES and self.address.kind != "truncated":
            return await asyncio.to_thread(_shrunk, self.picture, word)
        return await asyncio.to_thread(self.picture.read_bytes)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an image."""
        return {hdrs.CONTENT_TYPE: _TYPES.get(self.picture.suffix.lower(), "image/jpeg")}


Answer = Callable[[Visit], Awaitable[web.StreamResponse]]


@functools.lru_cache(maxsize=256)
def _shrunk(picture: Path, word: str) -> bytes:
    return shrunk(picture.read_bytes(), SIDES[word], square=word == "square")


async def _picture(visit: Visit) -> web.StreamResponse:
    return web.Response(body=await visit.body(), headers=visit.headers)


async def _slow(visit: Visit) -> web.StreamResponse:
    body = await visit.body()
    response = await _begun(visit, len(body))
    for half in (body[: len(body) // 2], body[len(body) // 2 :]):
        await asyncio.sleep(PAUSE)
        await response.write(half)
    await response.write_eof()
    return response


async def _cut_short(visit: Visit) -> web.StreamResponse:
    body = await visit.body()
    response = await _begun(visit, len(body))
    await response.write(body[: len(body) // 2])
    response.force_close()
    if visit.request.transport is not None:
        visit.request.transport.close()
    return response


async def _begun(visit: Visit, length: int) -> web.StreamResponse:
    response = web.StreamResponse(headers=visit.headers)
    response.content_length = length
    await response.prepare(visit.request)
    return response


async def _busy_once(visit: Visit) -> web.StreamResponse:
    if visit.address.key in visit.warned:
        return await _picture(visit)
    visit.warned.add(visit.address.key)
    return await _throttled(visit)


async def _throttled(_: Visit) -> web.StreamResponse:
    return web.Response(status=429, text="Too many requests", headers={hdrs.RETRY_AFTER: "1"})


async def _redirected(visit: Visit) -> web.StreamResponse:
    hop = visit.request.query.get("hop", "0")
    taken = int(hop) if hop.isdecimal() else HOPS
    if taken >= HOPS:
        return await _picture(visit)
    # One absolute and one relative location: both are met on the web.
    location = visit.request.url.with_query(hop=taken + 1)
    return _moved(str(location if taken == 0 else location.relative()))


async def _endless(visit: Visit) -> web.StreamResponse:
    return _moved(str(visit.request.url))


async def _private(_: Visit) -> web.StreamResponse:
    return _moved(_PRIVATE)


async def _loopback(_: Visit) -> web.StreamResponse:
    return _moved(_LOOPBACK)


def _moved(location: str) -> web.Response:
    return web.Response(status=302, headers={hdrs.LOCATION: location})


async def _hanging(_: Visit) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")  # pragma: no cover


async def _page(_: Visit) -> web.StreamResponse:
    return web.Response(body=PAGE, content_type="text/html")


async def _pixel(_: Visit) -> web.StreamResponse:
    return web.Response(body=PIXEL, content_type="image/gif")


async def _nothing(visit: Visit) -> web.StreamResponse:
    return web.Response(body=b"", headers=visit.headers)


def _refusing(status: int) -> Answer:
    async def refuse(_: Visit) -> web.StreamResponse:
        return web.Response(status=status, text=f"{status}")

    return refuse


ANSWERS: dict[str, Answer] = {
    "slow": _slow,
    "busy-once": _busy_once,
    "redirected": _redirected,
    "missing": _refusing(404),
    "gone": _refusing(410),
    "forbidden": _refusing(403),
    "throttled": _throttled,
    "unavailable": _refusing(503),
    "hanging": _hanging,
    "cut-short": _cut_short,
    "page": _page,
    "nothing": _nothing,
    "pixel": _pixel,
    "private": _private,
    "loopback": _loopback,
    "endless": _endless,
}


async def answer(visit: Visit) -> web.StreamResponse:
    """Answer a request for an address of the plan; kinds without a behaviour of their own serve their picture."""
    return await ANSWERS.get(visit.address.kind, _picture)(visit)
