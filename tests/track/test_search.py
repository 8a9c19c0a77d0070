from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow.entities import Run

from tasks.track.config import Origin, Tracker
from tasks.track.runs import client, experiment_id
from tasks.track.search import (
    close_search_run,
    fail_search_run,
    log_trial,
    log_trials,
    open_search_run,
    start_trial,
)
from tests.track.conftest import T0

PARAMS = {"model": {"backbone": "mobilenet", "head": {"dropout": 0.2}}, "train": {"epochs": 3, "fine_tune": None}}


@pytest.fixture
def parent(tracker: Tracker, search: Path, dataset: Path, origin: Origin) -> str:
    return open_search_run(
        tracker, search=search, dataset=dataset, params=PARAMS, origin=origin, weights_sha256="ab" * 32
    )


def all_runs(tracker: Tracker) -> list[Run]:
    return list(client(tracker.uri).search_runs([experiment_id(tracker)]))


def history(tracker: Tracker, run_id: str, key: str) -> list[tuple[int, int, float]]:
    found = client(tracker.uri).get_metric_history(run_id, key)
    return sorted((metric.timestamp, metric.step, metric.value) for metric in found)


def test_the_parent_says_what_it_learns_from_and_how(tracker: Tracker, parent: str, dataset: Path) -> None:
    run = client(tracker.uri).get_run(parent)
    assert run.info.status == "RUNNING"
    assert run.data.params == {
        "model.backbone": "mobilenet", "model.head.dropout": "0.2", "train.epochs": "3", "train.fine_tune": "none",
    }  # fmt: skip
    assert run.data.tags["harvestman.dataset"] == dataset.name
    assert run.data.tags["harvestman.weights_sha256"] == "ab" * 32
    assert run.data.tags["harvestman.dataset_digest"].startswith(run.inputs.dataset_inputs[0].dataset.digest)


def test_trials_become_children_with_steps_scores_and_statuses(tracker: Tracker, parent: str, search: Path) -> None:
    assert log_trials(tracker, parent, search) == {"finished": 1, "failed": 1}
    children = {run.data.tags.get("harvestman.trial"): run for run in all_runs(tracker) if run.info.run_id != parent}
    assert set(children) == {"00", "01"}  # 02 is still at work
    good, bad = children["00"], children["01"]
    assert good.data.tags["mlflow.parentRunId"] == parent
    assert good.data.params == {"model.head.dropout": "0.3", "model.head.dense": "64, 32"}
    assert good.data.metrics["score"] == 0.7
    assert good.data.metrics["val_macro_f1"] == pytest.approx(0.7)
    assert [step for _, step, _ in history(tracker, good.info.run_id, "loss")] == [0, 1, 2]
    assert (good.info.start_time, good.info.end_time, good.info.status) == (T0, T0 + 4500, "FINISHED")
    assert bad.info.status == "FAILED"
    assert "score" not in bad.data.metrics
    assert bad.data.tags["harvestman.error"] == "The training diverged."


def test_everything_twice_changes_nothing(
    tracker: Tracker, parent: str, search: Path, dataset: Path, origin: Origin, fit: Path
) -> None:
    def everything() -> list[tuple[str, str, dict[str, float], int]]:
        again = open_search_run(tracker, search=search, dataset=dataset, params=PARAMS, origin=origin)
        log_trials(tracker, again, search)
        close_search_run(tracker, again, fit=fit, dataset=dataset, origin=origin)
        return sorted(
            (run.info.run_id, run.info.status, run.data.metrics, len(history(tracker, run.info.run_id, "loss")))
            for run in all_runs(tracker)
        )

    first = everything()
    assert len(first) == 3
    assert everything() == first
    client(tracker.uri).update_run(parent, status="RUNNING")  # as a killed process leaves it
    assert everything() == first


def test_a_spool_of_many_batches_arrives_once_whole(
    tracker: Tracker, parent: str, write_trial: Callable[..., Path]
) -> None:
    trial = write_trial("long", epochs=1100)  # 2,200 figures: three requests
    run_id = log_trial(tracker, parent, trial)
    client(tracker.uri).update_run(run_id, status="RUNNING")
    assert log_trial(tracker, parent, trial) == run_id
    assert [step for _, step, _ in history(tracker, run_id, "loss")] == list(range(1100))


def test_a_line_cut_by_a_kill_and_figures_that_are_no_numbers_do_no_harm(
    tracker: Tracker, parent: str, write_trial: Callable[..., Path]
) -> None:
    trial = write_trial("torn", epochs=2)
    with (trial / "metrics.jsonl").open("a") as stream:
        stream.write(f'{{"key": "loss", "value": NaN, "step": 2, "timestamp": {T0 + 2000}}}\n{{"key": "loss", "va')
    run_id = log_trial(tracker, parent, trial)
    values = [value for _, _, value in history(tracker, run_id, "loss")]
    assert values[:2] == [1.0, 0.5]
    assert len(values) == 3
    assert values[2] != values[2]


def test_a_parameter_logged_once_stays_as_it_was(
    tracker: Tracker, parent: str, search: Path, dataset: Path, origin: Origin
) -> None:
    other = {**PARAMS, "train": {"epochs": 99, "seed": 7}}
    assert open_search_run(tracker, search=search, dataset=dataset, params=other, origin=origin) == parent
    params = client(tracker.uri).get_run(parent).data.params
    assert (params["train.epochs"], params["train.seed"]) == ("3", "7")


def test_threads_that_open_the_same_search_share_one_run(
    tracker: Tracker, search: Path, dataset: Path, origin: Origin
) -> None:
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(
            lambda _: open_search_run(tracker, search=search, dataset=dataset, params=PARAMS, origin=origin), range(4)
        ))  # fmt: skip
    assert len(set(ids)) == len(all_runs(tracker)) == 1


def test_an_interrupted_attempt_leaves_no_figures_in_the_next(
    tracker: Tracker, parent: str, write_trial: Callable[..., Path]
) -> None:
    trial = write_trial("retried", status="RUNNING", epochs=2)
    log_trial(tracker, parent, trial)
    trial = write_trial("retried", start=T0 + 60_000)
    again = start_trial(tracker, parent, trial=trial, overrides={"model.head.dropout": 0.3})
    assert log_trial(tracker, parent, trial) == again
    assert [moment for moment, _, _ in history(tracker, again, "loss")] == [T0 + 60_000 + 1000 * n for n in range(3)]
    assert [run.info.run_id for run in all_runs(tracker) if run.data.tags.get("harvestman.trial")] == [again]


def test_the_winner_brings_figures_curves_and_files_to_the_parent(
    tracker: Tracker, parent: str, fit: Path, dataset: Path, origin: Origin
) -> None:
    close_search_run(tracker, parent, fit=fit, dataset=dataset, origin=origin)
    api = client(tracker.uri)
    run = api.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/accuracy"] == 0.5
    assert run.data.metrics["best_epoch"] == 1
    assert run.data.params["winner.model.head.dropout"] == "0.3"
    assert run.data.tags["harvestman.winner"] == "00"
    assert [(step, value) for _, step, value in history(tracker, parent, "val_loss")] == [(0, 1.1), (1, 0.9)]
    files = {file.path for folder in ("report", "fit") for file in api.list_artifacts(parent, folder)}
    assert files == {
        "report/confusion.png", "report/metrics.json", "report/per_class.csv",
        "fit/predictions.parquet", "fit/history.csv", "fit/fit.json", "fit/manifest.parquet",
    }  # fmt: skip
    note = run.data.tags["mlflow.note.content"]
    assert "| test | 4 | 0.500 |" in note
    assert "[Prefect flow run](http://127.0.0.1:4200/runs/run-1)" in note


def test_a_failed_search_says_why_and_can_be_resumed(
    tracker: Tracker, parent: str, search: Path, dataset: Path
) -> None:
    fail_search_run(tracker, parent, "The disk is full.")
    run = client(tracker.uri).get_run(parent)
    assert (run.info.status, run.data.tags["harvestman.error"]) == ("FAILED", "The disk is full.")
    resumed = Origin(recipe="spiders", prefect_url="http://127.0.0.1:4200/runs/run-2")
    assert open_search_run(tracker, search=search, dataset=dataset, params=PARAMS, origin=resumed) == parent
    run = client(tracker.uri).get_run(parent)
    assert run.info.status == "RUNNING"
    assert "run-2" in run.data.tags["mlflow.note.content"]
