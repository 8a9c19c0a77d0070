from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.core.errors import DataError
from tasks.core.files import write_json
from tasks.core.workspace import Workspace
from tasks.models.config import LearnConfig
from tasks.models.features import Features
from tasks.tune.config import TuneConfig
from tasks.tune.search import Search, open_search, resume, run_trial

LEARN = LearnConfig.model_validate({"train": {"epochs": 4, "learning_rate": 0.02, "early_stopping": None}})
TUNE = TuneConfig.model_validate(
    {"trials": 3, "space": {"train.learning_rate": {"min": 1e-3, "max": 1e-1, "log": True}}}
)


@pytest.fixture
def search(workspace: Workspace) -> Search:
    return open_search(workspace, dataset_digest="d", learn=LEARN, config=TUNE, weights=None)


def run(search: Search, features: Features, *, most: int = 99) -> list[str]:
    ran: list[str] = []
    while len(ran) < most and (trial := search.next_trial("w")) is not None:
        run_trial(search, trial, features)
        ran.append(trial.trial_id)
    return ran


def test_all_trials_run_once_and_the_best_is_the_best(search: Search, features: Features) -> None:
    assert run(search, features) == ["0", "1", "2"]
    rows = search.results()
    assert [row["status"] for row in rows] == ["COMPLETED"] * 3
    assert search.best()["score"] == max(row["score"] for row in rows)
    assert run(search, features) == []


def test_a_resumed_search_repeats_no_finished_trial(search: Search, features: Features) -> None:
    assert run(search, features, most=1) == ["0"]
    assert search.next_trial("killed") is not None  # asked, never answered
    resume(search)
    assert run(search, features) == ["1", "2"]


def test_a_trial_killed_between_its_file_and_its_answer_is_answered_not_repeated(
    search: Search, features: Features
) -> None:
    trial = search.next_trial("killed")
    assert trial is not None
    row = {"trial_id": trial.trial_id, "overrides": trial.overrides, "status": "COMPLETED", "score": 0.25}
    write_json(search.trial_folder(trial.trial_id) / "trial.json", row)
    resume(search)
    assert run(search, features) == ["1", "2"]
    assert search.result("0") == row


def test_values_that_were_tried_are_answered_not_trained_again(search: Search, features: Features) -> None:
    first = search.next_trial("other")
    assert first is not None
    second = search.next_trial("w")
    assert second is not None
    row = {"trial_id": first.trial_id, "overrides": second.overrides, "status": "COMPLETED", "score": 0.25}
    write_json(search.trial_folder(first.trial_id) / "trial.json", row)
    assert run(search, features) == ["2"]
    twin = search.result(second.trial_id)
    assert twin is not None
    assert (twin["same_as"], twin["score"]) == (first.trial_id, 0.25)


def test_the_spool_of_a_killed_attempt_is_replaced(search: Search, features: Features) -> None:
    trial = search.next_trial("w")
    assert trial is not None
    spool = search.trial_folder(trial.trial_id) / "metrics.jsonl"
    spool.parent.mkdir(parents=True)
    spool.write_text('{"key": "loss", "val')
    run_trial(search, trial, features)
    assert len(spool.read_text().splitlines()) == 4 * 7


def test_a_diverged_trial_fails_and_the_search_goes_on(search: Search, features: Features) -> None:
    broken = Features(
        features.clean * np.float32("nan"), features.views, features.labels, features.split, features.names
    )
    trial = search.next_trial("w")
    assert trial is not None
    row = run_trial(search, trial, broken)
    assert (row["status"], row["score"]) == ("FAILED", None)
    assert "diverged" in row["error"]
    with pytest.raises(DataError, match="No trial has completed"):
        search.best()
    run(search, features)
    assert search.best()["status"] == "COMPLETED"


def test_a_combination_that_cannot_be_fails_once_and_the_search_goes_on(search: Search, features: Features) -> None:
    trial = search.next_trial("w")
    assert trial is not None
    search.give_up(trial, "no such model")
    assert run(search, features) == ["1", "2"]
    assert search.result("0") | {"status": "FAILED", "error": "no such model"} == search.result("0")  # type: ignore[operator]


def test_hyperband_keeps_to_the_number_of_trials(workspace: Workspace, features: Features) -> None:
    config = TUNE.model_copy(update={"tuner": "hyperband", "trials": 2})
    search = open_search(workspace, dataset_digest="d", learn=LEARN, config=config, weights=None)
    assert len(run(search, features)) == 2


def test_what_decides_a_search_decides_its_folder(workspace: Workspace) -> None:
    base = {"dataset_digest": "d", "learn": LEARN, "config": TUNE, "weights": None}
    keys = {
        open_search(workspace, **{**base, **change}).key  # type: ignore[arg-type]
        for change in ({}, {"dataset_digest": "e"}, {"weights": "w"}, {"config": TUNE.model_copy(update={"seed": 2})},
                       {"learn": LEARN.override({"model.head.l2": 0.1})})
    }  # fmt: skip
    assert len(keys) == 5


def test_the_lowest_id_of_equals_wins_and_a_loss_is_minimised(tmp_path: Path) -> None:
    for trial_id, score in (("0", 0.4), ("1", 0.2), ("2", 0.2)):
        row = {"trial_id": trial_id, "overrides": {}, "status": "COMPLETED", "score": score}
        write_json(tmp_path / "trials" / trial_id / "trial.json", row)
    assert Search(tmp_path, TUNE, LEARN).best()["trial_id"] == "0"
    loss = TUNE.model_copy(update={"objective": "val_loss"})
    assert Search(tmp_path, loss, LEARN).best()["trial_id"] == "1"
