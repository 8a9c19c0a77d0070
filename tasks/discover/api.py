"""How an API is asked: guarded, within its budget, patient with Retry-After, its answer checked for shape.

Reads the network; writes what was spent. Messages show addresses without their query, which may hold a key.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from tasks.core.errors import SourceError, SourceUnavailableError
from tasks.core.network import default_port
from tasks.core.spending import Spending
from tasks.core.transport import guarded_client, retry_after
from tasks.discover.found import Ask


class _WithoutQuery(logging.Filter):
    """httpx logs the whole address of each request, with the key that some interfaces want in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_bare(item) if isinstance(item, httpx.URL) else item for item in record.args)
        return True


logging.getLogger("httpx").addFilter(_WithoutQuery())

T = TypeVar("T")
Query = Mapping[str, str | int | float | list[str] | list[int]]  # a list repeats its parameter

_TIMEOUT = 30.0  # seconds
_ATTEMPTS = 4
_MAX_WAIT = 120.0  # seconds; who asks for more is tried again by the flow's retry, or the next run
_FIRST_PAUSE = 2.0  # seconds, doubled, where the answer names none
_REFUSED_KEY = {401, 403}
_USED_UP = ("LimitExceeded", "quotaExceeded")  # in Google's 403 for a quota; others say 429


@dataclass(frozen=True)
class Api:
    """An open connection to one API. Not to be shared between threads."""

    name: str
    """As in `tasks.core.network.APIS`."""
    base: str
    """Its address, without a slash at the end."""
    advice: str
    """What to check when it refuses a query, e.g. "Check `taxon:` and `place:`."."""
    client: httpx.AsyncClient
    spending: Spending
    runner: asyncio.Runner
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Never to be shown, even where an answer repeats them."""
    sleep: Callable[[float], None] = field(default=time.sleep)

    def get(self, path: str, query: Query, shape: TypeAdapter[T], *, headers: Mapping[str, str] | None = None) -> T:
        """Ask for `path` below the base address; return the JSON body in the `shape` given.

        Raises:
            SourceError: the API refuses the query or the key, or the answer has another shape.
            SourceUnavailableError: it does not answer, or only with errors of its own.
            BlockedAddressError: its address is private.
            WorkspaceError: what was spent cannot be written down.
        """
        url = httpx.URL(self.base + path, params=dict(query)) if query else httpx.URL(self.base + path)
        return self._shaped(self._ask(self.client.build_request("GET", url, headers=headers)), shape)

    def post(self, path: str, body: Mapping[str, Any], shape: TypeAdapter[T], *, headers: Mapping[str, str]) -> T:
        """Send `body` as JSON to `path`; otherwise as `get`."""
        request = self.client.build_request("POST", httpx.URL(self.base + path), json=dict(body), headers=headers)
        return self._shaped(self._ask(request), shape)

    def _shaped(self, answer: httpx.Response, shape: TypeAdapter[T]) -> T:
        try:
            return shape.validate_json(answer.content)
        except ValidationError as error:
            raise SourceError(
                f"The answer of {_bare(answer.request.url)} has another shape than expected.",
                received=_first_fault(error),
                hint=f"Check HARVESTMAN_APIS; if the address of {self.name} is right, the API has changed.",
            ) from error

    def _ask(self, request: httpx.Request) -> httpx.Response:
        for attempt in range(1, _ATTEMPTS + 1):
            answer = self._send(request)
            if answer.is_success:
                return answer
            passing = answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error
            if not passing and any(word in answer.text for word in _USED_UP):
                raise _unavailable(request.url, f"HTTP {answer.status_code}: {self._quoted(answer)}")
            if not passing:
                raise self._refusal(answer)
            rest = retry_after(answer)
            pause = _FIRST_PAUSE * 2.0 ** (attempt - 1) if rest is None else rest
            if attempt == _ATTEMPTS or pause > _MAX_WAIT:
                asked = "" if rest is None else f", Retry-After {rest:g} s"
                raise _unavailable(request.url, f"HTTP {answer.status_code}{asked}: {self._quoted(answer)}")
            self.sleep(pause)
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    def _refusal(self, answer: httpx.Response) -> SourceError:
        key = " It may be the key: see docs/sources/google.md." if answer.status_code in _REFUSED_KEY else ""
        return SourceError(
            f"{answer.request.url.host} refuses the query.",
            received=f"HTTP {answer.status_code} for {_bare(answer.request.url)}: {self._quoted(answer)}",
            hint=f"{self.advice}{key}",
        )

    def _quoted(self, answer: httpx.Response) -> str:
        return self._hidden(" ".join(answer.text[:2000].split()))[:300]

    def _hidden(self, text: str) -> str:
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "…")
        return text

    def _send(self, request: httpx.Request) -> httpx.Response:
        host, port = request.url.host, request.url.port or default_port(request.url.scheme)
        wait, ticket = self.spending.take(host, port)
        while wait:
            self.sleep(wait)
            wait, ticket = self.spending.take(host, port)
        received = 0
        try:
            answer = self.runner.run(_answered(self.client, request))
            received = len(answer.content)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            cause = error.__cause__ or error
            raise _unavailable(request.url, self._hidden(f"{type(cause).__name__}: {cause}")) from None
        finally:
            self.spending.answered(host, port, ticket, received=received)
        return answer


async def _answered(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    async with asyncio.timeout(2 * _TIMEOUT):
        return await client.send(request)


@contextmanager
def open_api(ask: Ask[Any], name: str, *, advice: str) -> Iterator[Api]:
    """Open the API `name` for the block.

    Args:
        ask: the question: its network policy, and recorded answers where it brings them.
        name: as in `tasks.core.network.APIS`.
        advice: what to check when it refuses a query.
    """
    with asyncio.Runner() as runner:
        client = runner.run(_client(ask))
        try:
            secrets = tuple(key.get_secret_value() for key in ask.keys.values())
            yield Api(name, ask.network.api(name), advice, client, Spending(ask.network), runner, secrets)
        finally:
            runner.run(client.aclose())


async def _client(ask: Ask[Any]) -> httpx.AsyncClient:
    client = guarded_client(ask.network, timeout=_TIMEOUT, connections=1, transport=ask.transport)
    client.headers["Accept"] = "application/json"
    return client


def _bare(url: httpx.URL) -> str:
    return str(url.copy_with(query=None))


def _unavailable(url: httpx.URL, received: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"{_bare(url)} does not answer.",
        received=received,
        hint="Check the network and run the same command again later: what is collected already is kept.",
    )


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}"
