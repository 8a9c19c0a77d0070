"""Waits that end early when the run does: by Ctrl-C, or by an error in another thread of it.

Owns a flag that threads and event loops share through their context; reads and writes nothing else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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


async def paused(seconds: float) -> None:
    """Wait in an event loop; StopError when the run is being stopped."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while (left := until - clock()) > 0:
        heed()
        await asyncio.sleep(min(left, _LOOK))
    heed()


async def unless_stopped(work: Awaitable[T]) -> T:
    """Return what `work` returns; cancel it and raise StopError when the run is being stopped."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK)
            heed()
    finally:
        task.cancel()  # nothing where it is done
    return task.result()
