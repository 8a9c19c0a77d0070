from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tasks.core.errors import WorkspaceError
from tasks.core.network import BUDGETS, Budget, NetworkPolicy
from tasks.core.processes import place
from tasks.core.spending import Spending

HOST, PORT = "api.example", 443
GB = 1_000_000_000

# Takes requests as fast as it may for some seconds, each answered after a moment; one line each: asked, answered.
HAMMER = """
import random, sys, time
from pathlib import Path
from tasks.core.network import Budget, NetworkPolicy
from tasks.core.spending import Spending

spent, most, end = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
budget = Budget.model_validate({"hosts": ["api.example"], "requests": {"second": most}})
spending = Spending(NetworkPolicy(user_agent="test", budgets={"test": budget}, spent=spent))
while time.time() < end:
    wait, ticket = spending.take("api.example", 443)
    if wait:
        time.sleep(wait)
        continue
    asked = time.time()
    time.sleep(random.uniform(0, 0.05))
    answered = time.time()
    spending.answered("api.example", 443, ticket)
    print(asked, answered, flush=True)
"""

# Takes one request and is killed before its answer.
KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.core.network import Budget, NetworkPolicy
from tasks.core.spending import Spending

budget = Budget.model_validate({"hosts": ["api.example"], "requests": {"second": 1}})
spending = Spending(NetworkPolicy(user_agent="test", budgets={"test": budget}, spent=Path(sys.argv[1])))
assert spending.take("api.example", 443)[0] == 0
os.kill(os.getpid(), signal.SIGKILL)
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_030.0

    def __call__(self) -> float:
        return self.now


def policy(limits: dict[str, object], spent: Path | None = None) -> NetworkPolicy:
    budget = Budget.model_validate({"hosts": [HOST], **limits})
    return NetworkPolicy(user_agent="test", budgets={"test": budget}, spent=spent)


def take(spending: Spending) -> float:
    """Take a request, answered at once; return the wait, 0 where it was allowed."""
    wait, ticket = spending.take(HOST, PORT)
    if not wait:
        spending.answered(HOST, PORT, ticket)
    return wait


def test_several_processes_never_exceed_a_budget_in_any_second(tmp_path: Path) -> None:
    most, seconds = 10, 4.0
    end = time.time() + seconds + 1.5  # they need a moment to start
    command = [sys.executable, "-c", HAMMER, str(tmp_path / "spent.db"), str(most), str(end)]
    hammers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    lines = [line.split() for hammer in hammers for line in hammer.communicate(timeout=60)[0].splitlines()]
    assert all(hammer.returncode == 0 for hammer in hammers)
    moments = sorted((float(asked), float(answered)) for asked, answered in lines)
    # The strict reading: a window that begins with any answer, and every request granted until it ends.
    for _, start in moments:
        arrived = [asked for asked, answered in moments if answered >= start and asked < start + 1.0]
        assert len(arrived) <= most
    assert len(moments) >= 0.6 * most * seconds, "a budget is also there to be used"


def test_a_budget_in_memory_holds_without_a_file() -> None:
    clock = Clock()
    spending = Spending(policy({"requests": {"minute": 3}}), clock)
    assert [take(spending) for _ in range(4)] == [0, 0, 0, 60]


def test_a_budget_outlives_the_process_that_spent_it(tmp_path: Path) -> None:
    clock = Clock()
    limits: dict[str, object] = {"requests": {"day": 2}}
    first = Spending(policy(limits, tmp_path / "spent.db"), clock)
    assert [take(first), take(first)] == [0, 0]
    clock.now += 3600
    again = Spending(policy(limits, tmp_path / "spent.db"), clock)
    assert take(again) == 23 * 3600


def test_the_narrowest_of_several_windows_decides() -> None:
    clock = Clock()
    spending = Spending(policy({"requests": {"second": 2, "minute": 3}}), clock)
    assert [take(spending), take(spending), take(spending)] == [0, 0, 1]
    clock.now += 1
    assert [take(spending), take(spending)] == [0, 59]
    clock.now += 59
    assert take(spending) == 0


def test_a_request_counts_from_its_grant_until_a_window_after_its_answer() -> None:
    clock = Clock()
    spending = Spending(policy({"requests": {"second": 1}}), clock)
    _, ticket = spending.take(HOST, PORT)
    clock.now += 5
    assert spending.take(HOST, PORT) == (1, None)  # still on its way
    spending.answered(HOST, PORT, ticket)
    clock.now += 0.75
    assert take(spending) == 0.25
    clock.now += 0.25
    assert take(spending) == 0


@pytest.mark.parametrize(("window", "seconds"), [("hour", 3600), ("day", 86_400)])
def test_bytes_of_a_window_are_waited_for_to_the_minute(window: str, seconds: int) -> None:
    clock = Clock()  # half past a minute
    spending = Spending(policy({"bytes": {window: 3 * GB}}), clock)
    for _ in range(3):
        wait, ticket = spending.take(HOST, PORT)
        assert wait == 0
        spending.answered(HOST, PORT, ticket, received=GB)
        clock.now += 60
    wait = take(spending)
    assert wait == pytest.approx(seconds - 3 * 60 + 30)  # when the whole minute of the first is out
    clock.now += wait - 1
    assert take(spending) == 1
    clock.now += 1
    assert take(spending) == 0


def test_as_many_bytes_are_waited_for_as_are_over() -> None:
    clock = Clock()
    spending = Spending(policy({"bytes": {"hour": 2 * GB}}), clock)
    tickets = [spending.take(HOST, PORT)[1] for _ in range(3)]  # all on their way before any is counted
    for ticket in tickets:
        spending.answered(HOST, PORT, ticket, received=GB)
        clock.now += 60
    # Three come where two are allowed: two have to fall out of the hour before there is less than two again.
    assert take(spending) == pytest.approx(3600 - 2 * 60 + 30)


def test_bytes_of_small_answers_add_up() -> None:
    clock = Clock()
    spending = Spending(policy({"bytes": {"hour": 1000}}), clock)
    for _ in range(10):
        wait, ticket = spending.take(HOST, PORT)
        assert wait == 0
        spending.answered(HOST, PORT, ticket, received=100)
    assert take(spending) > 3500


def test_a_request_of_a_killed_process_counts_as_answered_when_its_end_is_noticed(tmp_path: Path) -> None:
    spent = tmp_path / "spent.db"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(spent)], check=False)
    assert killed.returncode == -signal.SIGKILL
    spending = Spending(policy({"requests": {"second": 1}}, spent))
    wait = take(spending)
    assert 0.5 < wait <= 1.0
    time.sleep(wait)
    assert take(spending) == 0


def test_a_request_of_a_living_process_counts_until_it_is_answered(tmp_path: Path) -> None:
    spent = tmp_path / "spent.db"
    ours = Spending(policy({"requests": {"second": 1}}, spent))
    assert ours.take(HOST, PORT)[0] == 0
    other = Spending(policy({"requests": {"second": 1}}, spent))
    for _ in range(3):
        time.sleep(0.4)
        assert take(other) > 0


def test_a_request_nobody_ever_answers_stops_the_budget_for_five_minutes_only() -> None:
    clock = Clock()
    spending = Spending(policy({"requests": {"second": 1}}), clock)
    assert spending.take(HOST, PORT)[0] == 0
    clock.now += 299
    assert take(spending) > 0
    clock.now += 2
    assert take(spending) == 0


def test_hosts_of_one_budget_share_it_and_other_hosts_have_none() -> None:
    budget = Budget.model_validate({"hosts": ["a.example", "b.example:8080"], "requests": {"day": 1}})
    spending = Spending(NetworkPolicy(user_agent="test", budgets={"test": budget}), Clock())
    assert spending.take("A.example", 443)[0] == 0
    assert spending.take("b.example", 8080)[0] > 0
    assert spending.take("b.example", 443) == (0, None)
    assert spending.take("c.example", 443) == (0, None)


def test_a_budget_of_the_settings_replaces_ours_of_the_same_name() -> None:
    wider = Budget.model_validate({"hosts": ["api.inaturalist.org"], "requests": {"minute": 1}})
    spending = Spending(NetworkPolicy(user_agent="test", budgets={"inaturalist-api": wider}), Clock())
    assert [spending.take("api.inaturalist.org", 443)[0] for _ in range(2)] == [0, 60]


@pytest.mark.parametrize("name", sorted(BUDGETS))
def test_each_budget_of_ours_is_held(name: str) -> None:
    host, limits = BUDGETS[name].hosts[0], BUDGETS[name].requests
    most = limits.second or limits.minute
    spending = Spending(NetworkPolicy(user_agent="test"), Clock())
    for _ in range(most or 3):
        wait, ticket = spending.take(host, 443)
        assert wait == 0
        spending.answered(host, 443, ticket, received=2 * GB)
    assert spending.take(host, 443)[0] > 0


def test_a_used_up_budget_is_told_once_with_the_time_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    spending = Spending(policy({"requests": {"hour": 1}}), clock)
    with caplog.at_level(logging.WARNING):
        take(spending)
        assert not caplog.records
        for _ in range(3):
            assert take(spending) == 3600
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(clock.now + 3600))
    assert len(caplog.records) == 1
    assert f"The budget test is used up (1 requests an hour): goes on at {moment}" in caplog.text


def test_a_short_wait_is_not_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    spending = Spending(policy({"requests": {"second": 1}}), Clock())
    with caplog.at_level(logging.WARNING):
        assert [take(spending), take(spending)] == [0, 1]
    assert not caplog.records


def test_a_damaged_file_is_one_clear_error_and_stays(tmp_path: Path) -> None:
    spent = tmp_path / "spent.db"
    spent.write_bytes(b"not a database, but long enough to be looked at as one" * 100)
    spending = Spending(policy({"requests": {"second": 1}}, spent))
    with pytest.raises(WorkspaceError, match=r"spent\.db") as caught:
        spending.take(HOST, PORT)
    assert "may be deleted" in caught.value.hint
    spent.unlink()
    assert take(spending) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_must_not_be_written_is_one_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(WorkspaceError, match="spending of budgets"):
        take(Spending(policy({"requests": {"second": 1}}, folder / "spent.db")))


def test_a_folder_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="spending of budgets"):
        take(Spending(policy({"requests": {"second": 1}}, tmp_path / "file" / "spent.db")))


def test_what_no_window_reaches_back_to_is_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    spent = tmp_path / "spent.db"
    spending = Spending(policy({"requests": {"second": 500}}, spent), clock)
    for _ in range(300):
        take(spending)
    full = spent.stat().st_size
    for _ in range(5):
        clock.now += 86_401
        for _ in range(300):
            take(spending)
    assert spent.stat().st_size <= 1.5 * full


def rows(spent: Path) -> int:
    with closing(sqlite3.connect(spent)) as db:
        return int(db.execute("select count(*) from requests").fetchone()[0])


def test_no_longer_is_kept_than_the_longest_window_of_the_budget(tmp_path: Path) -> None:
    clock, spent = Clock(), tmp_path / "spent.db"
    spending = Spending(policy({"requests": {"second": 500, "minute": 500}, "bytes": {"hour": GB}}, spent), clock)
    for _ in range(100):
        take(spending)
    clock.now += 61
    take(spending)
    assert rows(spent) == 1


def test_a_take_is_quick_when_a_whole_day_is_kept(tmp_path: Path) -> None:
    kept, spent = 300_000, tmp_path / "spent.db"
    spending = Spending(policy({"requests": {"second": 20, "day": 1_000_000}}, spent))
    take(spending)
    now = time.time()
    with closing(sqlite3.connect(spent)) as db, db:
        old = (("test", "x", 1, now - 2 - n / 4, now - 2 - n / 4) for n in range(kept))
        db.executemany("insert into requests (budget, place, pid, asked, answered) values (?, ?, ?, ?, ?)", old)
    began = time.process_time()
    for _ in range(10):
        assert spending.take(HOST, PORT)[0] == 0
    # 40 ms and more each, where no index helps; the day's window alone walks its index, where it is nearly used up.
    assert (time.process_time() - began) / 10 < 0.02


def test_a_place_is_of_one_start_of_one_machine() -> None:
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        assert boot.read_text().strip() in place()


def test_all_rests_are_told_at_once_without_waiting_for_who_writes(tmp_path: Path) -> None:
    spent, clock = tmp_path / "spent.db", Clock()
    spending = Spending(NetworkPolicy(user_agent="test", spent=spent), clock)
    assert spending.rests() == {}
    assert not spent.exists()
    spending.rest("Photos.example", 8443, 100)
    spending.rest("::1", 80, 50)
    spending.rest("soon.example", 80, 5)
    clock.now += 10
    with closing(sqlite3.connect(spent, isolation_level=None)) as other:
        other.execute("begin immediate")
        began = time.monotonic()
        assert spending.rests() == {("photos.example", 8443): 90, ("::1", 443): 40}
        assert time.monotonic() - began < 5
        other.execute("rollback")
