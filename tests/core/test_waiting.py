from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

import pytest

from tasks.core.errors import StopError
from tasks.core.waiting import Watch, heed, pause, stoppable, unless_stopped

LONG = 60.0


def in_a_loop() -> None:
    async def main() -> None:
        async with Watch().heeding():
            await asyncio.sleep(LONG)

    asyncio.run(main())


def for_an_answer() -> None:
    asyncio.run(unless_stopped(asyncio.sleep(LONG)))


@pytest.mark.parametrize("wait", [lambda: pause(LONG), in_a_loop, for_an_answer])
def test_a_wait_in_another_thread_ends_when_the_block_fails(wait: Callable[[], None]) -> None:
    began = time.monotonic()
    waiting: list[Future[None]] = []

    def interrupted() -> None:
        with ThreadPoolExecutor(1) as pool, stoppable():
            waiting.append(pool.submit(copy_context().run, wait))
            time.sleep(0.2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(StopError, match="Stopped"):
        waiting[0].result(0)
    assert time.monotonic() - began < 5


def test_a_wait_is_as_long_as_it_was_asked_for_and_what_is_awaited_comes() -> None:
    began = time.monotonic()
    with stoppable():
        pause(0.2)
        assert asyncio.run(unless_stopped(asyncio.sleep(0.3, "answer"))) == "answer"
    assert 0.5 <= time.monotonic() - began < 3


def test_a_run_that_was_stopped_stops_no_later_one() -> None:
    with pytest.raises(ValueError, match="any"), stoppable():
        raise ValueError("any")
    heed()
    with stoppable():
        heed()


def test_a_wait_that_is_cancelled_by_others_is_no_stop() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(unless_stopped(asyncio.sleep(LONG)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
