"""Progress a person can follow: a bar in a terminal, lines in the log, an artifact on the Prefect page.

`say` and `following` are all a flow calls; where they show is decided once, by `show_on`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from tasks.core.waiting import FOLLOWED

LOG_EVERY = 10.0  # seconds between two lines of the log
PAGE_EVERY = 2.0  # seconds between two updates of the Prefect page: each is a request and a row there
OWN = FOLLOWED  # child of the run's logger, so that a follower can tell our lines from Prefect's
_screen: list[Console] = []


class _OnScreen(logging.Handler):
    """Shows what our tasks tell a person: they know only their log. A follower reads the same from Prefect."""

    def emit(self, record: logging.LogRecord) -> None:
        _show(record.getMessage())


_of_tasks = _OnScreen()


def show_on(console: Console | None) -> None:
    """Show progress on `console` from now on (None: on no console)."""
    _screen[:] = [console] if console is not None else []
    logging.getLogger(f"prefect.task_runs.{OWN}").addHandler(_of_tasks)


def say(text: str) -> None:
    """Tell one thing, on the console and in the flow run's log."""
    _show(text)
    try:
        _log().info("%s", text)
    except MissingContextError:
        logging.getLogger(__name__).info("%s", text)


def _show(text: str) -> None:
    for console in _screen:
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _log() -> logging.Logger:
    # Prefect hands out an adapter that has getChild too, which its type leaves out.
    return cast("logging.Logger", get_run_logger()).getChild(OWN)


@dataclass
class Follower:
    """One piece of work whose length is known."""

    what: str
    total: int
    artifact: UUID | None = None
    bar: Progress | None = None
    _started: float = field(default_factory=time.monotonic)
    _logged: float = field(default_factory=time.monotonic)
    _paged: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long the work has taken so far."""
        return time.monotonic() - self._started

    def at(self, done: int, note: str = "") -> None:
        """Show that `done` of the work is done."""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=done, note=note)
        now = time.monotonic()
        if now - self._logged > LOG_EVERY:
            self._logged = now
            left = f", {(self.total - done) * self.seconds / done:.0f} s left" if done else ""
            _log().info("%s: %d of %d%s; %s", self.what, done, self.total, left, note)
        if self.artifact is not None and now - self._paged > PAGE_EVERY:
            self._paged = now
            update_progress_artifact(self.artifact, progress=100 * done / max(self.total, 1))


@contextmanager
def following(what: str, total: int, key: str) -> Iterator[Follower]:
    """Follow a piece of work in a flow run.

    Args:
        what: a word or two, e.g. "fetch".
        total: how much there is to do.
        key: the artifact's key: lower-case letters, digits and dashes.
    """
    # Prefect types its sync-compatible functions as either kind; called in sync code they are sync.
    artifact = cast("UUID", create_progress_artifact(progress=0.0, key=key, description=f"{what}: {total} in all"))
    follower = Follower(what, total, artifact)
    bar = _bar() if _screen and _screen[0].is_terminal else None
    if bar is None:
        yield follower
    else:
        with bar:
            bar.add_task(what, total=total, note="")
            follower.bar = bar
            yield follower
    update_progress_artifact(artifact, progress=100.0)


def _bar() -> Progress:
    note = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # what a narrow terminal has no room for, of this
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}", style="dim", table_column=note),
        console=_screen[0],
        transient=True,
        expand=True,
    )
