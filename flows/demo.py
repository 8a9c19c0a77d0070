"""The demonstration: servers and workers up, a rehearsal through the deployments, a summary, all down again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from rich.console import Console

from flows.recipe import load_recipe
from flows.settings import Settings
from flows.stack import Stack, down, stack_environment, up
from flows.stack.services import shipped
from flows.summary import Standing, show, summarise
from tasks.rehearse.stage import Rehearsal, rehearse, serving

DEPLOYMENT = "pipeline/pipeline"


def run_demo(settings: Settings, console: Console, *, keep: bool, per_class: int, seed: int) -> None:
    """Show the main job from addresses to a registered model.

    Args:
        settings: names the workspace.
        console: receives progress and the summary.
        keep: leave servers and workers running.
        per_class: photos painted of each class.
        seed: of the photos and of the site's misbehaviour.
    """
    started = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - started:5.0f} s  {line}", highlight=False, markup=False, soft_wrap=True)

    stack = up(settings, say=say)
    try:
        # Set before Prefect is imported: its client reads the address once.
        os.environ.update(stack_environment(stack))
        say(f"Prefect {stack.prefect_ui_url}   MLflow {stack.mlflow_uri}")
        say("painting photos and stocking the photo site")
        folder = settings.folders.root / "rehearsals" / "demo"
        rehearsal = rehearse(
            shipped("recipes/demo.yaml"), folder, photos=None, observations=None, per_class=per_class, seed=seed
        )
        with serving(rehearsal):
            _run(rehearsal, settings, say)
        console.print()
        show(summarise(Standing(load_recipe(rehearsal.recipe), settings.folders)), console)
        _where(stack, console, keep=keep)
    finally:
        if not keep:
            down(settings, say=say)


def _run(rehearsal: Rehearsal, settings: Settings, say: Callable[[str], None]) -> None:
    from flows.follow import run_and_follow  # noqa: PLC0415 - imports Prefect, which must find the stack's address

    values = settings.model_copy(update={"allowed_hosts": rehearsal.allowed_hosts, "apis": rehearsal.apis})
    run_and_follow(
        DEPLOYMENT,
        {"recipe": str(rehearsal.recipe), "train_on": "gpu"},
        env=values.exported(),
        say=say,
    )


def _where(stack: Stack, console: Console, *, keep: bool) -> None:
    console.print()
    if keep:
        console.print(f"Prefect: {stack.prefect_ui_url}/runs    MLflow: {stack.mlflow_uri}", highlight=False)
        console.print("make down (or harvestman down) stops them.", style="dim")
    else:
        console.print("To look around in the Prefect and MLflow pages: make up (or harvestman up)", highlight=False)
        console.print(f"They will be at {stack.prefect_ui_url} and {stack.mlflow_uri}.", style="dim", highlight=False)
