"""Figures on their way to the tracker while a model trains, which they must never stop or slow.

Reads nothing, writes nothing here: what does not arrive is replayed later from the spool (search.log_trial).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mlflow.entities import Metric

from tasks.core.errors import HarvestmanError
from tasks.track.config import Tracker
from tasks.track.names import MAX_METRICS
from tasks.track.runs import log_metrics

PAUSE = 60.0  # seconds without another try after a failure
FAREWELL = 10.0  # seconds the end of training waits for figures still on their way
_LOG = logging.getLogger(__name__)


class LiveMetrics:
    """A sink for figures: call it with key, value, step and time (ms since 1970); it returns at once.

    A thread of its own opens the run and sends what has gathered, in batches. When the tracker does not
    answer it warns once, drops what it holds, and tries again `pause` seconds later.

    Args:
        tracker: where.
        start: returns the id of the run, opening it; called in the thread, again after a failure.
        pause: seconds without another try after a failure.
    """

    def __init__(self, tracker: Tracker, start: Callable[[], str], *, pause: float = PAUSE) -> None:
        self.tracker, self.start, self.pause = tracker, start, pause
        self.sent = 0
        self._run_id: str | None = None
        self._warned = False
        self._silent_until = 0.0
        self._waiting: queue.SimpleQueue[Metric | None] = queue.SimpleQueue()
        # daemon: a training process that is told to stop does not wait for a tracker that hangs.
        self._thread = threading.Thread(target=self._work, name="live-metrics", daemon=True)

    def __call__(self, key: str, value: float, step: int, timestamp: int) -> None:  # noqa: PLR0917 - tasks.models calls it
        """Take one figure."""
        self._waiting.put(Metric(key, float(value), int(timestamp), int(step)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is left, for at most FAREWELL seconds."""
        self._waiting.put(None)
        self._thread.join(FAREWELL)

    def _work(self) -> None:
        going = True
        while going:
            gathered, going = self._gather()
            if gathered and time.monotonic() >= self._silent_until:
                self._send(gathered)

    def _gather(self) -> tuple[list[Metric], bool]:
        """Wait for a figure and take those behind it; False once training has ended."""
        gathered: list[Metric] = []
        item = self._waiting.get()
        while item is not None:
            gathered.append(item)
            if len(gathered) == MAX_METRICS:
                return gathered, True
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return gathered, True
        return gathered, False

    def _send(self, figures: list[Metric]) -> None:
        try:
            if self._run_id is None:
                self._run_id = self.start()
            log_metrics(self.tracker, self._run_id, figures)
            self.sent += len(figures)
        except Exception as error:  # noqa: BLE001 - whatever breaks here, training goes on and the spool has it all
            self._silent_until = time.monotonic() + self.pause
            if not self._warned:
                self._warned = True
                what = error.what if isinstance(error, HarvestmanError) else f"{type(error).__name__}: {error}"
                _LOG.warning("%s Training goes on; its figures are kept and sent when it is done.", what)
