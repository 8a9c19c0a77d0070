"""The flow `pipeline`: collect, curate, train. Training goes to another work pool when told to."""

from __future__ import annotations

from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from flows.collect import collect
from flows.context import Context, open_context, run_name
from flows.curate import curate
from flows.latest import latest
from flows.preflight import preflight
from flows.progress import say
from flows.train import train
from tasks.core.errors import StopError

TRAIN = "train/train"


@flow(name="pipeline", flow_run_name=run_name)
def pipeline(recipe: str, train_on: str | None = None, retry: tuple[str, ...] = ()) -> dict[str, Any]:
    """Take a recipe from its addresses to a registered model.

    Args:
        recipe: path of the recipe, readable where the flow runs.
        train_on: work pool of the deployment `train`, e.g. `gpu`; none trains in this process.
        retry: outcomes to ask again, whatever their age, e.g. ["timeout", "rate-limited"].

    Returns:
        What `collect`, `curate` and `train` return, under those names.
    """
    context = open_context(recipe)
    preflight(context.recipe, context.settings)
    collected = collect(recipe, retry=retry)
    dataset = curate(recipe)
    model = dispatch(context, train_on) if train_on else train(recipe)
    return {"collect": collected, "curate": dataset, "train": model}


def dispatch(context: Context, pool: str) -> dict[str, Any]:
    """Run the deployment `train` on the work pool `pool` and wait for it.

    Raises:
        StopError: the training failed; its own message is on its page.
    """
    say(f"train     sent to the work pool {pool}")
    # Prefect types its sync-compatible functions as either kind; called in sync code they are sync.
    run = cast(
        "FlowRun",
        run_deployment(
            TRAIN,
            parameters={"recipe": str(context.path)},
            job_variables={"env": context.settings.exported()},
        ),
    )
    # run_deployment waits, but has not always raised for a run that failed.
    if run.state is None or not run.state.is_completed():
        state = run.state.name if run.state else "unknown"
        message = (run.state.message or "") if run.state else ""
        raise StopError(
            f"The training on the work pool {pool} ended as {state}.",
            received=message,
            hint=f"Its log: prefect flow-run logs {run.id}",
        )
    return dict(latest(context)["model"])
