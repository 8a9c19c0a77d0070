"""Prefect's view of training the winner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task

from tasks.core.workspace import Workspace
from tasks.models.config import LearnConfig
from tasks.track.config import Tracker
from tasks.track.live import LiveMetrics
from tasks.train.winner import Inputs, train_winner


@task(name="train the winner")
def train_best(
    *,
    workspace: str,
    dataset: str,
    folders: dict[str, str],
    weights: str | None,
    learn: LearnConfig,
    facts: dict[str, Any],
    tracker: Tracker,
    run_id: str,
) -> str:
    """Refit the best trial, fine-tune where asked, predict every image; return the folder of the fit.

    Args:
        workspace: its folder.
        dataset: folder of a data set version.
        folders: what `prepare` returned.
        weights: the backbone's weights file; None = random weights.
        learn: the winning configuration.
        facts: kept in fit.json (search, trial, overrides).
        tracker: MLflow, and the experiment in it.
        run_id: the search's run, which receives the curves as they come.
    """
    inputs = Inputs(
        Path(dataset), Path(folders["prepared"]), Path(folders["features"]), Path(weights) if weights else None
    )
    with LiveMetrics(tracker, lambda: run_id) as sink:
        folder = train_winner(Workspace(Path(workspace)), inputs, learn, facts=facts, sink=sink)
    get_run_logger().info("fit %s is ready", folder.name)
    return str(folder)
