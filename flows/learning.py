"""The steps of a training run in their order: prepare, search, refit, evaluate, track, register."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows.context import Context
from flows.progress import following, say
from flows.summary import rounded
from tasks.core.errors import HarvestmanError, WeightsError
from tasks.core.files import locked
from tasks.core.fingerprint import file_digest, fingerprint
from tasks.evaluate.task import evaluate_fit
from tasks.models.backbones import find_weights
from tasks.models.config import HeadConfig, LearnConfig
from tasks.prepare.task import prepare
from tasks.register.task import register_fit
from tasks.track.search import fail_search_run
from tasks.track.task import track_search, track_trials, track_winner
from tasks.train.task import train_best
from tasks.tune.oracle import Trial
from tasks.tune.search import Search, open_search, resume
from tasks.tune.task import ask_trial, try_trial


def learn(context: Context, dataset: dict[str, Any], weights: Path | None) -> dict[str, Any]:
    """Search, refit the winner, judge it, register it; every step that is done already is skipped.

    Args:
        context: the flow run's surroundings.
        dataset: the data set version.
        weights: the backbone's weights file; None = random.
    """
    recipe = context.recipe
    digest = file_digest(weights) if weights else None
    search = open_search(
        context.workspace, dataset_digest=dataset["digest"], learn=recipe.learn, config=recipe.tune, weights=digest
    )
    with locked(search.folder / ".search.lock", f"the search {search.key}"):
        run = track_search(
            tracker=context.tracker, search=str(search.folder), dataset=dataset["path"],
            params=recipe.model_dump(mode="json", include={"model", "augment", "balance", "train", "tune"}),
            origin=context.origin, weights_sha256=digest,
            name=f"{recipe.model.backbone} on {dataset['version'][:8]}",
        )  # fmt: skip
        try:
            return _learn(context, search, dataset, run=run)
        except Exception as error:  # told to the tracker whatever it is, then raised again
            with suppress(HarvestmanError):  # the tracker may be what failed
                fail_search_run(context.tracker, run["run_id"], str(error))
            raise


def _learn(context: Context, search: Search, dataset: dict[str, Any], *, run: dict[str, str]) -> dict[str, Any]:
    recipe = context.recipe
    tune(context, search, dataset, run=run["run_id"])
    best = search.best()
    say(
        f"tune      best of {len(search.results())} trials: {best['trial_id']}, {best['objective']} {best['score']:.4f}"
    )
    winner = recipe.learn.override(best["overrides"])
    folders = _prepare_for(context, dataset, winner)
    fit = train_best(
        workspace=str(context.workspace.root), dataset=dataset["path"], folders=folders,
        weights=_weights(context, winner), learn=winner, tracker=context.tracker, run_id=run["run_id"],
        facts={"search": search.key, "trial_id": best["trial_id"], "overrides": best["overrides"]},
    )  # fmt: skip
    figures = evaluate_fit(fit=fit, dataset=dataset["path"], config=recipe.evaluate)
    track_trials(tracker=context.tracker, parent=run["run_id"], search=str(search.folder))
    track_winner(tracker=context.tracker, run_id=run["run_id"], fit=fit, dataset=dataset["path"], origin=context.origin)
    registered = register_fit(
        tracker=context.tracker, run_id=run["run_id"], fit=fit, dataset=dataset["path"], name=recipe.registered_name
    )
    return {
        "fit": fit, "search": search.key, "trials": len(search.results()), "best": best["trial_id"],
        "overrides": best["overrides"], "run": run, "registered": registered, "dataset": dataset["version"],
        "figures": figures, "folders": folders,
    }  # fmt: skip


def tune(context: Context, search: Search, dataset: dict[str, Any], *, run: str) -> None:
    """Ask the oracle for trials and run them until it has no more."""
    resume(search)
    done = len(search.results())
    if done:
        say(f"tune      resumed: {done} trials are finished")
    worker = f"{socket.gethostname()}:{os.getpid()}"
    folders: dict[str, dict[str, str]] = {}
    with following("tune", context.recipe.tune.trials, context.key("tune")) as follower:
        follower.at(done)
        while True:
            trial = ask_trial(search=str(search.folder), config=search.config, learn=search.learn, worker=worker)
            if trial is None:
                return
            row = _run(context, search, trial, dataset=dataset, folders=folders, run=run)
            score = "failed" if row["score"] is None else f"{row['objective']} {row['score']:.4f}"
            chosen = ", ".join(f"{name.split('.')[-1]}={rounded(value)}" for name, value in trial["overrides"].items())
            say(f"tune      trial {trial['trial_id']}: {score}  {chosen}")
            follower.at(len(search.results()))


def _run(
    context: Context,
    search: Search,
    trial: dict[str, Any],
    *,
    dataset: dict[str, Any],
    folders: dict[str, dict[str, str]],
    run: str,
) -> dict[str, Any]:
    """Run one trial; a combination of values that no model can have is a failed trial."""
    try:
        varied = context.recipe.learn.override(trial["overrides"])
        needed = _features_key(varied)
        if needed not in folders:
            folders[needed] = _prepare_for(context, dataset, varied)
    except (ValidationError, WeightsError) as error:
        return search.give_up(Trial(trial["trial_id"], trial["overrides"]), str(error))
    return dict(
        try_trial(
            search=str(search.folder),
            config=search.config,
            learn=search.learn,
            trial=trial,
            folders=folders[needed],
            tracker=context.tracker,
            parent=run,
        )
    )


def _features_key(learn: LearnConfig) -> str:
    """Name what decides the features; trials that vary only the rest share them."""
    head = HeadConfig(pooling=learn.model.head.pooling)
    return fingerprint(learn.model.model_copy(update={"head": head}), learn.augment, learn.train.seed)


def _prepare_for(context: Context, dataset: dict[str, Any], learn: LearnConfig) -> dict[str, str]:
    """Return the features a configuration needs, made where they are missing."""
    return dict(
        prepare(
            workspace=str(context.workspace.root),
            dataset=dataset["path"],
            learn=learn,
            weights=_weights(context, learn),
        )
    )


def _weights(context: Context, learn: LearnConfig) -> str | None:
    model = learn.model
    found = find_weights(
        model.backbone, alpha=model.alpha, size=model.image_size, weights=model.weights,
        folders=context.settings.weight_folders,
    )  # fmt: skip
    return str(found) if found else None
