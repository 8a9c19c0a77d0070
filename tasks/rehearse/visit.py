"""One request for an address of a photo site: what it asks for, and what has been sent of the answer.

Reads the pictures of the plan. Writes to the connection.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from aiohttp import hdrs, web

from tasks.rehearse.door import SIDES
from tasks.rehearse.faults import UNSCALED, shrunk
from tasks.rehearse.plan import Address

SENT: web.RequestKey[int] = web.RequestKey("sent", int)
"""Bytes of the body that the kernel has been handed in pieces; answers given in one go are counted by their length."""
AT_ONCE = 1 << 17  # bytes; an answer of as many fits into the kernel's buffer, and none of it waits for the visitor
_PIECE = 1 << 16
_NONE: Mapping[str, str] = MappingProxyType({})
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
    warned: set[str] = field(default_factory=set)  # keys of the addresses that have misbehaved once already

    @property
    def picture(self) -> Path:
        """The file behind the address."""
        return self.folder / self.address.file

    async def body(self) -> bytes:
        """Return the picture in the size asked for."""
        word = self.request.path.rsplit("/", 1)[-1].partition(".")[0]
        if self.address.key.startswith("/photos/") and word in SIDES and self.address.kind not in UNSCALED:
            return await asyncio.to_thread(_shrunk, self.picture, word)
        return await asyncio.to_thread(self.picture.read_bytes)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an image."""
        return {hdrs.CONTENT_TYPE: _TYPES.get(self.picture.suffix.lower(), "image/jpeg")}

    def first(self) -> bool:
        """Whether nobody has asked for this address before."""
        again = self.address.key in self.warned
        self.warned.add(self.address.key)
        return not again


async def whole(visit: Visit, body: bytes, headers: Mapping[str, str] = _NONE) -> web.StreamResponse:
    """Answer with `body` and the headers of an image, and with further `headers`."""
    if len(body) <= AT_ONCE:
        return web.Response(body=body, headers={**visit.headers, **headers})
    response = await begun(visit, len(body), headers)
    await give(visit, response, body)
    return response


async def begun(
    visit: Visit, length: int | None, headers: Mapping[str, str] = _NONE, *, status: int = 200
) -> web.StreamResponse:
    """Send the head of an answer that announces `length` bytes; None = chunks until there are no more."""
    response = web.StreamResponse(status=status, headers={**visit.headers, **headers})
    response.content_length = length
    await response.prepare(visit.request)
    return response


async def give(visit: Visit, response: web.StreamResponse, body: bytes) -> None:
    """Send `body`, counting what has left this process when its visitor goes away."""
    for start in range(0, len(body), _PIECE):
        piece = body[start : start + _PIECE]
        await response.write(piece)
        visit.request[SENT] = visit.request.get(SENT, 0) + len(piece)


@functools.lru_cache(maxsize=256)
def _shrunk(picture: Path, word: str) -> bytes:
    return shrunk(picture.read_bytes(), SIDES[word], square=word == "square")
