"""Prefect's handle on ingest: one task is one batch of addresses.

Reads a batch file; writes images and ledger rows through `run_batch`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from prefect import get_run_logger, task
from prefect.runtime import task_run

from tasks.core.network import NetworkPolicy
from tasks.core.tables import KEPT
from tasks.core.waiting import FOLLOWED
from tasks.core.workspace import Workspace
from tasks.ingest.batch import run_batch
from tasks.ingest.config import IngestConfig
from tasks.ingest.journal import Row

_EVERY = 10.0  # seconds between two lines of a batch that takes its time


@dataclass
class _Report:
    """Counts rows, from any thread, and tells the task run's log how it goes."""

    log: logging.Logger
    outcomes: Counter[str] = field(default_factory=Counter)
    received: int = 0
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, row: Row) -> None:
        with self.lock:
            self.outcomes[row["outcome"]] += 1
            self.received += row["received"]
            now = time.monotonic()
            if now - self.told > _EVERY:
                self.told = now
                self.tell("so far")

    def tell(self, when: str) -> None:
        total, seconds = self.outcomes.total(), max(time.monotonic() - self.started, 1e-9)
        refusals = ", ".join(f"{number} {slug}" for slug, number in self.outcomes.most_common() if slug != KEPT)
        self.log.info(
            "%s: %d of %d addresses kept in %.1f s (%.1f images/s, %.1f MB/s); refused: %s",
            when, self.outcomes[KEPT], total, seconds, total / seconds, self.received / seconds / 1e6,
            refusals or "none",
        )  # fmt: skip


def _name() -> str:
    return f"ingest {Path(task_run.parameters['batch']).stem}"


@task(name="ingest-batch", task_run_name=_name)
def ingest_batch(*, batch: str, workspace: str, config: IngestConfig, network: NetworkPolicy) -> dict[str, Any]:
    """Run the batch file `batch` and log its speed; return addresses by outcome, and bytes received."""
    # Prefect hands out an adapter that has getChild too, which its type leaves out.
    log = cast("logging.Logger", get_run_logger())
    report = _Report(log)
    outcomes = run_batch(
        Path(batch),
        workspace=Workspace(Path(workspace)),
        config=config,
        network=network,
        on_row=report.add,
        on_wait=partial(log.getChild(FOLLOWED).warning, "%s"),
    )
    report.tell("done")
    return {"outcomes": outcomes, "received": report.received}
