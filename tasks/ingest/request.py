"""One request in its host's turn, and the names of what can go wrong with it.

Reads the network, through the guarded transport and nothing else; writes nothing. httpx's client is passed by: its
redirects, cookies and logins are not wanted here, and cost a fifth of a download's CPU (0.46 instead of 0.35 ms).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, TypeVar

import aiohttp
import httpx

from tasks.core.errors import BlockedAddressError
from tasks.core.hosts import origin
from tasks.core.tables import TRANSIENT
from tasks.core.transport import retry_after
from tasks.ingest.body import Fetched, Slot
from tasks.ingest.config import IngestConfig
from tasks.ingest.politeness import Host, Politeness

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_SHOWN = 200  # characters of an address that is none
_TOTAL = 3  # a whole body may take this many times the timeout
_LONGEST = 300  # characters of a reason; aiohttp quotes all of an answer that is no HTTP, pictures among them
_NOT_FOUND = {404, 410}
_FORBIDDEN = {401, 403, 451}
_TOO_MANY = 429
_RESTING = {429, 503}  # statuses whose Retry-After is kept
# What the transport and the deadline may raise. Nothing wider: an error of ours is no outcome.
_NETWORK_ERRORS = (
    BlockedAddressError,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    aiohttp.ClientError,
    TimeoutError,
)


class Errand(Protocol[T_co]):
    """What a request is sent for."""

    received: int
    """Bytes of bodies that came, in all its requests."""
    seconds: float | None
    """The last request, from sending it to the last byte."""

    @property
    def slot(self) -> Slot | None:
        """Return what the answer needs, if anything: taken before the request is sent."""
        ...

    def headers(self, url: httpx.URL) -> dict[str, str]:
        """Return what to send with the next request, besides what is sent with all."""
        ...

    async def read(self, answer: httpx.Response) -> T_co:
        """Read the body of a 2xx answer."""
        ...


@dataclass(frozen=True)
class Asker:
    """The transport, the manners and the limits of all requests."""

    transport: httpx.AsyncBaseTransport
    politeness: Politeness
    config: IngestConfig

    @cached_property
    def _headers(self) -> dict[str, str]:
        agent = self.politeness.spending.network.user_agent
        return {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": agent}

    @cached_property
    def _extensions(self) -> dict[str, dict[str, float | None]]:
        silence = self.config.timeout
        return {"timeout": {"connect": silence, "read": silence, "write": silence, "pool": None}}

    def host(self, url: httpx.URL) -> Host:
        """Return the record of the host of an address."""
        _, name, port = origin(url)
        return self.politeness.host(name, port)

    async def ask(self, url: httpx.URL, host: Host, errand: Errand[T]) -> T | Fetched | httpx.URL:
        """Send one request in its host's turn.

        Args:
            url: whom to ask, and for what.
            host: the record of its host.
            errand: what to send besides, and how to read the answer.

        Returns:
            What the errand read; or the target of a redirect; or why there is nothing to read.

        Raises:
            WorkspaceError: what came, or what is spent, cannot be written down.
            StopError: the run is being stopped.
        """
        async with self.politeness.turn(host, url.path, errand.slot) as turn:
            if host.closed:
                return Fetched(*host.closed, attempts=0, final=True)
            answer: httpx.Response | None = None
            result: T | Fetched | httpx.URL
            begun = time.perf_counter()
            try:
                async with asyncio.timeout(_TOTAL * self.config.timeout):
                    headers = {**self._headers, **errand.headers(url)}
                    request = httpx.Request("GET", url, headers=headers, extensions=self._extensions)
                    answer = await self.transport.handle_async_request(request)
                    answer.request = request
                    self.politeness.answered(host, answer.status_code)
                    result = self._refused(answer, host) or await errand.read(answer)
            except _NETWORK_ERRORS as error:
                result = _explain(error, answer)
            finally:
                errand.seconds = time.perf_counter() - begun
                if answer is not None:
                    turn.received = answer.num_bytes_downloaded
                    errand.received += turn.received
                    await _close(answer)
            if isinstance(result, Fetched) and result.outcome in TRANSIENT:
                if answer is None:
                    self.politeness.failed(host, result.outcome, result.reason or "")
                return replace(result, final=result.final or host.closed is not None)
            return result

    def _refused(self, answer: httpx.Response, host: Host) -> Fetched | httpx.URL | None:
        """Return the target of a redirect, or what an answer without an image means; None when there is a body."""
        if answer.is_success:
            return None
        if answer.has_redirect_location:
            return _target(answer)
        refused = _status(answer.status_code)
        rest = retry_after(answer) if answer.status_code in _RESTING else None
        if rest is not None:
            self.politeness.pause(host, rest, refused.outcome)
        return refused


def _explain(error: Exception, answer: httpx.Response | None) -> Fetched:
    """Name the outcome of a request that raised. aiohttp's own error, where there is one, is the cause.

    httpx-aiohttp maps refused and reset connections to ConnectTimeout, so the cause is what counts.
    """
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) and error.__cause__ else error
    reason = f"{type(cause).__name__}: {cause}".strip(": ").replace("\n", " ")[:_LONGEST]
    outcome = "unreachable" if answer is None else "incomplete"
    if isinstance(cause, BlockedAddressError):
        outcome, reason = "blocked-address", cause.what
    elif isinstance(cause, TimeoutError | httpx.TimeoutException):
        outcome = "timeout"
    elif isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):  # aiohttp is stricter than httpx
        outcome = "invalid-address"
    # A certificate does not change within a run.
    final = isinstance(cause, aiohttp.ClientConnectorCertificateError)
    return Fetched(outcome, reason, answer.status_code if answer else None, final=final)


def _target(answer: httpx.Response) -> httpx.URL | Fetched:
    location = answer.headers["Location"]
    try:
        return answer.request.url.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        return Fetched("invalid-address", f"redirected to {location[:_SHOWN]}: {error}", answer.status_code)


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
