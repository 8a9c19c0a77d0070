from __future__ import annotations

import asyncio
import selectors
import sqlite3
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tasks.core.errors import StopError
from tasks.core.network import Budget, NetworkPolicy
from tasks.core.spending import Spending
from tasks.core.waiting import stoppable
from tasks.ingest.body import Slot
from tasks.ingest.politeness import Host, Politeness

T = TypeVar("T")


class _Inline(ThreadPoolExecutor):
    """Threads would run in real time."""

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as a thread hands over whatever was raised
            future.set_exception(error)
        return future


class _Skipping(selectors.SelectSelector):
    """Where the loop would sleep, its clock jumps."""

    now = 1000.0
    wakes = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.wakes += 1
        found = super().select(0 if timeout is not None else 5)
        assert found or timeout is not None, "nothing is left that could ever happen"
        if not found and timeout:
            self.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose hours take no time."""

    def __init__(self) -> None:
        self.skipping = _Skipping()
        super().__init__(self.skipping)
        self.set_default_executor(_Inline())

    def time(self) -> float:
        return self.skipping.now


def virtually(work: Awaitable[T]) -> T:
    async def awaited() -> T:
        return await work

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(awaited())


def polite(**values: float) -> Politeness:
    settings: dict[str, Any] = {"connections": 64, "per_host": 4, "max_wait": 60, "rate": 10.0}
    return Politeness(Spending(NetworkPolicy(user_agent="t")), **(settings | values))


def now() -> float:
    return asyncio.get_running_loop().time()


async def ask(politeness: Politeness, host: Host, *, seconds: float = 0.0, status: int = 200) -> float | None:
    """One request that takes some seconds; the time it was sent at, None where the host was closed."""
    async with politeness.turn(host):
        if host.closed:
            return None
        sent = now()
        await asyncio.sleep(seconds)
        politeness.answered(host, status)
        return sent


async def fail(politeness: Politeness, host: Host, *, seconds: float = 0.0) -> float | None:
    async with politeness.turn(host):
        if host.closed:
            return None
        sent = now()
        await asyncio.sleep(seconds)
        politeness.failed(host, "unreachable", "ConnectionRefusedError")
        return sent


def test_a_host_gets_a_burst_and_then_so_many_requests_a_second() -> None:
    async def main() -> list[float]:
        politeness = polite()
        host = politeness.host("a.example", 443)
        began = now()
        sent = await asyncio.gather(*(ask(politeness, host) for _ in range(44)))
        return [moment - began for moment in sent if moment is not None]

    sent = virtually(main())
    assert [round(moment, 3) for moment in sent[:5]] == [0, 0, 0, 0, 0.1]
    assert sent[-1] == pytest.approx(4.0, abs=0.01)  # 40 requests behind the burst of 4


@pytest.mark.parametrize(("rate", "at_once"), [(0.2, 1), (1.0, 1), (2.5, 2), (50.0, 4)])
def test_a_burst_is_never_more_than_a_second_of_the_rate(rate: float, at_once: int) -> None:
    async def main() -> list[float]:
        politeness = polite(rate=rate)
        host = politeness.host("a.example", 443)
        began = now()
        await asyncio.gather(*(ask(politeness, host) for _ in range(4)))
        await asyncio.sleep(100)
        sent = await asyncio.gather(*(ask(politeness, host) for _ in range(12)))
        return [moment - began - 100 for moment in sent if moment is not None]

    sent = virtually(main())
    assert sum(moment <= sent[0] + 1e-6 for moment in sent) == at_once
    assert sent[-1] - sent[0] == pytest.approx((12 - at_once) / rate, rel=0.01)


def test_every_spelling_of_a_host_and_both_its_schemes_share_its_limits() -> None:
    async def main() -> tuple[int, list[float]]:
        politeness = polite()
        spelt = [("a.example", 443), ("A.example.", 443), ("a.example", 80), ("a.example.", 80)]
        hosts = [politeness.host(*place) for place in spelt]
        assert politeness.host("a.example", 8443) is not hosts[0]
        began = now()
        sent = await asyncio.gather(*(ask(politeness, host) for host in hosts for _ in range(11)))
        return len(set(map(id, hosts))), sorted(moment - began for moment in sent if moment is not None)

    hosts, sent = virtually(main())
    assert hosts == 1
    assert sent[-1] == pytest.approx(4.0, abs=0.01)


def test_a_host_never_has_more_requests_under_way_than_it_may_and_turns_come_in_order() -> None:
    async def main() -> tuple[int, list[int]]:
        politeness = polite(rate=1000.0)
        host = politeness.host("a.example", 443)
        most, order = 0, list[int]()

        async def one(number: int) -> None:
            nonlocal most
            async with politeness.turn(host):
                order.append(number)
                most = max(most, host.under_way)
                await asyncio.sleep(1.5 if number % 3 else 0.2)

        await asyncio.gather(*(one(number) for number in range(50)))
        assert host.under_way == 0
        return most, order

    most, order = virtually(main())
    assert most == 4
    assert order == list(range(50))


def test_connections_are_shared_and_none_is_held_while_a_host_rests() -> None:
    async def main() -> tuple[float | None, int]:
        politeness = polite(connections=2, rate=1000.0)
        resting, busy = politeness.host("resting.example", 443), politeness.host("busy.example", 443)
        began, most, under_way = now(), 0, 0

        async def one(host: Host) -> None:
            nonlocal most, under_way
            async with politeness.turn(host):
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.1)
                under_way -= 1

        async with politeness.turn(resting):
            politeness.pause(resting, 50, "rate-limited")
        waiting = [asyncio.create_task(one(resting)) for _ in range(8)]
        await asyncio.sleep(0)
        await asyncio.gather(*(one(busy) for _ in range(8)))
        through = now() - began
        await asyncio.gather(*waiting)
        assert now() - began >= 50
        return through, most

    through, most = virtually(main())
    assert through == pytest.approx(0.4, abs=0.01)
    assert most == 2


def test_one_slow_host_holds_up_nobody_else() -> None:
    async def main() -> float:
        politeness = polite(connections=8, rate=1000.0)
        slow = politeness.host("slow.example", 443)
        waiting = [asyncio.create_task(ask(politeness, slow, seconds=30)) for _ in range(40)]
        began = now()
        others = [politeness.host(f"{number}.example", 443) for number in range(50)]
        await asyncio.gather(*(ask(politeness, host, seconds=0.1) for host in others for _ in range(4)))
        through = now() - began
        await asyncio.gather(*waiting)
        return through

    assert virtually(main()) == pytest.approx(
        200 / 4 * 0.1, rel=0.1
    )  # four of the eight connections are the slow host's


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_halves_what_was_really_sent(status: int) -> None:
    async def main() -> tuple[float, float, float]:
        politeness = polite()
        host = politeness.host("a.example", 443)
        for _ in range(25):
            await ask(politeness, host)
            await asyncio.sleep(0.5)  # two a second of the ten allowed
        await ask(politeness, host, status=status)
        once = host.pace.rate
        host.pace.refused(now())
        same = host.pace.rate
        await asyncio.sleep(1)
        host.pace.refused(now())
        return once, same, host.pace.rate

    once, same, twice = virtually(main())
    assert once == pytest.approx(1.0, rel=0.1)
    assert same == once  # the same second, the same refusal
    assert twice < 0.6


def test_a_refused_host_is_asked_more_and_more_slowly_and_comes_back_by_and_by() -> None:
    async def main() -> tuple[float, list[float]]:
        politeness = polite()
        host = politeness.host("a.example", 443)
        for _ in range(30):
            await ask(politeness, host, status=429)
            await asyncio.sleep(1)
        slowest = host.pace.rate
        rates = []
        for _ in range(120):
            await ask(politeness, host)
            rates.append(host.pace.rate)
        return slowest, rates

    slowest, rates = virtually(main())
    assert slowest == 0.1
    assert all(0.0999 < after - before < 0.1001 for before, after in pairwise(rates[:90]))
    assert rates[-1] == 10.0


def test_only_good_answers_make_a_slowed_host_faster() -> None:
    async def main() -> list[float]:
        politeness = polite()
        host = politeness.host("a.example", 443)
        await ask(politeness, host)
        await ask(politeness, host, status=429)
        rates = [host.pace.rate]
        for status in (403, 500, 410, 304):
            await ask(politeness, host, status=status)
            rates.append(host.pace.rate)
        return [round(after - before, 6) for before, after in pairwise(rates)]

    assert virtually(main()) == [0, 0, 0.1, 0.1]


def test_a_slowed_host_gets_no_burst() -> None:
    async def main() -> list[float]:
        politeness = polite()
        host = politeness.host("a.example", 443)
        await ask(politeness, host)
        await ask(politeness, host, status=429)
        await asyncio.sleep(100)
        sent = await asyncio.gather(*(ask(politeness, host, status=403) for _ in range(5)))
        return [moment for moment in sent if moment is not None]

    sent = virtually(main())
    assert all(after - before > 0.15 for before, after in pairwise(sent))


def test_a_crawl_delay_is_kept_from_the_first_image_on() -> None:
    async def main() -> list[float]:
        politeness = polite()
        host = politeness.host("a.example", 443)
        robots = await ask(politeness, host)
        politeness.slow(host, 5)
        politeness.slow(host, 5)
        sent = await asyncio.gather(*(ask(politeness, host) for _ in range(4)))
        await asyncio.sleep(100)
        later = await asyncio.gather(*(ask(politeness, host) for _ in range(3)))
        return [moment for moment in (robots, *sent, *later) if moment is not None]

    sent = virtually(main())
    assert [round(after - before, 3) for before, after in pairwise(sent)] == [5, 5, 5, 5, 100, 5, 5]


def test_those_who_wait_for_slots_are_no_crowd_when_they_come() -> None:
    async def main() -> tuple[list[float], int]:
        politeness, room = polite(), asyncio.Semaphore(0)
        host = politeness.host("a.example", 443)
        sent: list[float] = []

        async def one() -> None:
            slot = Slot(room)
            async with politeness.turn(host, slot=slot):
                sent.append(now())
            slot.leave()

        waiting = [asyncio.create_task(one()) for _ in range(4)]
        await asyncio.sleep(1)
        politeness.slow(host, 2)
        politeness.pause(host, 30, "rate-limited")
        began = now()
        for _ in waiting:
            room.release()
        await asyncio.sleep(20)
        free = room._value
        await asyncio.gather(*waiting)
        return [moment - began for moment in sent], free

    sent, free = virtually(main())
    assert [round(moment) for moment in sent] == [30, 32, 34, 36]
    assert free == 4  # none is held while the host rests


def test_a_crawl_delay_longer_than_the_longest_wait_leaves_the_host_alone() -> None:
    async def main() -> tuple[str, str] | None:
        politeness = polite()
        host = politeness.host("a.example", 443)
        politeness.slow(host, 3600)
        assert await ask(politeness, host) is None
        return host.closed

    assert virtually(main()) == ("rate-limited", "robots.txt asks for 3600 s between two requests")


def test_a_host_that_is_down_is_probed_by_one_then_given_up_and_asked_again_after_ten_minutes() -> None:
    async def main() -> list[float]:
        politeness = polite(rate=1000.0)
        host = politeness.host("down.example", 443)
        began = now()
        sent = await asyncio.gather(*(fail(politeness, host, seconds=0.5) for _ in range(40)))
        assert host.closed
        assert host.closed[0] == "unreachable"
        assert host.closed[1].startswith("given up: ")
        assert "ConnectionRefusedError" in host.closed[1]
        assert await fail(politeness, host) is None
        await asyncio.sleep(600)
        again = await asyncio.gather(*(fail(politeness, host, seconds=0.5) for _ in range(5)))
        assert [moment is not None for moment in again] == [True, False, False, False, False]  # half open: one probe
        return [moment - began for moment in sent if moment is not None]

    sent = virtually(main())
    # Three bursts of four fail at 0.5, 1 and 1.5; probes 2 s and 8 s after the failures before them.
    assert [round(moment, 2) for moment in sent] == [0] * 4 + [0.5] * 4 + [1.0] * 4 + [3.5, 12.0]


def test_a_probe_that_succeeds_opens_the_host_for_all_who_waited() -> None:
    async def main() -> tuple[list[float], int]:
        politeness = polite(rate=1000.0)
        host = politeness.host("a.example", 443)
        for _ in range(12):
            await fail(politeness, host)
        began = now()
        sent = await asyncio.gather(*(ask(politeness, host, seconds=1) for _ in range(9)))
        return [moment - began for moment in sent if moment is not None], host.breaker.failures

    sent, failures = virtually(main())
    assert [round(moment, 2) for moment in sent] == [2, 3, 3, 3, 3, 4, 4, 4, 4]
    assert failures == 0


def test_a_probe_that_is_cancelled_leaves_the_next_one_to_tell() -> None:
    async def main() -> float:
        politeness = polite(rate=1000.0)
        host = politeness.host("a.example", 443)
        for _ in range(12):
            await fail(politeness, host)
        probe = asyncio.create_task(ask(politeness, host, seconds=100))
        waiting = asyncio.create_task(ask(politeness, host))
        await asyncio.sleep(5)
        assert not waiting.done()
        probe.cancel()
        began = now()
        sent = await waiting
        return (sent or 0) - began

    assert virtually(main()) == pytest.approx(0, abs=0.01)


def test_errors_of_the_server_count_as_failures_and_a_good_answer_forgives_them() -> None:
    async def main() -> tuple[int, bool]:
        politeness = polite(rate=1000.0)
        host = politeness.host("a.example", 443)
        for _ in range(11):
            await ask(politeness, host, status=500)
        await ask(politeness, host, status=404)
        forgiven = host.breaker.failures
        for _ in range(12):
            await ask(politeness, host, status=502)
        return forgiven, host.breaker.is_open

    assert virtually(main()) == (0, True)


def test_failures_that_were_under_way_when_a_host_was_found_down_are_no_probes() -> None:
    async def main() -> tuple[str, str] | None:
        politeness = polite(rate=1000.0, per_host=40, connections=40)
        host = politeness.host("a.example", 443)
        await asyncio.gather(*(fail(politeness, host, seconds=0.1 + number / 1000) for number in range(40)))
        return host.closed

    assert virtually(main()) is None


def test_two_thousand_who_wait_for_one_host_are_not_woken_meanwhile() -> None:
    async def main() -> tuple[int, float]:
        politeness = polite(rate=1e6, per_host=64)
        host = politeness.host("a.example", 443)
        async with politeness.turn(host):
            politeness.pause(host, 60, "rate-limited")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        waiting = [asyncio.create_task(ask(politeness, host)) for _ in range(2_000)]
        await asyncio.sleep(1)
        before, began = loop.skipping.wakes, time.process_time()
        await asyncio.sleep(58)
        wakes, spent = loop.skipping.wakes - before, time.process_time() - began
        await asyncio.gather(*waiting)
        return wakes, spent

    wakes, spent = virtually(main())
    assert wakes < 300  # four looks a second
    assert spent < 0.25  # a minute of 2,000 waits; 250 ms wakes of each would be half a million


def test_a_stopped_batch_ends_its_waits_at_once_and_no_others() -> None:
    async def main() -> None:
        politeness = polite()
        host = politeness.host("a.example", 443)
        async with politeness.turn(host):
            politeness.pause(host, 50, "rate-limited")

        async def stopped_batch() -> list[Any]:
            tasks: list[asyncio.Task[Any]] = []
            with suppress(RuntimeError), stoppable():
                tasks = [asyncio.create_task(ask(politeness, host)) for _ in range(100)]
                await asyncio.sleep(1)
                raise RuntimeError
            return await asyncio.gather(*tasks, return_exceptions=True)

        began = now()
        first = asyncio.create_task(stopped_batch())
        await asyncio.sleep(0.5)
        other = [asyncio.create_task(ask(politeness, host)) for _ in range(20)]
        results = await first
        assert all(isinstance(result, StopError) for result in results)
        assert now() - began < 1.5
        sent = await asyncio.gather(*other)
        assert all(moment is not None and moment - began >= 49.9 for moment in sent)

    virtually(main())


def test_a_cancelled_wait_is_cancelled_and_the_others_go_on() -> None:
    async def main() -> None:
        politeness = polite()
        host = politeness.host("a.example", 443)
        async with politeness.turn(host):
            politeness.pause(host, 10, "rate-limited")
        first, second, third = (asyncio.create_task(ask(politeness, host)) for _ in range(3))
        await asyncio.sleep(1)
        first.cancel()
        second.cancel()
        for cancelled in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await cancelled
        assert await third
        assert (host.waiting, host.under_way, politeness._all._value) == (0, 0, 64)

    virtually(main())


def test_a_long_rest_closes_the_host_here_and_in_later_runs_until_it_is_over(tmp_path: Path) -> None:
    spent, clock = tmp_path / "spent.db", [5_000_000.0]

    def fresh() -> Politeness:
        spending = Spending(NetworkPolicy(user_agent="t", spent=spent), clock=lambda: clock[0])
        return Politeness(spending, connections=4, per_host=2, max_wait=60, rate=10.0)

    async def refuse() -> None:
        politeness = fresh()
        host = politeness.host("Photos.example", 443)
        async with politeness.turn(host):
            politeness.pause(host, 3600, "rate-limited")
        assert host.closed == ("rate-limited", "the host asked for 3600 s of rest")
        assert await ask(politeness, host) is None
        await asyncio.sleep(3600)
        assert await ask(politeness, politeness.host("photos.example", 443)) is not None

    async def later() -> tuple[str, str] | None:
        politeness = fresh()
        host = politeness.host("photos.example", 443)
        sent, free = await ask(politeness, host), await ask(politeness, politeness.host("other.example", 443))
        assert free is not None
        assert (sent is None) == (host.closed is not None)
        return host.closed

    async def waits() -> float:
        politeness = fresh()
        began = now()
        sent = await ask(politeness, politeness.host("photos.example", 443))
        return (sent or 0) - began

    virtually(refuse())
    clock[0] += 1800
    closed = virtually(later())
    assert closed is not None
    assert closed[0] == "rate-limited"
    assert "left alone until" in closed[1]
    clock[0] += 1770
    assert virtually(waits()) == pytest.approx(30, abs=0.1)  # the rest of it is no longer than the longest wait
    clock[0] += 31
    assert virtually(later()) is None


def test_hosts_that_nobody_asks_for_any_more_are_forgotten() -> None:
    async def main() -> int:
        politeness = polite()
        for number in range(6_000):
            await ask(politeness, politeness.host(f"{number}.example", 443))
            await asyncio.sleep(0.5)
        return len(politeness._hosts)

    assert virtually(main()) <= 2_100


def test_hosts_that_were_given_up_are_forgotten_when_their_time_is_over() -> None:
    async def main() -> tuple[int, tuple[str, str] | None]:
        politeness = polite(rate=1000.0)
        for number in range(2_300):
            host = politeness.host(f"{number}.example", 443)
            if number < 2_000:
                for _ in range(14):
                    await fail(politeness, host)
            else:
                politeness.pause(host, 86_400, "rate-limited")
        return len(politeness._hosts), politeness.host("2050.example", 443).closed

    left, closed = virtually(main())
    assert left < 400  # 300 that are left alone, and the dead of the last ten minutes
    assert closed  # still left alone


def politeness(spent: Path, **requests: int) -> Politeness:
    budget = Budget.model_validate({"hosts": ["photos.example"], "requests": requests})
    spending = Spending(NetworkPolicy(user_agent="t", budgets={"test": budget}, spent=spent))
    return Politeness(spending, connections=4, per_host=2, max_wait=60, rate=100.0)


def test_other_hosts_go_on_while_another_process_holds_the_file(tmp_path: Path) -> None:
    spent = tmp_path / "spent.db"

    async def main() -> tuple[float, float]:
        polite = politeness(spent, second=10)
        async with polite.turn(polite.host("photos.example", 443)):
            pass  # the file is there
        polite = politeness(spent, second=10)  # of a process that has not read it yet
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


def test_a_turn_that_is_cancelled_while_its_ticket_is_taken_hands_it_back(tmp_path: Path) -> None:
    spent = tmp_path / "spent.db"

    async def main() -> None:
        polite = politeness(spent, hour=2)
        host = polite.host("photos.example", 443)
        async with polite.turn(host):
            pass
        with closing(sqlite3.connect(spent, isolation_level=None)) as other:
            other.execute("begin immediate")
            task = asyncio.create_task(ask(polite, host))
            await asyncio.sleep(0.2)
            task.cancel()
            await asyncio.sleep(0.1)
            other.execute("commit")
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    with closing(sqlite3.connect(spent)) as db:
        assert db.execute("select count(*), count(answered) from requests").fetchone() == (2, 2)


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
            time.sleep(0.3)
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(StopError):
        waiting[0].result(0)
    assert time.monotonic() - began < 5
