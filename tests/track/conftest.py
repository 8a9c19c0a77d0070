"""A data set version, its collection, a search with trials and a finished fit, as the stages leave them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.fingerprint import table_digest
from tasks.core.tables import LEDGER, MANIFEST, VERDICTS, conform, write_table
from tasks.track.config import Origin, Tracker
from tests.conftest import LoopbackMlflow

T0 = 1_760_000_000_000  # ms since 1970
SplitRows = list[tuple[str, str]]


@pytest.fixture(params=["sqlite", "server"])
def tracker(request: pytest.FixtureRequest, tmp_path: Path, sqlite_uri: str) -> Tracker:
    """The same behaviour is asked of an SQLite file and of a server."""
    uri = sqlite_uri if request.param == "sqlite" else request.getfixturevalue("mlflow_server").uri
    return Tracker(uri=uri, experiment=f"spiders {tmp_path.name}")


@pytest.fixture
def served(mlflow_server: LoopbackMlflow, tmp_path: Path) -> Tracker:
    return Tracker(uri=mlflow_server.uri, experiment=f"spiders {tmp_path.name}")


@pytest.fixture(scope="session")
def sqlite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One file for all: MLflow takes 5 s to lay out a new one. Each test has an experiment of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'mlflow.db'}"


@pytest.fixture
def origin() -> Origin:
    return Origin(
        recipe="spiders", git_commit="0123abc", prefect_run_id="run-1", prefect_url="http://127.0.0.1:4200/runs/run-1"
    )


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    outcomes = [("araneus", "kept")] * 4 + [("araneus", "not-found")] * 2 + [("latrodectus", "kept"), ("gone", "kept")]
    rows = [
        {
            "url": f"http://site/{place}",
            "label": label,
            "outcome": outcome,
            "fetched_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        for place, (label, outcome) in enumerate(outcomes)
    ]
    write_table(conform(pl.DataFrame(rows), LEDGER), tmp_path / "collection" / "ledger" / "1.parquet")
    return tmp_path / "collection"


@pytest.fixture
def verdicts(tmp_path: Path) -> Path:
    rows = [
        {"sha256": f"{place:064x}", "verdict": verdict}
        for place, verdict in enumerate(["kept"] * 4 + ["near-duplicate"])
    ]
    return write_table(conform(pl.DataFrame(rows), VERDICTS), tmp_path / "verdicts.parquet")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "datasets" / "4f00c0ffee001234"
    parts = [("train", "araneus"), ("train", "latrodectus"), ("val", "araneus"), ("test", "araneus")]
    rows = [{"sha256": f"{n:064x}", "split": split, "label": label} for n, (split, label) in enumerate(parts)]
    manifest = conform(pl.DataFrame(rows), MANIFEST)
    write_table(manifest, folder / "manifest.parquet")
    (folder / "dataset.json").write_text(json.dumps({"digest": table_digest(manifest), "version": folder.name}))
    return folder


@pytest.fixture
def write_trial(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that leaves a trial as the search does."""

    def write(name: str, *, status: str = "COMPLETED", epochs: int = 3, start: int = T0, **facts: Any) -> Path:  # noqa: ANN401 - JSON
        folder = tmp_path / "searches" / "5ea2c41100000001" / "trials" / name
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"key": key, "value": value, "step": epoch, "timestamp": start + 1000 * epoch})
            for epoch in range(epochs)
            for key, value in (("loss", 1 / (epoch + 1)), ("val_macro_f1", 0.5 + 0.1 * epoch))
        ]
        (folder / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))
        about = {"trial_id": name, "overrides": {"model.head.dropout": 0.3, "model.head.dense": [64, 32]},
                 "score": 0.7, "status": status, "epochs": epochs, "seconds": 4.5, **facts}  # fmt: skip
        (folder / "trial.json").write_text(json.dumps(about))
        return folder

    return write


@pytest.fixture
def search(write_trial: Callable[..., Path]) -> Path:
    write_trial("00")
    write_trial("01", status="INVALID", score=None, error="The training diverged.")
    write_trial("02", status="RUNNING", epochs=1)
    return write_trial("00").parent.parent


@pytest.fixture
def fit(tmp_path: Path) -> Path:
    folder = tmp_path / "fits" / "f17f17f17f17f17f"
    folder.mkdir(parents=True)
    figures = {"n": 4, "accuracy": 0.75, "macro_f1": 0.7, "balanced_accuracy": 0.72, "log_loss": 0.6}
    (folder / "metrics.json").write_text(json.dumps({"val": figures, "test": {**figures, "accuracy": 0.5}}))
    (folder / "fit.json").write_text(json.dumps({
        "labels": ["araneus", "latrodectus"], "overrides": {"model.head.dropout": 0.3},
        "best_epoch": 1, "seconds": 12.5, "trial_id": "00", "parameters": 1234,
    }))  # fmt: skip
    (folder / "history.csv").write_text("phase,epoch,loss,val_loss\nhead,0,1.0,1.1\nhead,1,0.5,0.9\n")
    figures = [("loss", 1.0, 0), ("val_loss", 1.1, 0), ("loss", 0.5, 1), ("val_loss", 0.9, 1)]
    lines = [{"key": key, "value": value, "step": step, "timestamp": T0 + step} for key, value, step in figures]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("confusion.png", "per_class.csv", "predictions.parquet"):
        (folder / name).write_bytes(name.encode())
    return folder
