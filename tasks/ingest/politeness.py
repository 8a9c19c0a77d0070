"""How hard sites are pressed: requests under way, rates, budgets, pauses, giving up on those that are down.

Lives in one event loop, for all batches of a process; budgets and long rests outlive it. Writes what is spent of
them, in threads.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tasks.core.errors import HarvestmanError
from tasks.core.network import site_port
from tasks.core.spending import Spending
from tasks.core.waiting import Watch
from tasks.ingest.body import Slot
from tasks.ingest.breaker import GIVEN_UP_FOR, Breaker
from tasks.ingest.pace import Pace
from tasks.ingest.robots import Origin, Robots

_LOOK = 60.0  # seconds after which a wait for a budget is reckoned anew
_FRESH = 5.0  # seconds that what other processes wrote of rests is believed
_RULES_HOLD = 86_400.0  # seconds; a robots.txt is to be read anew after a day (RFC 9309, 2.4)
_MANY = 2_000  # hosts remembered, before those that nobody asked for long are forgotten
_IDLE = 300.0  # seconds
_TOO_MUCH = {429, 503}  # statuses that say: slower
_GONE = {404, 410}  # refusals that say nothing of the pace
_SERVER_ERROR, _REFUSED = 500, 400  # the first statuses of their kinds


@dataclass(eq=False, slots=True)
class Host:
    """What is known of one host."""

    name: str
    port: int
    """443 for port 80 too: both schemes of a host share its limits."""
    pace: Pace
    breaker: Breaker
    closed: tuple[str, str] | None = None
    """Outcome and reason of every address still to be asked, while the host is given up or left alone."""
    robots: defaultdict[Origin, Robots] = field(default_factory=lambda: defaultdict(Robots))
    """By origin: http and https may have rules of their own."""
    under_way: int = 0
    """Requests sent and not yet through."""
    resume_at: float = 0.0
    """Event loop time before which it is not asked."""
    closed_until: float = 0.0
    used_at: float = 0.0
    waiting: int = 0
    """Addresses that wait for it or are under way."""
    met: bool = False
    """Whether it is known if it rests since an earlier run."""
    rest_due: float = 0.0
    """Seconds of a rest not yet written down."""
    gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the one who waits for all others: they queue here, first come, first served."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a wait without an end may be over."""


@dataclass(eq=False, slots=True)
class Turn:
    """One request that may be sent now."""

    path: str
    slot: Slot | None
    received: int = 0
    """Bytes of its answer, to be set before the turn ends."""
    ticket: int | None = None
    """Of the budget, where there is one."""
    granted: bool = False
    """Whether it counts as under way; not at a host that is closed."""


@dataclass
class Politeness:
    """Bounds requests over all hosts and to each one, and keeps budgets and the pauses that hosts ask for."""

    spending: Spending
    """What the budgets have left."""
    connections: int
    """Requests under way at once."""
    per_host: int
    """Requests under way at once to one host, and sent to it at once after a quiet time."""
    max_wait: float
    """Longest pause that is kept, in seconds; who asks for more is left alone until then."""
    rate: float
    """Requests a second to one host, at the most."""
    _hosts: dict[tuple[str, int], Host] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    """Ends the waits of runs that are being stopped."""
    _rests: dict[tuple[str, int], float] = field(default_factory=dict)
    _rests_read: float = -math.inf

    def __post_init__(self) -> None:
        """Make what bounds them all."""
        self._all = asyncio.Semaphore(self.connections)
        self._reading = asyncio.Lock()

    def host(self, name: str, port: int) -> Host:
        """Return the record of a host, in any spelling of its name. Must be called in the event loop."""
        key = (name.lower().rstrip("."), site_port(port))
        host = self._hosts.get(key)
        if host is None:
            self._forget()
            host = self._hosts[key] = Host(*key, Pace(self.rate, self.per_host), Breaker(self.max_wait))
        host.used_at = _now()
        _revive(host)
        return host

    @asynccontextmanager
    async def turn(self, host: Host, path: str = "", slot: Slot | None = None) -> AsyncIterator[Turn]:
        """Wait for a turn at `host` and hold it for the block. At a host that is closed there is nothing to wait for.

        Those who wait for one host get their turns in the order they came; one of them does the waiting.

        Args:
            host: the host.
            path: of the address, which may tell the budget it belongs to.
            slot: what the answer needs; it is taken before the request may be sent, and not held while the host rests.

        Raises:
            WorkspaceError: what is spent cannot be read or written down.
            StopError: the run of this task is being stopped.
        """
        host.waiting += 1
        turn = Turn(path, slot)
        try:
            async with self.watch.heeding(), host.gate:
                await self._enter(host, turn)
            yield turn
        finally:
            host.waiting -= 1
            self._leave(host, turn)
            await self._write_down(host, turn)

    async def _enter(self, host: Host, turn: Turn) -> None:
        """Wait until a request may be sent and count it as sent, or until the host is closed."""
        _revive(host)
        if not host.met:
            await self._meet(host)
        paid = False
        while True:
            await self._ready(host)
            if host.closed:
                return
            if not paid:
                wait = await self._take(host, turn)
                paid = not wait
                if wait:
                    host.resume_at = max(host.resume_at, _now() + min(wait, _LOOK))
                if wait or turn.ticket is not None:  # taken in a thread: the host may have asked for a pause meanwhile
                    continue
            if turn.slot:
                await turn.slot.take()
            await self._all.acquire()
            if not host.closed and not self._wait(host):  # else it asked for a pause while these were waited for
                break
            self._all.release()
            if turn.slot:
                turn.slot.leave()
        turn.granted = True
        host.under_way += 1
        host.pace.send(_now())
        host.breaker.sent()

    async def _ready(self, host: Host) -> None:
        while not host.closed and (wait := self._wait(host)):
            host.changed.clear()
            try:
                async with asyncio.timeout(wait if wait < math.inf else None):
                    await host.changed.wait()
            except TimeoutError:
                continue

    def _wait(self, host: Host) -> float:
        """Return the seconds until `host` may be asked; infinite = until a request to it is through."""
        if host.under_way >= self.per_host:
            return math.inf
        now = _now()
        waits = host.breaker.wait(now, host.under_way), host.pace.wait(now), host.resume_at - now
        return max(0.0, *waits)

    def _leave(self, host: Host, turn: Turn) -> None:
        if turn.granted:
            host.under_way -= 1
            host.used_at = _now()
            self._all.release()
        host.changed.set()

    async def _meet(self, host: Host) -> None:
        """Learn whether a host wants to be left alone since an earlier run, or for what another process asked."""
        async with self._reading:
            if _now() - self._rests_read > _FRESH:
                self._rests = await asyncio.to_thread(self.spending.rests)
                self._rests_read = _now()
        host.met = True
        left = self._rests.get((host.name, host.port), 0.0) - (_now() - self._rests_read)
        if left > self.max_wait:
            _close(host, ("rate-limited", f"the host asked to be left alone until {_moment(left)}"), left)
        elif left > 0:
            host.resume_at = max(host.resume_at, _now() + left)

    async def _take(self, host: Host, turn: Turn) -> float:
        """Take a request off the budget, in a thread as others may hold its file; return the seconds to wait first."""
        if self.spending.network.budget(host.name, host.port, turn.path) is None:
            return 0.0
        taking = asyncio.ensure_future(asyncio.to_thread(self.spending.take, host.name, host.port, turn.path))
        try:
            wait, turn.ticket = await asyncio.shield(taking)
        except asyncio.CancelledError:
            with suppress(HarvestmanError):  # the end of the turn hands back what the thread takes yet
                _, turn.ticket = await taking
            raise
        return wait

    async def _write_down(self, host: Host, turn: Turn) -> None:
        if turn.ticket is not None:
            answered = self.spending.answered
            await asyncio.to_thread(answered, host.name, host.port, turn.ticket, received=turn.received, path=turn.path)
        if host.rest_due:
            seconds, host.rest_due = host.rest_due, 0.0
            await asyncio.to_thread(self.spending.rest, host.name, host.port, seconds)

    def answered(self, host: Host, status: int) -> None:
        """Note an answer of `host`: it is up, or has errors of its own, or wants to be asked more slowly.

        To be called within the turn, as `failed` and `pause`.
        """
        if status in _TOO_MUCH:
            host.pace.refused(_now())
        elif status < _REFUSED or status in _GONE:
            host.pace.good()
        if status >= _SERVER_ERROR:
            self.failed(host, "server-error", f"HTTP {status}")
        else:
            host.breaker.succeeded()

    def failed(self, host: Host, outcome: str, reason: str) -> None:
        """Note that no connection, or no answer, came about; after many in a row `host` is given up for a time."""
        if host.breaker.failed(_now()):
            last = f"given up: {host.breaker.failures} failures in a row, the last: {reason}"
            _close(host, (outcome, last), GIVEN_UP_FOR)

    def pause(self, host: Host, seconds: float, outcome: str) -> None:
        """Keep a Retry-After: nobody asks `host` before then.

        Where it is longer than `max_wait`, what is left to ask is given up with `outcome`, and the rest is
        written down at the end of the turn for later runs and other processes.
        """
        if seconds > self.max_wait:
            host.rest_due = max(host.rest_due, seconds)
            _close(host, (outcome, f"the host asked for {seconds:.0f} s of rest"), seconds)
            return
        host.resume_at = max(host.resume_at, _now() + seconds)

    def slow(self, host: Host, delay: float) -> None:
        """Keep a Crawl-delay: `delay` seconds between two requests; who asks for more than `max_wait` is left alone."""
        if delay > self.max_wait:
            reason = f"robots.txt asks for {delay:.0f} s between two requests"
            _close(host, ("rate-limited", reason), _RULES_HOLD)
            return
        host.pace.limit(delay)

    def _forget(self) -> None:
        """Drop hosts that nobody asked for long, so that a list of a million hosts needs no more memory than one."""
        if len(self._hosts) < _MANY or len(self._hosts) % 100:
            return
        before = _now() - max(_IDLE, 2 * self.max_wait)
        for key, host in list(self._hosts.items()):
            _revive(host)
            if not host.waiting and not host.closed and host.used_at < before:  # a breaker's wait is shorter
                del self._hosts[key]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _moment(seconds: float) -> str:
    return f"{datetime.now().astimezone() + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S %Z}"


def _close(host: Host, closed: tuple[str, str], seconds: float) -> None:
    """Leave `host` alone for some seconds; what is to be asked there meanwhile is given up."""
    host.closed, host.closed_until = closed, _now() + seconds
    host.changed.set()


def _revive(host: Host) -> None:
    """Ask a host again whose time of rest is over."""
    if host.closed and _now() >= host.closed_until:
        host.closed = None
