from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from pathlib import Path

import pytest

from tasks.core.errors import StopError
from tasks.core.network import Budget, NetworkPolicy
from tasks.core.spending import Spending
from tasks.core.waiting import stoppable
from tasks.ingest.politeness import Politeness


def politeness(spent: Path, **requests: int) -> Politeness:
    budget = Budget.model_validate({"hosts": ["photos.example"], "requests": requests})
    spending = Spending(NetworkPolicy(user_agent="t", budgets={"test": budget}, spent=spent))
    return Politeness(spending, connections=4, per_host=2, max_wait=60)


def test_other_hosts_go_on_while_another_process_holds_the_file(tmp_path: Path) -> None:
    spent = tmp_path / "spent.db"

    async def main() -> tuple[float, float]:
        polite = politeness(spent, second=10)
        async with polite.turn(polite.host("photos.example", 443)):
            pass  # the file is there
        began = asyncio.get_running_loop().time()

        async def one(name: str) -> float:
            async with polite.turn(polite.host(name, 443)):
                return asyncio.get_running_loop().time() - began

        with closing(sqlite3.connect(spent, isolation_level=None)) as other:
            other.execute("begin immediate")
            budgeted = asyncio.create_task(one("photos.example"))
            await asyncio.sleep(0.2)
            free = await one("free.example")
            await asyncio.sleep(0.6)
            other.execute("commit")
        return free, await budgeted

    free, budgeted = asyncio.run(main())
    assert free < 0.6
    assert budgeted > 0.7


def test_a_turn_of_a_used_up_budget_ends_when_the_run_is_stopped(tmp_path: Path) -> None:
    async def two_turns() -> None:
        polite = politeness(tmp_path / "spent.db", hour=1)
        for _ in range(2):
            async with polite.turn(polite.host("photos.example", 443)):
                pass

    waiting: list[Future[None]] = []

    def interrupted() -> None:
        with ThreadPoolExecutor(1) as pool, stoppable():
            waiting.append(pool.submit(copy_context().run, asyncio.run, two_turns()))
            time.sleep(1)
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(StopError):
        waiting[0].result(0)
    assert time.monotonic() - began < 10
