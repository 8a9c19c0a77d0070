"""What a robots.txt allows, asked once a day and origin, before anything else is asked of it (RFC 9309).

Reads the network; keeps the rules with the host, in memory. Writes nothing.
"""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace

import httpx

from tasks.core.hosts import origin, unfit
from tasks.core.tables import TRANSIENT
from tasks.ingest.body import Fetched, Slot
from tasks.ingest.content_encoding import ENCODINGS, PLAIN, Inflater
from tasks.ingest.politeness import Host
from tasks.ingest.request import Asker
from tasks.ingest.robots import AGENT, Robots, Rules

_MOST = 512_000  # bytes read of a robots.txt; at least 500 KiB must be (RFC 9309, 2.5)
_REDIRECTS = 5  # at least five must be followed (RFC 9309, 2.3.1.2)
_KEPT = 86_400.0  # seconds; longer than 24 hours it must not be used (RFC 9309, 2.4)
_LARGE = 50_000  # characters that take more than a few milliseconds to parse


@dataclass(frozen=True)
class Permission:
    """Asks for robots.txt, in a turn of its own at the host."""

    asker: Asker

    async def refusal(self, url: httpx.URL, host: Host) -> Fetched | None:
        """Return why `url` may not be asked now; None when it may.

        A host whose robots.txt cannot be had for a passing reason is not asked for anything else; the next
        attempt asks for it again. While one address asks, the others of its origin wait for the answer and share it.

        Raises:
            StopError: the run is being stopped.
            WorkspaceError: what is spent cannot be written down.
        """
        since, known = asyncio.get_running_loop().time(), host.robots[origin(url)]
        if known.until < since:
            async with self.asker.politeness.watch.heeding(), known.asking:
                if known.until < since and known.failed_at < since:  # else another address asked meanwhile
                    refused = await self._ask_anew(url, host, known)
                else:
                    refused = known.failure
            if refused is not None:
                return refused
        return None if known.rules.allows(str(url)) else Fetched("opted-out", known.rules.reason, attempts=0)

    async def _ask_anew(self, url: httpx.URL, host: Host, known: Robots) -> Fetched | None:
        clock = asyncio.get_running_loop().time
        found = await self._ask(url)
        if isinstance(found, Fetched):
            if found.outcome in TRANSIENT and found.attempts:
                known.failed_at, known.failure = clock(), found
            return found
        known.rules, known.until, known.failure = found, clock() + _KEPT, None
        if found.delay is not None:
            self.asker.politeness.slow(host, found.delay)
        return None

    async def _ask(self, url: httpx.URL) -> Rules | Fetched:
        """Return the rules, or why they are not to be had for now."""
        target = url.copy_with(raw_path=b"/robots.txt", fragment=None)
        errand = _Robots()
        for hop in range(_REDIRECTS + 1):
            step = await self.asker.ask(target, self.asker.host(target), errand)
            if isinstance(step, Rules):
                return step
            if isinstance(step, str):
                # In a thread where it is large: the largest takes 0.3 s.
                return await asyncio.to_thread(Rules.parse, step, AGENT) if len(step) > _LARGE else _rules(step)
            if isinstance(step, Fetched):
                return _meant(step, hop)
            if unfit(step):
                break
            target = step.copy_with(userinfo=b"")
        return _rules("")  # more than five redirects, or one to nowhere: taken as absent (RFC 9309, 2.3.1.2)


class _Robots:
    """Reads the beginning of a robots.txt."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self.received = 0
        self.seconds: float | None = None
        self.slot: Slot | None = None

    def headers(self, url: httpx.URL) -> dict[str, str]:
        """Nothing besides what is sent with every request; `url` does not matter."""
        del url
        return {}

    async def read(self, answer: httpx.Response) -> str | Rules:
        """Return as much of the text as counts; or, where it cannot be read, rules that say so."""
        encoding = answer.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in PLAIN and encoding not in ENCODINGS:
            # Rules that we cannot read are no leave to ignore them.
            return Rules.nothing(AGENT, f"robots.txt: sent as {encoding} although plain text was asked for")
        inflater = Inflater(encoding) if encoding in ENCODINGS else None
        text, wire = bytearray(), 0
        with suppress(zlib.error):  # what came before counts
            async for chunk in answer.aiter_raw():
                wire += len(chunk)
                for piece in inflater.unpack(chunk) if inflater else (chunk,):
                    text += piece
                    if len(text) > _MOST:
                        break
                if max(len(text), wire) > _MOST:
                    break
        return text[:_MOST].decode("utf-8", "replace")


def _meant(result: Fetched, hop: int) -> Rules | Fetched:
    """Tell a robots.txt that is absent, and allows everything, from one that cannot be had."""
    if not result.attempts:  # the host is given up
        return result
    if result.outcome in TRANSIENT:
        return replace(result, reason=f"robots.txt: {result.reason}")
    if result.http_status is None and not hop:  # the host itself cannot be asked, whatever for
        return result
    return _rules("")  # a refusal, or a redirect to where nobody may go


def _rules(text: str) -> Rules:
    return Rules.parse(text, AGENT)
