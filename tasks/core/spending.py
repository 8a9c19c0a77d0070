"""What budgets have left: one SQLite file a workspace, shared by all its processes and kept over restarts.

A request counts from the moment it is allowed until `window` seconds after its *answer*, so that no delay on
the way can make a site see more than the budget in any window of its own clock. Bytes are counted by minute, when
they have come: what is on its way when they are used up still comes.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from tasks.core.errors import TryAgainError, WorkspaceError
from tasks.core.network import Budget, NetworkPolicy, site_port
from tasks.core.processes import alive, place

_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_LOST = 300.0  # seconds after which a request of a process elsewhere that has got no answer counts as answered
_BUSY = 30.0  # seconds to wait for another process' transaction
_WORTH_SAYING = 15.0  # seconds of waiting
_LONGEST_REST = 86_400.0  # seconds; who asks for more is asked again after a day
_TABLES = """
create table if not exists requests
    (id integer primary key, budget text, place text, pid integer, asked real, answered real);
create index if not exists requests_answered on requests (budget, answered);
create table if not exists rests (host text primary key, until real);
create table if not exists received (budget text, minute integer, bytes integer, primary key (budget, minute));
"""

_log = logging.getLogger(__name__)


@dataclass
class Spending:
    """The budgets of a network policy, and where their spending is counted."""

    network: NetworkPolicy
    clock: Callable[[], float] = time.time
    """Seconds since 1970, the same for all processes of a workspace."""
    say: Callable[[str], None] | None = None
    """Told, once, of a budget that is used up and when it goes on; None = the log is."""
    patience: float = math.inf
    """Seconds of waiting above which `take` raises instead."""
    _said: dict[str, float] = field(default_factory=dict)
    _memory: sqlite3.Connection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, host: str, port: int, path: str = "") -> tuple[float, int | None]:
        """Take one request at a host.

        Args:
            host: in any spelling.
            port: its port.
            path: of the address; at Amazon S3 it may name the bucket.

        Returns:
            Seconds to wait before asking again, and None; or 0 and a ticket to hand to `answered` (None where
            the host has no budget).

        Raises:
            TryAgainError: the wait is longer than `patience`.
            WorkspaceError: the file cannot be written.
        """
        found = self.network.budget(host, port, path)
        if found is None:
            return 0.0, None
        name, budget = found
        with self._open() as db:
            now = self.clock()
            _forget(db, name, budget, now=now)
            wait, why = _wait(db, name, budget, now=now)
            if wait <= 0:
                taken = db.execute(
                    "insert into requests (budget, place, pid, asked) values (?, ?, ?, ?)",
                    (name, place(), os.getpid(), now),
                )
                return 0.0, taken.lastrowid
        if wait > self.patience:
            raise TryAgainError(
                f"The budget {name} is used up ({why}).",
                received=f"It goes on at {_moment(now + wait)}.",
                hint="Run the same command again then; `harvestman run` waits for it by itself.",
            )
        if wait >= _WORTH_SAYING:
            self._tell(name, why, now + wait)
        return wait, None

    def answered(self, host: str, port: int, ticket: int | None, *, received: int = 0, path: str = "") -> None:
        """Count a request as answered now, with the bytes of its body; `path` as it was taken with."""
        found = self.network.budget(host, port, path)
        if found is None or ticket is None:
            return
        name, budget = found
        with self._open() as db:
            now = self.clock()
            if any(_windows(budget.requests)):
                db.execute("update requests set answered = ? where id = ?", (now, ticket))
            else:
                db.execute("delete from requests where id = ?", (ticket,))
            if received:
                db.execute(
                    "insert into received values (?, ?, ?) on conflict do update set bytes = bytes + excluded.bytes",
                    (name, int(now // 60), received),
                )

    def rest(self, host: str, port: int, seconds: float) -> None:
        """Note that a host asked not to be asked for some seconds: nobody of this workspace asks it before then."""
        with self._open() as db:
            now = self.clock()
            db.execute("delete from rests where until < ?", (now,))
            db.execute(
                "insert into rests values (?, ?) on conflict do update set until = max(until, excluded.until)",
                (_site(host, port), now + min(seconds, _LONGEST_REST)),
            )

    def resting(self, host: str, port: int) -> float:
        """Return the seconds that a host wants to be left alone yet; 0 = it may be asked."""
        with self._open() as db:
            row = db.execute("select until from rests where host = ?", (_site(host, port),)).fetchone()
        return max(float(row[0]) - self.clock(), 0.0) if row else 0.0

    def rests(self) -> dict[tuple[str, int], float]:
        """Return the seconds that hosts want to be left alone yet, by name and `site_port`.

        Does not wait for a process that writes.
        """
        if self.network.spent and not self.network.spent.exists():
            return {}
        with self._open(begin="begin") as db:
            now = self.clock()
            rows = db.execute("select host, until from rests where until > ?", (now,)).fetchall()
        return {(name, int(port)): until - now for name, _, port, until in ((*h.rpartition(":"), u) for h, u in rows)}

    @contextmanager
    def _open(self, begin: str = "begin immediate") -> Iterator[sqlite3.Connection]:
        """Open one transaction; unless told otherwise, one that no other process can come between."""
        path = self.network.spent
        try:
            if path is None:
                with self._lock:
                    self._memory = self._memory or _connected(":memory:")
                    with _transaction(self._memory, begin) as db:
                        yield db
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(_connected(path)) as opened, _transaction(opened, begin) as db:
                yield db
        except (OSError, sqlite3.Error) as error:
            raise WorkspaceError(
                f"The spending of budgets could not be written to {path}.",
                received=f"{type(error).__name__}: {error}",
                hint="Free some space or mend the permissions. A file that is damaged may be deleted: "
                "what was spent in the last day is forgotten with it.",
            ) from error

    def _tell(self, name: str, why: str, until: float) -> None:
        if self._said.get(name, 0.0) >= until - 1:
            return
        self._said[name] = until
        say = self.say or partial(_log.warning, "%s")
        say(f"The budget {name} is used up ({why}): goes on at {_moment(until)}.")


def _site(host: str, port: int) -> str:
    return f"{host.lower().rstrip('.')}:{site_port(port)}"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _connected(path: Path | str) -> sqlite3.Connection:
    # One connection a call: an SQLite handle must not be used after a fork or, by default, in another thread.
    db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    try:
        db.execute("pragma synchronous = off")  # a power cut may cost the last seconds of counting
        db.executescript(_TABLES)
    except sqlite3.Error:
        db.close()
        raise
    return db


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[sqlite3.Connection]:
    db.execute(begin)
    try:
        yield db
    except BaseException:  # Ctrl-C too must not leave the file locked; raised again
        db.execute("rollback")
        raise
    db.execute("commit")


def _windows(limits: object) -> Iterator[tuple[float, int, str]]:
    for word, seconds in _SECONDS.items():
        amount = getattr(limits, word, None)
        if amount:
            yield seconds, int(amount), word


def _wait(db: sqlite3.Connection, name: str, budget: Budget, *, now: float) -> tuple[float, str]:
    """Return the longest wait that a limit asks for, and that limit in words."""
    waits = [(0.0, "")]
    # Two queries, as no index serves `coalesce(answered, now)`: 41 ms a take with 864,000 rows.
    asking = "select count(*) from requests where budget = ? and answered is null"
    (under_way,) = db.execute(asking, (name,)).fetchone()
    for seconds, most, word in _windows(budget.requests):
        # The request that must fall out of the window before one more fits in: the `most`-th newest.
        row = (
            (now,)
            if under_way >= most
            else db.execute(
                "select answered from requests where budget = ? and answered > ? "
                "order by answered desc limit 1 offset ?",
                (name, now - seconds, most - under_way - 1),
            ).fetchone()
        )
        if row:
            waits.append((max(row[0] + seconds - now, 0.01), f"{most:,} requests a{'n' * (word == 'hour')} {word}"))
    for seconds, most, word in _windows(budget.bytes):
        rows = db.execute(
            "select minute, bytes from received where budget = ? and minute > ? order by minute",
            (name, (now - seconds) // 60 - 1),
        ).fetchall()
        over = sum(amount for _, amount in rows) - most
        for minute, amount in rows:
            if over < 0:
                break
            over -= amount
            if over < 0:
                waits.append(((minute + 1) * 60 + seconds - now, f"{most / 1e9:g} GB a{'n' * (word == 'hour')} {word}"))
    return max(waits)


def _forget(db: sqlite3.Connection, name: str, budget: Budget, *, now: float) -> None:
    """Count as answered what will never be, and drop what no window reaches back to."""
    here = (name, place())
    asking = "select distinct pid from requests where budget = ? and place = ? and answered is null"
    dead = [(now, *here, pid) for (pid,) in db.execute(asking, here).fetchall() if not alive(pid)]
    db.executemany(
        "update requests set answered = ? where budget = ? and place = ? and pid = ? and answered is null", dead
    )
    db.execute(
        "update requests set answered = asked where budget = ? and answered is null and asked < ?", (name, now - _LOST)
    )
    longest = max((seconds for seconds, _, _ in _windows(budget.requests)), default=0.0)
    db.execute("delete from requests where budget = ? and answered < ?", (name, now - longest))
    longest = max((seconds for seconds, _, _ in _windows(budget.bytes)), default=0.0)
    db.execute("delete from received where budget = ? and minute < ?", (name, (now - longest) // 60 - 1))
