"""Prefect's view of a search: ask for a trial, run one."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task

from tasks.core.errors import ServerUnavailableError
from tasks.models.config import LearnConfig
from tasks.models.features import Features
from tasks.track.config import Tracker
from tasks.track.live import LiveMetrics
from tasks.track.search import log_trial, start_trial
from tasks.tune.config import TuneConfig
from tasks.tune.oracle import Trial
from tasks.tune.search import Search, run_trial


@task(name="ask for a trial", task_run_name="ask for a trial")
def ask_trial(*, search: str, config: TuneConfig, learn: LearnConfig, worker: str) -> dict[str, Any] | None:
    """Return the next trial as {"trial_id", "overrides"}, or None when the search is over."""
    trial = Search(Path(search), config, learn).next_trial(worker)
    return None if trial is None else {"trial_id": trial.trial_id, "overrides": trial.overrides}


@task(name="trial", task_run_name="trial {trial[trial_id]}")
def try_trial(
    *,
    search: str,
    config: TuneConfig,
    learn: LearnConfig,
    trial: dict[str, Any],
    folders: dict[str, str],
    tracker: Tracker,
    parent: str,
) -> dict[str, Any]:
    """Train one head, tell the oracle, log the trial's run.

    Args:
        search: the search's folder.
        config: the recipe's `tune:` block.
        learn: the configuration that is varied.
        trial: what `ask_trial` returned.
        folders: what `prepare` returned.
        tracker: MLflow, and the experiment in it.
        parent: id of the search's run.

    Returns:
        What is written in the trial's trial.json.
    """
    features = Features.load(Path(folders["features"]), Path(folders["prepared"]))
    asked = Trial(trial["trial_id"], trial["overrides"])
    of = Search(Path(search), config, learn)
    folder = of.trial_folder(asked.trial_id)
    begin = partial(start_trial, tracker, parent, trial=folder, overrides=asked.overrides)
    with LiveMetrics(tracker, begin) as sink:
        row = run_trial(of, asked, features, sink=sink)
    with suppress(
        ServerUnavailableError
    ):  # the trial's files hold all of it: the end of the search logs what is missing
        log_trial(tracker, parent, folder)
    chosen = ", ".join(f"{name}={value}" for name, value in asked.overrides.items()) or "the recipe as it is"
    figure = f"{row['objective']} {row['score']:.4f}" if row["score"] is not None else row["error"]
    get_run_logger().info(
        "trial %s: %s (%s; %d epochs, %.1f s)", asked.trial_id, figure, chosen, row["epochs"], row["seconds"]
    )
    return row
