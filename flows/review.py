"""Where a flow waits for a person: a deployed run is suspended, one on a terminal ends with what to do.

Owns the waiting and the way back. Reads collections/<recipe>/review/; a suspended run starts again from the top,
and its earlier steps have nothing left to do.
"""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import prefect.runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.flow_runs import resume_flow_run, suspend_flow_run

from flows.context import Context
from flows.progress import say
from tasks.core.errors import StopError


def is_step() -> bool:
    """Whether this flow run is a step of another one: Prefect suspends whole runs only."""
    return bool(prefect.runtime.flow_run.parent_flow_run_id)


def wait_for_decisions(context: Context, waiting: dict[str, Any]) -> None:
    """Suspend this flow run until it is resumed; never returns.

    Args:
        context: the flow run's surroundings.
        waiting: `open` images of the review list at `path`, and the `digest` of what is open.

    Raises:
        StopError: this run belongs to no deployment, so nothing could start it again.
    """
    told = f"harvestman decide {context.path} {waiting['path']}"
    if not prefect.runtime.deployment.id:
        raise StopError(
            f"{waiting['open']} images wait for a person's decision.",
            received=f"`curate.review` is `required`; the list: {waiting['path']}",
            hint=f"Fill in its column `verdict` (keep, reject, relabel) and run: {told}; then repeat this command.",
        )
    say(f"review    {waiting['open']} images wait for a decision: {waiting['path']}; then: {told}")
    with get_client(sync_client=True) as client:
        tags = {*prefect.runtime.flow_run.tags, _tag(context)}
        client.update_flow_run(UUID(prefect.runtime.flow_run.id), tags=sorted(tags))
    for turn in itertools.count():
        # A key that has been resumed before lets the run pass: whoever resumes without deciding is waited for again.
        suspend_flow_run(key=f"{waiting['digest']}-{turn}")


def resume_waiting(context: Context) -> list[str]:
    """Resume the suspended flow runs of the recipe on this Prefect server; return their names.

    They are found by the recipe's name: its path may be another one where they run. One of another workspace looks
    at its own list and waits again.
    """
    names = []
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=_suspended(context)):
            resume_flow_run(run.id)
            names.append(run.name)
    return names


def _suspended(context: Context) -> FlowRunFilter:
    return FlowRunFilter(
        tags=FlowRunFilterTags(all_=[_tag(context)]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])),
    )


def _tag(context: Context) -> str:
    return f"harvestman.waiting.{context.recipe.name}"
