"""Waits that end early when the run does: by Ctrl-C, or by an error in another thread of it.

Owns a flag that threads and event loops share through their context, and the waits in an event loop that it ends;
reads and writes nothing else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from tasks.core.errors import StopError

T = TypeVar("T")

FOLLOWED = "harvestman"
"""Child of a Prefect run's logger. Its lines are shown on the terminal that follows the run."""
_LOOK = 0.25  # seconds between two looks at the flag, in an event loop
_never = threading.Event()
_stopping: ContextVar[threading.Event] = ContextVar("stopping", default=_never)


@contextmanager
def stoppable() -> Iterator[None]:
    """End the waits begun within the block when it is left by an exception, such as Ctrl-C.

    Other threads heed it that run in a copy of this one's context (Prefect's do). Their pool must be opened around
    the block, as leaving a pool waits for its threads.
    """
    flag = threading.Event()
    before = _stopping.set(flag)
    try:
        yield
    except BaseException:  # Ctrl-C above all; raised again
        flag.set()
        raise
    finally:
        _stopping.reset(before)


def heed() -> None:
    """Raise StopError when the run is being stopped."""
    if _stopping.get().is_set():
        raise StopError("Stopped.", hint="What is stored stays stored: the same command goes on from there.")


def pause(seconds: float) -> None:
    """Wait in a thread; StopError when the run is being stopped."""
    _stopping.get().wait(seconds)
    heed()


@dataclass(eq=False, slots=True)
class _Wait:
    task: asyncio.Task[object]
    ended: bool = False


@dataclass
class Watch:
    """The waits under way in one event loop, by the flag that would end them.

    One look for all: a look of each wait at its own flag cost a core with 2,000 of them; runs, and so flags, are few.
    """

    _waits: dict[threading.Event, set[_Wait]] = field(default_factory=dict)
    _looking: bool = False

    @asynccontextmanager
    async def heeding(self) -> AsyncIterator[None]:
        """End the waits within the block when the run of this task is stopped, and no other run's.

        Raises:
            StopError: the run is being stopped.
        """
        heed()
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - a coroutine always runs in a task
            yield
            return
        flag, wait = _stopping.get(), _Wait(task)
        already = task.cancelling()
        self._waits.setdefault(flag, set()).add(wait)
        self._look_later()
        try:
            yield
        except asyncio.CancelledError:
            if wait.ended and task.uncancel() <= already:  # as asyncio.timeout tells its own from others' cancelling
                heed()
                raise StopError("Stopped.") from None  # pragma: no cover - a flag that is set stays set
            raise
        finally:
            waits = self._waits[flag]
            waits.discard(wait)
            if not waits:
                del self._waits[flag]

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _look(self) -> None:
        self._looking = False
        for flag, waits in self._waits.items():
            if flag.is_set():
                for wait in waits:
                    if not wait.ended:
                        wait.ended = True
                        wait.task.cancel()
        if self._waits:
            self._look_later()


async def unless_stopped(work: Awaitable[T]) -> T:
    """Return what `work` returns; cancel it and raise StopError when the run is being stopped."""
    async with Watch().heeding():
        return await work
