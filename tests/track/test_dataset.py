from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.core.errors import StopError
from tasks.track.config import Origin, Tracker
from tasks.track.dataset import log_dataset_run, outcome_table
from tasks.track.runs import client, experiment_id


def runs_of(tracker: Tracker) -> list[str]:
    return [run.info.run_id for run in client(tracker.uri).search_runs([experiment_id(tracker)])]


def test_a_version_is_one_finished_run_with_its_counts_and_digest(
    tracker: Tracker, dataset: Path, collection: Path, verdicts: Path, origin: Origin, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"png")
    run_id = log_dataset_run(
        tracker, dataset=dataset, collection=collection, verdicts=verdicts, sheet=sheet, origin=origin
    )
    api = client(tracker.uri)
    run = api.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {
        "images": 4, "split/train": 2, "split/val": 1, "split/test": 1, "class/araneus": 3, "class/latrodectus": 1,
        "outcome/kept": 5, "outcome/not-found": 2, "verdict/kept": 4, "verdict/near-duplicate": 1,
    }  # fmt: skip
    digest = json.loads((dataset / "dataset.json").read_text())["digest"]
    assert len(digest) == 64
    found = run.inputs.dataset_inputs[0].dataset
    assert found.digest == digest[:36]
    assert json.loads(found.source)["uri"] == str(dataset / "manifest.parquet")
    assert run.data.tags["harvestman.dataset_digest"] == digest
    assert run.data.params == {"recipe": "spiders", "version": dataset.name, "digest": digest, "classes": "2"}
    assert run.data.tags["mlflow.source.git.commit"] == "0123abc"
    assert "http://127.0.0.1:4200/runs/run-1" in run.data.tags["mlflow.note.content"]
    names = {file.path for file in api.list_artifacts(run_id, "dataset")}
    assert names == {f"dataset/{name}" for name in ("manifest.parquet", "dataset.json", "outcomes.csv", "sheet.png")}
    stored = Path(api.download_artifacts(run_id, "dataset/manifest.parquet", str(tmp_path)))
    assert stored.read_bytes() == (dataset / "manifest.parquet").read_bytes()


def test_report_and_credits_are_artifacts_of_the_version_that_has_them(
    sqlite_uri: str, dataset: Path, collection: Path, origin: Origin, tmp_path: Path
) -> None:
    tracker = Tracker(uri=sqlite_uri, experiment=f"report {tmp_path.name}")
    (dataset / "report.html").write_text("<!DOCTYPE html><title>пауки</title>", encoding="utf-8")
    (dataset / "CREDITS.csv").write_bytes(b"\xef\xbb\xbfpath,class\r\n")
    run_id = log_dataset_run(tracker, dataset=dataset, collection=collection, origin=origin)
    for name in ("report.html", "CREDITS.csv"):
        stored = Path(client(tracker.uri).download_artifacts(run_id, f"dataset/{name}", str(tmp_path)))
        assert stored.read_bytes() == (dataset / name).read_bytes()


def test_the_same_version_again_is_the_same_run(
    tracker: Tracker, dataset: Path, collection: Path, origin: Origin
) -> None:
    first = log_dataset_run(tracker, dataset=dataset, collection=collection, origin=origin)
    assert log_dataset_run(tracker, dataset=dataset, collection=collection, origin=origin) == first
    assert runs_of(tracker) == [first]


def test_a_run_cut_short_is_completed_not_repeated(
    tracker: Tracker, dataset: Path, collection: Path, origin: Origin
) -> None:
    first = log_dataset_run(tracker, dataset=dataset, collection=collection, origin=origin)
    api = client(tracker.uri)
    api.update_run(first, status="RUNNING")  # as a killed process leaves it
    assert log_dataset_run(tracker, dataset=dataset, collection=collection, origin=origin) == first
    assert runs_of(tracker) == [first]
    assert len(api.get_metric_history(first, "images")) == 1
    assert len(api.get_run(first).inputs.dataset_inputs) == 1
    assert api.get_run(first).info.status == "FINISHED"


def test_outcomes_are_counted_by_class_and_classes_no_longer_in_the_recipe_left_out(collection: Path) -> None:
    rows = list(outcome_table(collection, ["araneus", "latrodectus"]).iter_rows())
    assert rows == [("araneus", "kept", 4), ("araneus", "not-found", 2), ("latrodectus", "kept", 1)]


def test_artifacts_of_an_sqlite_tracker_lie_beside_it(
    sqlite_uri: str, dataset: Path, collection: Path, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tracker = Tracker(uri=sqlite_uri, experiment=f"beside it {tmp_path.name}")
    run_id = log_dataset_run(tracker, dataset=dataset, collection=collection, origin=origin)
    stored = Path(sqlite_uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    assert list(stored.rglob(f"{run_id}/artifacts/dataset/manifest.parquet"))
    assert not (tmp_path / "mlruns").exists()


def test_a_deleted_experiment_is_named_with_the_way_back(tracker: Tracker) -> None:
    client(tracker.uri).delete_experiment(experiment_id(tracker))
    with pytest.raises(StopError, match="has been deleted") as caught:
        experiment_id(tracker)
    assert "mlflow experiments restore" in caught.value.hint
