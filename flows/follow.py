"""Starts a deployment and follows its flow runs, from their logs, until the last has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
    LogFilterTimestamp,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import LogSort
from prefect.deployments import run_deployment

from flows.progress import OWN
from tasks.core.errors import StopError

LOOK = 1.0  # seconds between two looks
PAGE = 200  # log lines a request
LATE = timedelta(seconds=30)  # how much later than a newer line an older one may come


def run_and_follow(
    deployment: str, parameters: dict[str, object], *, env: dict[str, str], say: Callable[[str], None]
) -> FlowRun:
    """Run a deployment, tell its log lines as they come, and return the finished flow run.

    Args:
        deployment: "flow/deployment".
        parameters: of the flow.
        env: environment variables of the flow run's process.
        say: receives one line at a time.

    Raises:
        StopError: the flow run failed.
    """
    # Prefect types its sync-compatible functions as either kind; called in sync code they are sync.
    started = cast(
        "FlowRun",
        run_deployment(deployment, parameters=parameters, job_variables={"env": env}, timeout=0, as_subflow=False),
    )
    say(f"flow run {started.name} of {deployment}")
    with get_client(sync_client=True) as client:
        lines = _Lines(client, say)
        while True:
            run = client.read_flow_run(started.id)
            lines.tell(_family(client, run.id))
            if run.state is not None and run.state.is_final():
                break
            time.sleep(LOOK)
        time.sleep(LOOK)  # the last lines are sent a moment after the state
        lines.tell(_family(client, run.id))
    if not run.state.is_completed():
        raise StopError(
            f"The flow run {run.name} ended as {run.state.name}.",
            received=run.state.message or "",
            hint=f"Its log: prefect flow-run logs {run.id}",
        )
    return run


def _family(client: SyncPrefectClient, run_id: UUID) -> list[UUID]:
    """Return the run and all runs below it."""
    found, new = [run_id], [run_id]
    while new:
        below = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=new))
        )
        new = [run.id for run in below if run.id not in found]
        found += new
    return found


class _Lines:
    """Log lines told once each; processes send theirs in bundles, so an older line may come later."""

    def __init__(self, client: SyncPrefectClient, say: Callable[[str], None]) -> None:
        self.client, self.say = client, say
        self.told: set[UUID] = set()
        self.since = datetime.now(UTC) - LATE

    def tell(self, runs: list[UUID]) -> None:
        """Tell what is new."""
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=runs), timestamp=LogFilterTimestamp(after_=self.since))
        offset = 0
        while True:
            lines = self.client.read_logs(wanted, limit=PAGE, offset=offset, sort=LogSort.TIMESTAMP_ASC)
            for line in lines:
                if line.id not in self.told:
                    self.told.add(line.id)
                    # Of Prefect's own lines and those of single tasks, only what went wrong is worth a glance here.
                    if line.name.endswith(OWN) or line.level >= logging.WARNING:
                        self.say(line.message)
            offset += len(lines)
            if len(lines) < PAGE:
                break
        if lines:
            self.since = max(self.since, lines[-1].timestamp - LATE)
