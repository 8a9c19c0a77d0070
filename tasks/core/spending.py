"""What budgets have left: one SQLite file a workspace, shared by all its processes and kept over restarts.

A request counts from the moment it is allowed until `window` seconds after its *answer*, so that no delay on
the way can make a site see more than the budget in any window of its own clock. Bytes are counted by minute, when
they have come: what is on its way when they are used up still comes.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tasks.core.errors import WorkspaceError
from tasks.core.network import Budget, NetworkPolicy
from tasks.core.processes import alive, place

_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_LOST = 300.0  # seconds after which a request of a process elsewhere that has got no answer counts as answered
_BUSY = 30.0  # seconds to wait for another process' transaction
_WORTH_SAYING = 15.0  # seconds of waiting
_TABLES = """
create table if not exists requests
    (id integer primary key, budget text, place text, pid integer, asked real, answered real);
create index if not exists requests_answered on requests (budget, answered);
create table if not exists received (budget text, minute integer, bytes integer, primary key (budget, minute));
"""

_log = logging.getLogger(__name__)


@dataclass
class Spending:
    """The budgets of a network policy, and where their spending is counted."""

    network: NetworkPolicy
    clock: Callable[[], float] = time.time
    """Seconds since 1970, the same for all processes of a workspace."""
    _said: dict[str, float] = field(default_factory=dict)
    _memory: sqlite3.Connection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, host: str, port: int) -> tuple[float, int | None]:
        """Take one request at a host.

        Returns:
            Seconds to wait before asking again, and None; or 0 and a ticket to hand to `answered` (None where
            the host has no budget).

        Raises:
            WorkspaceError: the file cannot be written.
        """
        found = self.network.budget(host, port)
        if found is None:
            return 0.0, None
        name, budget = found
        with self._open() as db:
            now = self.clock()
            _forget(db, name, now)
            wait, why = _wait(db, name, budget, now=now)
            if wait <= 0:
                taken = db.execute(
                    "insert into requests (budget, place, pid, asked) values (?, ?, ?, ?)",
                    (name, place(), os.getpid(), now),
                )
                return 0.0, taken.lastrowid
        if wait >= _WORTH_SAYING:
            self._say(name, why, now + wait)
        return wait, None

    def answered(self, host: str, port: int, ticket: int | None, *, received: int = 0) -> None:
        """Count a request as answered now, with the bytes of its body."""
        found = self.network.budget(host, port)
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

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open one transaction that no other process can come between."""
        path = self.network.spent
        try:
            if path is None:
                with self._lock:
                    self._memory = self._memory or _connected(":memory:")
                    with _transaction(self._memory) as db:
                        yield db
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(_connected(path)) as opened, _transaction(opened) as db:
                yield db
        except (OSError, sqlite3.Error) as error:
            raise WorkspaceError(
                f"The spending of budgets could not be written to {path}.",
                received=f"{type(error).__name__}: {error}",
                hint="Free some space or mend the permissions. A file that is damaged may be deleted: "
                "what was spent in the last day is forgotten with it.",
            ) from error

    def _say(self, name: str, why: str, until: float) -> None:
        if self._said.get(name, 0.0) >= until - 1:
            return
        self._said[name] = until
        moment = datetime.fromtimestamp(until).astimezone()
        _log.warning("The budget %s is used up (%s): goes on at %s.", name, why, f"{moment:%Y-%m-%d %H:%M:%S %Z}")


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
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    db.execute("begin immediate")
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
    for seconds, most, word in _windows(budget.requests):
        # The request that must fall out of the window before one more fits in: the `most`-th newest.
        row = db.execute(
            "select coalesce(answered, ?) from requests where budget = ? and coalesce(answered, ?) > ? "
            "order by 1 desc limit 1 offset ?",
            (now, name, now, now - seconds, most - 1),
        ).fetchone()
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


def _forget(db: sqlite3.Connection, name: str, now: float) -> None:
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
    longest = _SECONDS["day"]
    db.execute("delete from requests where budget = ? and answered < ?", (name, now - longest))
    db.execute("delete from received where budget = ? and minute < ?", (name, (now - longest) // 60 - 1))
