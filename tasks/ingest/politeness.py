"""How hard a site is pressed: requests under way, budgets, pauses it asks for, giving up on one that is down.

Lives for one batch, in one event loop; budgets outlive it. Writes what is spent of them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tasks.core.spending import Spending
from tasks.core.waiting import heed, paused

GIVE_UP_AFTER = 12  # connections failing in a row, none succeeding between: the host is down
_LOOK = 60.0  # seconds after which a wait for a budget is reckoned anew
_FIRST_PAUSE = 0.5  # seconds before the second attempt; doubled before each further one


@dataclass
class Host:
    """What is known of one host while a batch runs."""

    name: str
    port: int
    slots: asyncio.Semaphore
    """Requests under way to it."""
    resume_at: float = 0.0
    """Event loop time before which it asked not to be asked again."""
    failures: int = 0
    """Connections that failed since the last one that did not."""
    closed: tuple[str, str] | None = None
    """Outcome and reason of every address still to be asked, once the host is given up."""


@dataclass
class Turn:
    """One request that may be sent now."""

    received: int = 0
    """Bytes of its answer, to be set before the turn ends."""


@dataclass
class Politeness:
    """Bounds requests over all hosts and to each one, and keeps budgets and the pauses that hosts ask for."""

    spending: Spending
    """What the budgets have left."""

    connections: int
    """Requests under way at once."""
    per_host: int
    """Requests under way at once to one host."""
    max_wait: float
    """Longest pause that is kept, in seconds; who asks for more is left alone for this batch."""
    _hosts: dict[tuple[str, int], Host] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the semaphore that bounds them all."""
        self._all = asyncio.Semaphore(self.connections)

    def host(self, name: str, port: int) -> Host:
        """Return the record of a host."""
        return self._hosts.setdefault((name, port), Host(name, port, asyncio.Semaphore(self.per_host)))

    @asynccontextmanager
    async def turn(self, host: Host, path: str = "") -> AsyncIterator[Turn]:
        """Wait for a turn at `host` and hold it for the block. At a host that is closed there is nothing to wait for.

        Args:
            host: the host.
            path: of the address, which may tell the budget it belongs to.

        Raises:
            WorkspaceError: what is spent cannot be written down.
            StopError: the run is being stopped.
        """
        heed()
        clock = asyncio.get_running_loop().time
        async with host.slots:
            while True:
                while (pause := host.resume_at - clock()) > 0 and not host.closed:
                    await paused(pause)
                async with self._all:
                    if host.closed:
                        yield Turn()
                        return
                    if host.resume_at > clock():  # told to wait meanwhile
                        continue
                    wait, ticket = await self._take(host, path)
                    if not wait:
                        turn = Turn()
                        try:
                            if host.resume_at <= clock():
                                yield turn
                                return
                        finally:
                            await self._give_back(host, path, ticket=ticket, received=turn.received)
                        continue  # told to wait meanwhile
                    host.resume_at = max(
                        host.resume_at, clock() + min(wait, _LOOK)
                    )  # others wait with it, out of the way

    async def _take(self, host: Host, path: str) -> tuple[float, int | None]:
        if self.spending.network.budget(host.name, host.port, path) is None:
            return 0.0, None
        # In a thread: another process may hold the file for seconds.
        return await asyncio.to_thread(self.spending.take, host.name, host.port, path)

    async def _give_back(self, host: Host, path: str, *, ticket: int | None, received: int) -> None:
        if ticket is not None:
            await asyncio.to_thread(self.spending.answered, host.name, host.port, ticket, received=received, path=path)

    def pause(self, host: Host, seconds: float, outcome: str) -> None:
        """Keep a Retry-After: nobody asks `host` before then, or at all in this batch if it is too long."""
        if seconds > self.max_wait:
            host.closed = (outcome, f"the host asked for {seconds:.0f} s of rest")
            return
        host.resume_at = max(host.resume_at, asyncio.get_running_loop().time() + seconds)

    def answered(self, host: Host) -> None:
        """Note that `host` is up."""
        host.failures = 0

    def failed(self, host: Host, outcome: str) -> None:
        """Note that no connection came about; after many in a row `host` is given up for this batch."""
        host.failures += 1
        if host.failures >= GIVE_UP_AFTER:
            host.closed = (outcome, f"given up: {host.failures} connections in a row failed")


def backoff(attempt: int, max_wait: float) -> float:
    """Return the seconds to wait after the failed attempt number `attempt` (from 1): doubling, with jitter.

    Half of the pause is random, so that addresses that failed together do not come back together.
    """
    pause = min(max_wait, _FIRST_PAUSE * 2.0 ** (attempt - 1))
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
