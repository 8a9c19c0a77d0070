"""Flow runs whose process is gone: told to the Prefect server, which would show them as running for ever.

Reads and writes flow run states through the server's HTTP API. A run that is running or pending takes a
place in its pool, so one lost run on the gpu pool (one place) would block every training after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from flows.stack.state import Stack

_UNFINISHED = ["RUNNING", "PENDING", "CANCELLING"]
_PAGE = 200  # the server's largest page
_ANSWER = 10.0  # seconds


def end_lost_runs(stack: Stack, pools: Sequence[str]) -> int:
    """Set the unfinished runs of `pools`, and their sub-flow runs in the same process, to Crashed.

    Call it only when no process of these pools' workers is left.

    Returns:
        The number of runs that were changed; 0 also when the server does not answer, which then
        is asked again by the next `up`.
    """
    if not pools:
        return 0
    try:
        with httpx.Client(base_url=stack.prefect_api_url, timeout=_ANSWER, trust_env=False) as api:
            return _end(api, _unfinished(api, work_pools={"name": {"any_": list(pools)}}))
    except httpx.HTTPError:
        return 0


def _end(api: httpx.Client, runs: list[dict[str, Any]]) -> int:
    count = 0
    while runs:
        for run in runs:
            state = {"type": "CRASHED", "name": "Crashed", "message": "Its worker was stopped or killed."}
            api.post(f"/flow_runs/{run['id']}/set_state", json={"state": state, "force": True}).raise_for_status()
        count += len(runs)
        children = _unfinished(api, parent_flow_run_id={"any_": [run["id"] for run in runs]})
        # A child with a pool of its own is another process's run.
        runs = [child for child in children if child.get("work_pool_name") is None]
    return count


def _unfinished(api: httpx.Client, *, work_pools: dict[str, Any] | None = None, **more: object) -> list[dict[str, Any]]:
    query: dict[str, Any] = {"flow_runs": {"state": {"type": {"any_": _UNFINISHED}}, **more}, "limit": _PAGE}
    if work_pools:
        query["work_pools"] = work_pools
    answer = api.post("/flow_runs/filter", json=query).raise_for_status()
    return list(answer.json())
