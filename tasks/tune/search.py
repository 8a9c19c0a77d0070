"""A search and its trials as files, so that a killed one resumes and no finished trial is repeated.

Owns searches/<fingerprint>/{search.json, trials/<id>/{trial.json, metrics.jsonl}}. A trial counts when
its trial.json is there; it is written whole, after the last figure.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tasks.core import methods
from tasks.core.errors import DataError, StopError
from tasks.core.files import read_json, write_json
from tasks.core.fingerprint import fingerprint
from tasks.core.workspace import Workspace
from tasks.models.config import LearnConfig
from tasks.models.features import Features
from tasks.models.heads import fit_head
from tasks.models.learning import History, Sink
from tasks.tune.config import TuneConfig
from tasks.tune.oracle import Trial, ask, release, tell


@dataclass(frozen=True)
class Search:
    """One search: a data set, what is learnt, what is varied."""

    folder: Path
    config: TuneConfig
    learn: LearnConfig

    @property
    def key(self) -> str:
        """The fingerprint that names it."""
        return self.folder.name

    def trial_folder(self, trial_id: str) -> Path:
        """Where a trial's files lie."""
        return self.folder / "trials" / trial_id

    def next_trial(self, worker: str) -> Trial | None:
        """Ask the oracle, answering at once what is known: trials finished but not told before a kill, and twins.

        Bayesian optimisation proposes the same values again and again once it is sure of them; with the same
        seed they give the same score.
        """
        if len(self.results()) >= self.config.trials:  # Hyperband's oracle has a budget of epochs, not of trials
            return None
        while (trial := ask(self.folder, self.config, worker=worker, max_epochs=self.learn.train.epochs)) is not None:
            known = [
                row for row in self.results() if row["status"] == "COMPLETED" and row["overrides"] == trial.overrides
            ]
            if not known:
                return trial
            if self.result(trial.trial_id) is None:
                twin = known[0] | {"trial_id": trial.trial_id, "same_as": known[0]["trial_id"], "seconds": 0.0}
                write_json(self.trial_folder(trial.trial_id) / "trial.json", twin)
            self.answer(trial.trial_id, known[0]["score"])
        return None

    def answer(self, trial_id: str, score: float | None, message: str = "") -> None:
        """Tell the oracle what became of a trial."""
        tell(self.folder, self.config, trial_id=trial_id, score=score, message=message,
             max_epochs=self.learn.train.epochs)  # fmt: skip

    def give_up(self, trial: Trial, error: str) -> dict[str, Any]:
        """Write down that a trial failed, and tell the oracle. With the same seed it would fail again: no retry."""
        row = {"trial_id": trial.trial_id, "overrides": trial.overrides, "objective": self.config.objective,
               "status": "FAILED", "score": None, "error": error, "epochs": 0, "seconds": 0.0}  # fmt: skip
        write_json(self.trial_folder(trial.trial_id) / "trial.json", row)
        self.answer(trial.trial_id, None, error)
        return row

    def result(self, trial_id: str) -> dict[str, Any] | None:
        """Return what is written of a trial, None while it is unfinished."""
        path = self.trial_folder(trial_id) / "trial.json"
        return dict(read_json(path)) if path.is_file() else None

    def results(self) -> list[dict[str, Any]]:
        """Return all finished trials by id."""
        return [dict(read_json(path)) for path in sorted(self.folder.glob("trials/*/trial.json"))]

    def best(self) -> dict[str, Any]:
        """Return the completed trial with the best score; the lowest id of equals.

        Raises:
            DataError: no trial has completed. (Keras Tuner would hand out a failed trial's values.)
        """
        done = [row for row in self.results() if row["status"] == "COMPLETED"]
        if not done:
            raise DataError("No trial has completed.", hint=f"The trials' errors are in {self.folder / 'trials'}.")
        sign = 1 if self.config.objective == "val_loss" else -1
        return min(done, key=lambda row: (sign * row["score"], row["trial_id"]))


def open_search(workspace: Workspace, *, dataset_digest: str, learn: LearnConfig, config: TuneConfig,
                weights: str | None) -> Search:  # fmt: skip
    """Return the search over one data set with one configuration, resumed where it stood.

    Args:
        workspace: where searches lie.
        dataset_digest: digest of the manifest.
        learn: everything that is not varied, and the defaults of what is.
        config: the recipe's `tune:` block.
        weights: SHA-256 of the backbone's weights; None = random.
    """
    made_by = methods.libraries("keras", "keras-tuner")  # another version would score, and ask, differently
    key = fingerprint(dataset_digest, learn, config, weights, methods.TRIAL, made_by)
    folder = workspace.search(key)
    if not (folder / "search.json").is_file():
        write_json(folder / "search.json", {
            "dataset_digest": dataset_digest, "learn": learn.model_dump(mode="json"),
            "tune": config.model_dump(mode="json"), "weights_sha256": weights,
        })  # fmt: skip
    return Search(folder, config, learn)


def resume(search: Search) -> None:
    """Offer again the trials a killed run left unanswered. For the one process that drives the search."""
    release(search.folder, search.config, max_epochs=search.learn.train.epochs)


def run_trial(search: Search, trial: Trial, features: Features, *, sink: Sink | None = None) -> dict[str, Any]:
    """Train one head, write its files, tell the oracle, and return what is written in trial.json."""
    folder = search.trial_folder(trial.trial_id)
    folder.mkdir(parents=True, exist_ok=True)
    spool = folder / "metrics.jsonl"
    spool.unlink(missing_ok=True)  # of an attempt that was killed
    history, started = History(spool=spool, sink=sink), time.monotonic()
    row: dict[str, Any] = {
        "trial_id": trial.trial_id,
        "overrides": trial.overrides,
        "objective": search.config.objective,
    }
    try:
        learn = search.learn.override(trial.overrides)
        fit_head(features, learn, history)
        kept = history.kept(learn.train)  # what the trial would deliver, not the luckiest epoch
        row |= {"status": "COMPLETED", "score": kept[search.config.objective], "best_epoch": kept["epoch"]}
    except (StopError, tf.errors.ResourceExhaustedError) as error:
        # Diverged, or too large for the device: a bad corner of the space, not the end of the search.
        return search.give_up(trial, str(error))
    row |= {"epochs": len(history.rows), "seconds": round(time.monotonic() - started, 3)}
    write_json(folder / "trial.json", row)
    search.answer(trial.trial_id, row["score"])
    return row
