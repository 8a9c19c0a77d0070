"""Prefect's handle on ingest: one task is one batch of addresses.

Reads a batch file; writes images and ledger rows through `run_batch`.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import cast

from prefect import get_run_logger, task

from tasks.core.network import NetworkPolicy
from tasks.core.tables import KEPT
from tasks.core.waiting import FOLLOWED
from tasks.core.workspace import Workspace
from tasks.ingest.batch import run_batch
from tasks.ingest.config import IngestConfig
from tasks.ingest.journal import Row


@task(name="ingest-batch", task_run_name="ingest {batch}")
def ingest_batch(*, batch: str, workspace: str, config: IngestConfig, network: NetworkPolicy) -> dict[str, int]:
    """Run the batch file `batch` and log its speed; return addresses by outcome."""
    received = 0

    def count(row: Row) -> None:
        nonlocal received
        received += row.get("bytes") or 0

    log = get_run_logger()
    # Prefect hands out an adapter that has getChild too, which its type leaves out.
    followed = cast("logging.Logger", log).getChild(FOLLOWED)
    start = time.perf_counter()
    outcomes = run_batch(
        Path(batch),
        workspace=Workspace(Path(workspace)),
        config=config,
        network=network,
        on_row=count,
        on_wait=partial(followed.warning, "%s"),
    )
    seconds = max(time.perf_counter() - start, 1e-9)
    total = sum(outcomes.values())
    refusals = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items() if outcome != KEPT)
    log.info(
        "%d of %d addresses kept in %.1f s (%.0f images/s, %.1f MB/s); refused: %s",
        outcomes.get(KEPT, 0), total, seconds, total / seconds, received / seconds / 1e6, refusals or "none",
    )  # fmt: skip
    return outcomes
