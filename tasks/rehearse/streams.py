"""Answers that fail, dawdle or go on while their body is on its way.

Reads the pictures of the plan. Writes only to the connection.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import zlib

from aiohttp import hdrs, web

from tasks.rehearse.visit import SENT, Visit, begun, give, whole

PAUSE = 0.5  # seconds of each of the two pauses of a slow answer
DRIP = 0.1  # seconds between the bytes of a dripping one
VAST = 200_000_000  # bytes
_BEYOND = 1000  # bytes that an overstated Content-Length announces and nobody sends
_BUFFER = 1 << 16  # bytes the kernel may hold of a vast answer: it grants megabytes otherwise, unasked for by anyone
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


async def slow(visit: Visit) -> web.StreamResponse:
    """Send the picture in two halves, a pause before each."""
    body = await visit.body()
    response = await begun(visit, len(body))
    for half in (body[: len(body) // 2], body[len(body) // 2 :]):
        await asyncio.sleep(PAUSE)
        await give(visit, response, half)
    await response.write_eof()
    return response


async def dripping(visit: Visit) -> web.StreamResponse:
    """Send the picture byte by byte."""
    body = await visit.body()
    response = await begun(visit, len(body))
    for place in range(len(body)):
        await give(visit, response, body[place : place + 1])
        await asyncio.sleep(DRIP)
    return response


async def cut_short(visit: Visit) -> web.StreamResponse:
    """Announce the picture, send half of it and close the connection."""
    body = await visit.body()
    return await _ended(visit, len(body), body[: len(body) // 2])


async def overstated(visit: Visit) -> web.StreamResponse:
    """Announce more than the picture, send the picture and close the connection."""
    body = await visit.body()
    return await _ended(visit, len(body) + _BEYOND, body)


async def understated(visit: Visit) -> web.StreamResponse:
    """Announce half of the picture and send all of it, the rest a while later."""
    body = await visit.body()
    response = await begun(visit, len(body) // 2)
    await give(visit, response, body[: len(body) // 2])
    await asyncio.sleep(PAUSE)
    return _surplus(visit, response, body[len(body) // 2 :])


async def understated_at_once(visit: Visit) -> web.StreamResponse:
    """Announce half of the picture and send all of it, head and all in one piece."""
    body = await visit.body()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body) // 2}\r\n\r\n"
    return _surplus(visit, web.StreamResponse(), head.encode() + body, uncounted=len(head))


async def reset(visit: Visit) -> web.StreamResponse:
    """Announce the picture, send half of it and reset the connection."""
    body = await visit.body()
    response = await begun(visit, len(body))
    await give(visit, response, body[: len(body) // 2])
    await asyncio.sleep(PAUSE)  # a reset destroys what the visitor has not read yet
    _set(visit, socket.SO_LINGER, struct.pack("ii", 1, 0))  # without it a connection ends in good order
    if visit.request.transport is not None:
        visit.request.transport.abort()
    return response


async def vast(visit: Visit) -> web.StreamResponse:
    """Announce VAST bytes and send them."""
    return await _flood(visit, VAST)


async def vast_unannounced(visit: Visit) -> web.StreamResponse:
    """Send VAST bytes in chunks, announcing none."""
    return await _flood(visit, None)


async def resumable(visit: Visit) -> web.StreamResponse:
    """Send half of the picture to the first visit; later ones get the range they ask for, or all of it."""
    body = await visit.body()
    tag = f'"{zlib.crc32(body):08x}"'
    told: dict[str, str] = {hdrs.ETAG: tag, hdrs.ACCEPT_RANGES: "bytes"}
    if visit.first():
        response = await begun(visit, len(body), told)
        await give(visit, response, body[: len(body) // 2])
        return _closed(visit, response)
    asked = _RANGE.fullmatch(visit.request.headers.get(hdrs.RANGE, ""))
    if asked is None or visit.request.headers.get(hdrs.IF_RANGE, tag) != tag:
        return await whole(visit, body, told)
    start, end = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
    if start > end:
        return web.Response(status=416, headers={hdrs.CONTENT_RANGE: f"bytes */{len(body)}"})
    told[hdrs.CONTENT_RANGE] = f"bytes {start}-{end}/{len(body)}"
    response = await begun(visit, end + 1 - start, told, status=206)
    await give(visit, response, body[start : end + 1])
    return response


async def _ended(visit: Visit, length: int, body: bytes) -> web.StreamResponse:
    response = await begun(visit, length)
    await give(visit, response, body)
    return _closed(visit, response)


def _surplus(visit: Visit, response: web.StreamResponse, rest: bytes, *, uncounted: int = 0) -> web.StreamResponse:
    """Send `rest` past the response, which would cut it off where its head says, and close the connection."""
    if visit.request.transport is not None:
        visit.request.transport.write(rest)
        visit.request[SENT] += len(rest) - uncounted
    return _closed(visit, response)


def _closed(visit: Visit, response: web.StreamResponse) -> web.StreamResponse:
    response.force_close()
    if visit.request.transport is not None:
        visit.request.transport.close()
    return response


async def _flood(visit: Visit, length: int | None) -> web.StreamResponse:
    _set(visit, socket.SO_SNDBUF, _BUFFER)
    response = await begun(visit, length)
    rest = VAST
    for piece in (await visit.body(), *[bytes(_BUFFER)] * (VAST // _BUFFER + 1)):
        await give(visit, response, piece[:rest])
        rest -= len(piece[:rest])
    return response


def _set(visit: Visit, option: int, value: int | bytes) -> None:
    connection: socket.socket | None = visit.request.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, option, value)
