"""One address: asked politely, as often as allowed, every hop of it only where the host's rules allow.

Reads the network; a large body is written to a `.part` file. Knows nothing of images.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

import httpx

from tasks.core.hosts import origin, parsed, unfit
from tasks.core.tables import KEPT, TRANSIENT
from tasks.ingest.body import Body, Fetched
from tasks.ingest.config import IngestConfig
from tasks.ingest.download import Download
from tasks.ingest.permission import Permission
from tasks.ingest.politeness import Politeness
from tasks.ingest.request import Asker

__all__ = ["Fetched", "Fetcher"]

_FIRST_PAUSE = 0.5  # seconds before the second attempt; doubled before each further one
_HALVES = 64  # bodies that broke off and wait for their rest, each of them at most a megabyte in memory


@dataclass(frozen=True)
class Fetcher:
    """The transport, the manners and the limits that all addresses share."""

    transport: httpx.AsyncBaseTransport
    """A guarded one."""
    politeness: Politeness
    config: IngestConfig
    room: asyncio.Semaphore
    """Slots for bodies: those that come, and those that wait for an inspector."""
    _permission: Permission = field(init=False)
    _halves: set[Download] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        """Let the one who asks for robots.txt ask as we do."""
        asker = Asker(self.transport, self.politeness, self.config)
        object.__setattr__(self, "_permission", Permission(asker))

    @asynccontextmanager
    async def fetching(self, url: str, part: Path) -> AsyncIterator[Fetched]:
        """Ask for `url` until it answers for good or the attempts are used up; hold what came for the block.

        The slot that a body takes up is given back, and the body dropped unless it was moved, when the block is left.

        Args:
            url: the address.
            part: where the body lies while it comes, if it is large.

        Raises:
            WorkspaceError: the body cannot be written (disk full, no permission).
            StopError: the run is being stopped.
        """
        address = parsed(url)
        if isinstance(address, str):
            yield Fetched("invalid-address", address, attempts=0)
            return
        limit = int(self.config.max_bytes)
        download = Download(Body(part, limit), limit=limit, obey_tag=self.config.robots_tag, room=self.room)
        try:
            yield await self._fetch(address, download)
        finally:
            self._halves.discard(download)
            download.forget()
            download.slot.leave()

    async def _fetch(self, url: httpx.URL, download: Download) -> Fetched:
        url, download.login = _without_login(url)
        asked, last = 0, self.config.attempts
        for attempt in range(1, last + 1):
            result = await self._attempt(url, download)
            asked += result.attempts
            if attempt == last or result.outcome not in TRANSIENT or result.final:
                break
            self._keep_half(download)
            async with self.politeness.watch.heeding():
                await asyncio.sleep(_backoff(attempt, self.config.max_wait))
        kept = result.outcome == KEPT
        if not kept:
            download.forget()
        return replace(
            result,
            attempts=asked,
            received=download.received,
            seconds=download.seconds,
            etag=download.etag if kept else None,
            last_modified=download.last_modified if kept else None,
            body=download.body if kept else None,
        )

    def _keep_half(self, download: Download) -> None:
        """Keep what came of a body that broke off, if its rest can be had and not too many wait already."""
        if download.resumable and (download in self._halves or len(self._halves) < _HALVES):
            self._halves.add(download)
        else:
            self._halves.discard(download)
            download.forget()

    async def _attempt(self, url: httpx.URL, download: Download) -> Fetched:
        """Follow `url` to an answer that is no redirect."""
        target = url
        for hop in range(self.config.max_redirects + 1):
            step = await self._hop(target, download)
            if isinstance(step, Fetched):
                return replace(step, attempts=1) if hop else step  # asked, though perhaps not the last hop
            if reason := unfit(step):
                return Fetched("invalid-address", f"redirected to {step}: {reason}")
            target = step.copy_with(userinfo=b"", fragment=None)
        return Fetched("too-many-redirects", f"more than {self.config.max_redirects}, the last to {target}")

    async def _hop(self, url: httpx.URL, download: Download) -> Fetched | httpx.URL:
        """Send one request, if the host's rules allow it: the target of a redirect, or what became of it."""
        asker = self._permission.asker
        host = asker.host(url)
        if self.config.robots_txt:
            refused = await self._permission.refusal(url, host)
            if refused is not None:
                return refused
        step = await asker.ask(url, host, download)
        if isinstance(step, httpx.URL):
            download.slot.leave()  # the next host may let us wait for long
            return step
        step = download.judged(step)
        if step.outcome != KEPT:
            download.slot.leave()
        return step


def _backoff(attempt: int, max_wait: float) -> float:
    """Return the seconds to wait after the failed attempt number `attempt` (from 1): doubling, with jitter.

    Half of the pause is random, so that addresses that failed together do not come back together.
    """
    pause = min(max_wait, _FIRST_PAUSE * 2.0 ** (attempt - 1))
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


def _without_login(url: httpx.URL) -> tuple[httpx.URL, dict[tuple[str, str, int], dict[str, str]]]:
    """Return the address without a name and a password in it, and the header that sends them to its origin alone."""
    if not url.userinfo:
        return url, {}
    name, _, password = url.userinfo.partition(b":")
    told = base64.b64encode(unquote_to_bytes(name) + b":" + unquote_to_bytes(password)).decode()
    return url.copy_with(userinfo=b""), {origin(url): {"Authorization": f"Basic {told}"}}
