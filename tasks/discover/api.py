"""How an API is asked: guarded, paced, patient with Retry-After, its answer checked for shape.

Reads the network; writes nothing.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from tasks.core.errors import SourceError, SourceUnavailableError
from tasks.core.network import NetworkPolicy
from tasks.core.transport import guarded_client, retry_after

T = TypeVar("T")

_TIMEOUT = 30.0  # seconds
_ATTEMPTS = 4
_MAX_WAIT = 120.0  # seconds; who asks for more is tried again by the flow's retry, or the next run
_FIRST_PAUSE = 2.0  # seconds, doubled, where the answer names none


@dataclass
class Pacer:
    """Spaces requests evenly over all threads of this process."""

    per_minute: int
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def delay(self) -> float:
        """Take the next place in the queue; return the seconds until it comes."""
        with self._lock:
            now = time.monotonic()
            place = max(now, self._next)
            self._next = place + 60.0 / self.per_minute
        return place - now


# iNaturalist asks for 60 a minute; its users see 429 at exactly 60. No other host is slowed down.
PACERS: dict[str, Pacer] = {"api.inaturalist.org": Pacer(55)}


@dataclass(frozen=True)
class Api:
    """An open connection to one API."""

    client: httpx.AsyncClient
    base: str

    async def results(self, path: str, query: Mapping[str, str | int], shape: TypeAdapter[list[T]]) -> list[T]:
        """Return the `results` of one page.

        Raises:
            SourceError: the API refuses the query, or the answer has another shape.
            SourceUnavailableError: it does not answer, or only with errors of its own.
        """
        url = httpx.URL(self.base.rstrip("/") + path, params=dict(query))
        answer = await self._ask(url)
        try:
            body = answer.json()
            return shape.validate_python(body["results"])
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(
                f"The answer of {url.copy_with(query=None)} has another shape than expected.",
                received=_first_fault(error) or answer.text[:200],
                hint="Check HARVESTMAN_INATURALIST_API; if it is right, the API has changed.",
            ) from error

    async def _ask(self, url: httpx.URL) -> httpx.Response:
        for attempt in range(1, _ATTEMPTS + 1):
            answer = await self._get(url)
            if answer.is_success:
                return answer
            passing = answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error
            if not passing:
                raise SourceError(
                    f"{url.host} refuses the query.",
                    received=f"HTTP {answer.status_code} for {url}: {answer.text[:200]}",
                    hint="Check `taxon:`, `place_id:` and HARVESTMAN_INATURALIST_API.",
                )
            rest = retry_after(answer)
            pause = _FIRST_PAUSE * 2.0 ** (attempt - 1) if rest is None else rest
            if attempt == _ATTEMPTS or pause > _MAX_WAIT:
                raise _unavailable(url, f"HTTP {answer.status_code}, Retry-After {rest}")
            await asyncio.sleep(pause)
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    async def _get(self, url: httpx.URL) -> httpx.Response:
        if pacer := PACERS.get(url.host):
            await asyncio.sleep(pacer.delay())
        try:
            async with asyncio.timeout(2 * _TIMEOUT):
                return await self.client.get(url, headers={"Accept": "application/json"})
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            cause = error.__cause__ or error
            raise _unavailable(url, f"{type(cause).__name__}: {cause}") from error


@asynccontextmanager
async def open_api(network: NetworkPolicy, *, transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[Api]:
    """Open the iNaturalist API of the settings for the block."""
    async with guarded_client(network, timeout=_TIMEOUT, connections=1, transport=transport) as client:
        yield Api(client, network.inaturalist_api)


def _unavailable(url: httpx.URL, received: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"{url.copy_with(query=None)} does not answer.",
        received=received,
        hint="Check the network and run the same command again later: what is collected already is kept.",
    )


def _first_fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return ""
    fault = error.errors()[0]
    return f"results.{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
