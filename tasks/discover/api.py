"""How an API is asked: guarded, within its budget, patient with Retry-After, its answer checked for shape.

Reads the network; writes what was spent. Messages show addresses without their query, which may hold a key.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import httpx
from pydantic import TypeAdapter, ValidationError

from tasks.core.errors import SourceError, SourceUnavailableError
from tasks.core.network import default_port
from tasks.core.spending import Spending
from tasks.core.transport import guarded_client, retry_after
from tasks.core.waiting import pause, unless_stopped
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

_TIMEOUT = 30.0  # seconds without a byte
_DEADLINE = 60.0  # seconds for a whole answer
_LARGEST = 64_000_000  # bytes of an answer; a page of the largest, 300 occurrences of GBIF, has 2 MB
_MAX_WAIT = 120.0  # seconds; who asks for more is left alone until then, by this run and others
_LOOK = 60.0  # seconds after which a wait for a budget is reckoned anew
_FIRST_PAUSE = 2.0  # seconds, doubled, where the answer names none
_LONGEST_REST = 86_400.0  # seconds; as much of a Retry-After as is kept
_REFUSED_KEY = {401, 403}
_OF_THE_STREAM = {"content-encoding", "content-length", "transfer-encoding"}  # not of the body, once it is read
_USED_UP = ("LimitExceeded", "quotaExceeded")  # in Google's 403 for a quota; others say 429
_NOT_WORDS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)  # of a page for people
_LOOKED_AT = 20_000  # characters of an answer, for its first words
_KEPT = "what is collected already is kept."


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
    attempts: int = 4
    """Times that one question is asked."""
    sleep: Callable[[float], None] = field(default=pause)
    deadline: float = _DEADLINE
    """Seconds within which an answer must be whole."""

    def get(self, path: str, query: Query, shape: TypeAdapter[T]) -> T:
        """Ask for `path` below the base address; return the JSON body in the `shape` given.

        Raises:
            SourceError: the API refuses the query or the key, or the answer has another shape.
            SourceUnavailableError: it does not answer, or only with errors of its own, or wants to be left alone.
            TryAgainError: its budget is used up for longer than the `Ask` is patient.
            BlockedAddressError: its address is private.
            WorkspaceError: what was spent cannot be written down.
        """
        url = httpx.URL(self.base + path, params=dict(query)) if query else httpx.URL(self.base + path)
        return self._shaped(self._ask(self.client.build_request("GET", url)), shape)

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
                received=self._fault(error, answer),
                hint=f"Check HARVESTMAN_APIS; if the address of {self.name} is right, the API has changed.",
            ) from error

    def _ask(self, request: httpx.Request) -> httpx.Response:
        for attempt in range(1, self.attempts + 1):
            answer = self._send(request, self._ticket(request.url))
            if isinstance(answer, httpx.Response) and answer.is_success:
                return answer
            problem, rest = self._problem(answer)
            if rest:
                self.spending.rest(*_place(request.url), rest)
            wait = _FIRST_PAUSE * 2.0 ** (attempt - 1) if rest is None else rest
            if attempt == self.attempts or wait > self._longest:
                raise _resting(request.url, rest, problem) if rest else _unavailable(request.url, problem)
            self.sleep(wait)
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    @property
    def _longest(self) -> float:
        return min(_MAX_WAIT, self.spending.patience)

    def _problem(self, answer: httpx.Response | str) -> tuple[str, float | None]:
        """Return what is wrong and the rest asked for, where asking again may help; raise where it does not."""
        if isinstance(answer, str):
            return answer, None
        told = f"HTTP {answer.status_code}"
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            rest = retry_after(answer)
            asked = "" if rest is None else f", Retry-After {rest:g} s"
            return f"{told}{asked}: {self._quoted(answer)}", rest
        if any(word in answer.text for word in _USED_UP):
            raise SourceUnavailableError(
                f"The quota of {answer.request.url.host} is used up.",
                received=f"{told}: {self._quoted(answer)}",
                hint=f"Run the same command again when the quota is renewed, or raise it with the provider: {_KEPT}",
            )
        raise self._elsewhere(answer) if answer.is_redirect else self._refusal(answer)

    def _elsewhere(self, answer: httpx.Response) -> SourceError:
        place = answer.headers.get("Location", "none").partition("?")[0]  # a query may hold a key
        return SourceError(
            f"{_bare(answer.request.url)} sends us elsewhere.",
            received=f"HTTP {answer.status_code}, Location: {hidden(place, self.secrets)[:300]}",
            hint=f"No API is followed to another address. Check HARVESTMAN_APIS: {self.name} may have moved, or a"
            " login of your network stands in between.",
        )

    def _refusal(self, answer: httpx.Response) -> SourceError:
        keyed = bool(self.secrets) and answer.status_code in _REFUSED_KEY
        return SourceError(
            f"{answer.request.url.host} refuses the query.",
            received=f"HTTP {answer.status_code} for {_bare(answer.request.url)}: {self._quoted(answer)}",
            hint=f"{self.advice} It may be the key: see docs/sources/google.md." if keyed else self.advice,
        )

    def _fault(self, error: ValidationError, answer: httpx.Response) -> str:
        """Return what is wrong with the shape; of what is no JSON also what it is and how it begins."""
        fault = _first_fault(error)
        if error.errors()[0]["type"] != "json_invalid":
            return fault
        kind = answer.headers.get("Content-Type", "unknown")
        return f"{fault}; Content-Type {kind}: {self._quoted(answer) or 'nothing'}"

    def _quoted(self, answer: httpx.Response) -> str:
        """Return the first words of an answer, of a page for people without its markup."""
        text = hidden(answer.text, self.secrets)[:_LOOKED_AT]
        words = _NOT_WORDS.sub(" ", text) if "html" in answer.headers.get("Content-Type", "") else text
        return " ".join(words.split())[:300]

    def _ticket(self, url: httpx.URL) -> int | None:
        """Wait until the host may be asked, by its budget and by the rest it asked for."""
        while True:
            if rest := self.spending.resting(*_place(url)):
                if rest > self._longest:
                    raise _resting(url, rest, "an earlier answer with Retry-After; it was not asked again")
                self.sleep(rest)
                continue
            wait, ticket = self.spending.take(*_place(url), url.path)
            if not wait:
                return ticket
            self.sleep(min(wait, _LOOK))

    def _send(self, request: httpx.Request, ticket: int | None) -> httpx.Response | str:
        """Return the answer, or in words why there is none."""
        received = 0
        try:
            answer = self.runner.run(_answered(self.client, request, self.deadline))
            received = len(answer.content)
        except TimeoutError:
            return f"no whole answer in {self.deadline:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            cause = error.__cause__ or error
            return hidden(f"{type(cause).__name__}: {cause}", self.secrets)
        finally:
            self.spending.answered(*_place(request.url), ticket, received=received, path=request.url.path)
        return answer


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return `text` without `secrets`, as they are and as they stand in addresses and in JSON."""
    forms: set[str] = set()
    for secret in filter(None, secrets):
        coded = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
        forms |= {secret, json.dumps(secret)[1:-1], secret.replace("/", "\\/"), *coded}
        forms |= {re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in coded}
    for form in sorted(forms, key=len, reverse=True):  # else the rest of a longer one would stay
        text = text.replace(form, "…")
    return text


async def _answered(client: httpx.AsyncClient, request: httpx.Request, deadline: float) -> httpx.Response:
    async with asyncio.timeout(deadline):
        return await unless_stopped(_whole(client, request))


async def _whole(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Return the answer with its body read, unless that is larger than any answer of an API is."""
    answer = await client.send(request, stream=True)
    body = bytearray()
    try:
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > _LARGEST:
                raise SourceError(
                    f"The answer of {_bare(request.url)} is too large.",
                    received=f"more than {_LARGEST / 1e6:.0f} MB",
                    hint="Check HARVESTMAN_APIS: an answer of an API has a few MB at the most.",
                )
    finally:
        await answer.aclose()
    headers = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _OF_THE_STREAM]
    return httpx.Response(answer.status_code, headers=headers, content=bytes(body), request=request)


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
            spending = Spending(ask.network, say=ask.say, patience=ask.patience)
            yield Api(name, ask.network.api(name), advice, client, spending, runner, secrets, ask.attempts)
        finally:
            runner.run(client.aclose())


async def _client(ask: Ask[Any]) -> httpx.AsyncClient:
    client = guarded_client(ask.network, timeout=_TIMEOUT, connections=1, transport=ask.transport)
    client.headers["Accept"] = "application/json"
    return client


def _place(url: httpx.URL) -> tuple[str, int]:
    return url.host, url.port or default_port(url.scheme)


def _bare(url: httpx.URL) -> str:
    return str(url.copy_with(query=None))


def _unavailable(url: httpx.URL, received: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"{_bare(url)} does not answer.",
        received=received,
        hint=f"Check the network and run the same command again later: {_KEPT}",
    )


def _resting(url: httpx.URL, rest: float, received: str) -> SourceUnavailableError:
    # Rounded up to a full minute: who comes back at the time shown comes late enough.
    until = datetime.now().astimezone() + timedelta(seconds=min(rest, _LONGEST_REST) + 59)
    return SourceUnavailableError(
        f"{_bare(url)} asks to be left alone until {until:%Y-%m-%d %H:%M %Z}.",
        received=received,
        hint=f"Run the same command again after that: {_KEPT}",
    )


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}"
