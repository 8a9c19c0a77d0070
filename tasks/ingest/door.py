"""The door of this process: one event loop, one client and one set of manners for all batches it has under way.

Owns a thread with an event loop; images are looked at in the process's inspector threads. So what is learnt of a host
outlives a batch, and its limits hold however many batches are under way.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from tasks.core.errors import HarvestmanError
from tasks.core.network import NetworkPolicy
from tasks.core.spending import Spending
from tasks.core.transport import GuardedTransport
from tasks.ingest.address import Address
from tasks.ingest.config import IngestConfig
from tasks.ingest.fetch import Fetched, Fetcher
from tasks.ingest.inspectors import inspectors, settle
from tasks.ingest.politeness import Politeness

Take = Callable[[Address, Fetched], None]
OnWait = Callable[[str], None]
WAITING = 64  # images that may wait for an inspector, each of at most a megabyte, before downloads wait for them
_log = logging.getLogger(__name__)
_told: ContextVar[OnWait | None] = ContextVar("told", default=None)


class Door:
    """An event loop in a thread of its own; usable from any other thread."""

    def __init__(self, network: NetworkPolicy, config: IngestConfig) -> None:
        """Start the thread; raises what the client raises that it cannot make."""
        self._network, self._config = network, config
        self._ready: Future[None] = Future()
        # A daemon on purpose: whoever opened the door closes it, but nothing must keep a dying process alive.
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)
        self._thread.start()
        self._ready.result()

    def fetch_all(self, addresses: list[Address], take: Take, *, on_wait: OnWait | None = None) -> None:
        """Fetch each of `addresses`, as many at once as the configuration allows; return when all are taken.

        Args:
            addresses: what to ask.
            take: called with each address and what became of it, in an inspector thread.
            on_wait: told, in any thread, of budgets that are used up; default: the log is.

        Raises:
            StopError: the run is being stopped.
            HarvestmanError: whatever `take` raises; the addresses under way are given up then.
        """
        reset = _told.set(on_wait)
        try:  # the task runs in a copy of this thread's context, with its flag for stopping
            task = asyncio.run_coroutine_threadsafe(self._begin(addresses, take), self._loop).result()
        finally:
            _told.reset(reset)
        ended: Future[None] = Future()
        self._loop.call_soon_threadsafe(task.add_done_callback, lambda _: ended.set_result(None))
        try:
            ended.result()
        except BaseException:  # Ctrl-C while waiting; raised again when nothing of the batch is under way
            self._loop.call_soon_threadsafe(task.cancel)
            settle([ended])
            raise
        _raise_first(task.exception())

    def close(self) -> None:
        """Close connections and the thread. Nothing may be under way."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # of a thread: handed to the one who waits for the door to open, or raised again
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _live(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        config = self._config
        politeness = Politeness(
            Spending(self._network, say=_say),
            connections=config.connections,
            per_host=config.per_host,
            rate=config.rate,
            max_wait=config.max_wait,
        )
        async with GuardedTransport(self._network, connections=config.connections) as transport:
            self._fetcher = Fetcher(transport, politeness, config, room=asyncio.Semaphore(config.connections + WAITING))
            self._ready.set_result(None)
            await self._closing.wait()

    async def _begin(self, addresses: list[Address], take: Take) -> asyncio.Task[None]:
        return asyncio.create_task(self._pass_all(addresses, take))

    async def _pass_all(self, addresses: list[Address], take: Take) -> None:
        async with asyncio.TaskGroup() as group:
            for address in addresses:
                group.create_task(self._pass_one(address, take))

    async def _pass_one(self, address: Address, take: Take) -> None:
        async with self._fetcher.fetching(address.url, address.part) as fetched:
            taken = asyncio.get_running_loop().run_in_executor(inspectors().pool, take, address, fetched)
            try:
                await asyncio.shield(taken)
            except asyncio.CancelledError:
                await asyncio.wait({taken})  # it writes to the batch's journal, which is closed after this
                if not taken.cancelled():
                    taken.exception()  # seen: of several that fail at once, as on a full disk, one is told
                raise


def _raise_first(error: BaseException | None) -> None:
    """Raise the first error of a task group as itself, not as a group; one of ours where there is one."""
    if error is None:
        return
    group = error
    if isinstance(error, BaseExceptionGroup):
        group = error.subgroup(HarvestmanError) or error
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    raise group from (error if group is not error else None)


def _say(text: str) -> None:
    told = _told.get()
    if told is None:
        _log.warning("%s", text)
    else:
        told(text)


@dataclass
class _Shared:
    door: Door
    users: int = 0


@dataclass
class _Doors:
    """The doors of a process, by what they were opened with. Nearly always one."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    shared: dict[str, _Shared] = field(default_factory=dict)


_of_process: dict[int, _Doors] = {}  # a forked child inherits no threads: it opens doors of its own


@contextmanager
def open_door(network: NetworkPolicy, config: IngestConfig) -> Iterator[Door]:
    """Yield the door of this process for this network and configuration; the last to leave closes it."""
    key = f"{network.model_dump_json()} {config.model_dump_json()}"
    doors = _of_process.setdefault(os.getpid(), _Doors())
    with doors.lock:
        shared = doors.shared.get(key)
        if shared is None:
            shared = doors.shared[key] = _Shared(Door(network, config))
            # What is imported stays; looking through it at each collection took 5 % of a download's CPU time.
            gc.freeze()
        shared.users += 1
    try:
        yield shared.door
    finally:
        with doors.lock:
            shared.users -= 1
            last = shared.users == 0
            if last:
                del doors.shared[key]
                if not doors.shared:
                    gc.unfreeze()
        if last:
            shared.door.close()
