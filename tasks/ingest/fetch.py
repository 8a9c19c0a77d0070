"""One address: asked politely, as often as allowed, its body streamed to a file and hashed on the way.

Reads the network; writes a `.part` file. Knows nothing of images.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path

import aiohttp
import httpx

from tasks.core.errors import BlockedAddressError
from tasks.core.files import storing, write_all
from tasks.core.network import default_port
from tasks.core.tables import KEPT, TRANSIENT
from tasks.core.transport import retry_after
from tasks.core.waiting import paused
from tasks.ingest.address import invalid
from tasks.ingest.config import IngestConfig
from tasks.ingest.politeness import Host, Politeness, backoff

_TOTAL = 3  # a whole body may take this many times the timeout
_NOT_FOUND = {404, 410}
_FORBIDDEN = {401, 403, 451}
_TOO_MANY = 429
_RESTING = {429, 503}  # statuses whose Retry-After is kept


@dataclass(frozen=True)
class Fetched:
    """What became of one address. `outcome` is `kept` while nothing speaks against it."""

    outcome: str
    reason: str | None = None
    http_status: int | None = None
    attempts: int = 1
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Fetcher:
    """The client, the manners and the limits that a batch's addresses share."""

    client: httpx.AsyncClient
    politeness: Politeness
    config: IngestConfig

    async def fetch(self, url: str, part: Path) -> Fetched:
        """Ask for `url` until it answers for good or the attempts are used up; write the body to `part`.

        Raises:
            WorkspaceError: `part` cannot be written (disk full, no permission).
        """
        if reason := invalid(url):
            return Fetched("invalid-address", reason, attempts=0)
        origin = self._host(httpx.URL(url))
        asked, last = 0, self.config.attempts
        for attempt in range(1, last + 1):
            result = await self._attempt(url, part)
            asked += result.attempts
            if attempt == last or result.outcome not in TRANSIENT or origin.closed:
                break
            await paused(backoff(attempt, self.config.max_wait))
        return replace(result, attempts=asked)

    def _host(self, url: httpx.URL) -> Host:
        return self.politeness.host(url.host, url.port or default_port(url.scheme))

    async def _attempt(self, url: str, part: Path) -> Fetched:
        target = httpx.URL(url)
        for _ in range(self.config.max_redirects + 1):
            if reason := invalid(str(target)):
                return Fetched("invalid-address", f"redirected to {target}: {reason}")
            step = await self._hop(target, part)
            if isinstance(step, Fetched):
                return step
            target = step
        return Fetched("too-many-redirects", f"more than {self.config.max_redirects}, the last to {target}")

    async def _hop(self, url: httpx.URL, part: Path) -> Fetched | httpx.URL:
        """Send one request in its host's turn: the target of a redirect, or what became of the address.

        The request is made anew for each hop: httpx's own `next_request` carries an empty stream, which
        httpx-aiohttp sends as a chunked body, which servers answer with 400.
        """
        host = self._host(url)
        async with self.politeness.turn(host, url.path) as turn:
            if host.closed:
                return Fetched(*host.closed, attempts=0)
            answer: httpx.Response | None = None
            try:
                async with asyncio.timeout(_TOTAL * self.config.timeout):
                    answer = await self.client.send(self.client.build_request("GET", url), stream=True)
                    self.politeness.answered(host)
                    return await self._read(answer, host, part)
            except _NETWORK_ERRORS as error:
                result = _explain(error, answer)
            finally:
                if answer is not None:
                    turn.received = answer.num_bytes_downloaded
                    await _close(answer)
            if answer is None and result.outcome in TRANSIENT:
                self.politeness.failed(host, result.outcome)
            return result

    async def _read(self, answer: httpx.Response, host: Host, part: Path) -> Fetched | httpx.URL:
        if answer.next_request is not None:
            return answer.next_request.url
        if not answer.is_success:
            refused = _status(answer.status_code)
            rest = retry_after(answer) if answer.status_code in _RESTING else None
            if rest is not None:
                self.politeness.pause(host, rest, refused.outcome)
            return refused
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:  # we asked for none: a kilobyte of it may unpack to gigabytes
            return Fetched(
                "not-an-image", f"sent as {encoding} although plain bytes were asked for", answer.status_code
            )
        declared = answer.headers.get("Content-Length", "")
        limit = int(self.config.max_bytes)
        if declared.isdigit() and int(declared) > limit:
            return Fetched("too-large", f"{int(declared):,} bytes announced, {limit:,} allowed", answer.status_code)
        with storing(part):
            stream = part.open("wb", buffering=0)
        with stream:
            return await _receive(answer, stream, limit)


async def _receive(answer: httpx.Response, stream: FileIO, limit: int) -> Fetched:
    digest, size = hashlib.sha256(), 0
    async for chunk in answer.aiter_raw():
        size += len(chunk)
        if size > limit:
            return Fetched("too-large", f"more than {limit:,} bytes", answer.status_code, bytes=size)
        digest.update(chunk)
        write_all(stream, chunk)
    return Fetched(KEPT, None, answer.status_code, bytes=size, sha256=digest.hexdigest())


# What httpx, aiohttp below it, their parsers of addresses and answers, and the deadline may raise.
_NETWORK_ERRORS = (
    BlockedAddressError,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    aiohttp.ClientError,
    TimeoutError,
    OSError,
    ValueError,
)


def _explain(error: Exception, answer: httpx.Response | None) -> Fetched:
    """Name the outcome of a request that raised. aiohttp's own error, where there is one, is the cause.

    httpx-aiohttp maps refused and reset connections to ConnectTimeout, so the cause is what counts.
    """
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) and error.__cause__ else error
    reason = f"{type(cause).__name__}: {cause}".strip(": ").replace("\n", " ")
    outcome = "unreachable" if answer is None else "incomplete"
    if isinstance(cause, BlockedAddressError):
        outcome, reason = "blocked-address", cause.what
    elif isinstance(cause, TimeoutError | httpx.TimeoutException):
        outcome = "timeout"
    elif isinstance(error, httpx.DecodingError):
        outcome = "damaged"  # all bytes came, and do not decompress
    elif answer is None and _no_address(error):
        outcome = "invalid-address"
    return Fetched(outcome, reason, answer.status_code if answer else None)


def _no_address(error: Exception) -> bool:
    """Say whether the address itself, or that of a redirect, could not be parsed."""
    if isinstance(error, httpx.RemoteProtocolError):
        return error.__cause__ is None  # raised by httpx for a Location it cannot read
    return isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | ValueError) and not isinstance(
        error, OSError
    )


async def _close(answer: httpx.Response) -> None:
    try:
        await answer.aclose()
    except (httpx.HTTPError, aiohttp.ClientError, OSError):
        return  # the outcome is known already; a connection that dies while closing adds nothing


def _status(code: int) -> Fetched:
    reason = f"HTTP {code}"
    if code in _NOT_FOUND:
        return Fetched("not-found", reason, code)
    if code in _FORBIDDEN:
        return Fetched("forbidden", reason, code)
    if code == _TOO_MANY:
        return Fetched("rate-limited", reason, code)
    if code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Fetched("server-error", reason, code)
    return Fetched("client-error", reason, code)  # 3xx without a target among them
