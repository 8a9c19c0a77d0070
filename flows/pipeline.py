"""The flow `pipeline`: collect, curate, train. Training goes to another work pool when told to."""

from __future__ import annotations

import time
from typing import Any, Literal, cast
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from flows.collect import collect
from flows.context import Context, open_context, run_name
from flows.curate import curate
from flows.latest import latest
from flows.preflight import preflight
from flows.progress import say
from flows.review import wait_for_decisions
from flows.train import train
from tasks.core.errors import StopError

TRAIN = "train/train"
LOOK = 2.0  # seconds between two looks at a training elsewhere
UNTAKEN = 60.0  # seconds after which a run that no worker has begun is worth a word


Until = Literal["collect", "curate", "train"]


@flow(name="pipeline", flow_run_name=run_name)
def pipeline(
    recipe: str, *, train_on: str | None = None, retry: tuple[str, ...] = (), until: Until = "train"
) -> dict[str, Any]:
    """Take a recipe from its addresses to a registered model.

    Args:
        recipe: path of the recipe, readable where the flow runs.
        train_on: work pool of the deployment `train`, e.g. `gpu`; none trains in this process.
        retry: outcomes to ask again, whatever their age, e.g. ["timeout", "rate-limited"].
        until: the last step to take: `curate` ends with the data set.

    Returns:
        What `collect`, `curate` and `train` return, under those names, as far as they were run.
    """
    context = open_context(recipe)
    preflight(context.recipe, context.settings, trains=until == "train")
    done: dict[str, Any] = {"collect": collect(recipe, retry=retry)}
    if until == "collect":
        return done
    done["curate"] = curate(recipe)
    if waiting := done["curate"].get("review"):
        wait_for_decisions(context, waiting)
    if until == "train":
        done["train"] = dispatch(context, train_on) if train_on else train(recipe)
    return done


def dispatch(context: Context, pool: str) -> dict[str, Any]:
    """Run the deployment `train` on the work pool `pool` and wait for it.

    Raises:
        StopError: there is no such deployment on that pool, or the training failed; its own message is on its page.
    """
    with get_client(sync_client=True) as client:
        _check_pool(client, pool)
        # Prefect types its sync-compatible functions as either kind; called in sync code they are sync.
        run = cast(
            "FlowRun",
            run_deployment(
                TRAIN,
                parameters={"recipe": str(context.path)},
                job_variables={"env": context.settings.exported()},
                timeout=0,
            ),
        )
        say(f"train     sent to the work pool {pool}")
        state = _wait(client, run.id, pool)
    if not state.is_completed():
        raise StopError(
            f"The training on the work pool {pool} ended as {state.name}.",
            received=state.message or "",
            hint=f"Its log: prefect flow-run logs {run.id}",
        )
    return dict(latest(context)["model"])


def _check_pool(client: SyncPrefectClient, pool: str) -> None:
    try:
        found = client.read_deployment_by_name(TRAIN).work_pool_name
    except ObjectNotFound:
        found = None
    if found != pool:
        raise StopError(
            f"The deployment {TRAIN} does not run on the work pool {pool}.",
            received=f"It runs on {found}." if found else "This Prefect server has no such deployment.",
            hint="`harvestman up` registers it for the pool gpu; deploy/prefect.yaml says which pool it is for.",
        )


def _wait(client: SyncPrefectClient, run_id: UUID, pool: str) -> State[Any]:
    """Wait until the run has ended; say so when nobody takes it up."""
    told, started = False, time.monotonic()
    while True:
        state = client.read_flow_run(run_id).state
        if state is not None and state.is_final():
            return state
        if not told and time.monotonic() - started > UNTAKEN and (state is None or not state.is_running()):
            told = True
            say(f"train     nobody has taken it up yet: prefect worker start --pool {pool}")
        time.sleep(LOOK)
