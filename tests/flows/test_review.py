"""A deployed run that waits for a person's decisions: suspended, resumed without any, decided upon, done."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tasks.core.files import read_json
from tests.flows.conftest import RunningStack

pytestmark = pytest.mark.slow

RECIPE = """
name: reviewed
classes:
  round: [{source: folder, path: photos/round}]
  striped: [{source: folder, path: photos/striped}]
curate: {review: required}
"""
PATIENCE = 180.0  # seconds


def _paint(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((160, 160)).save(path)


class Machine:
    def __init__(self, folder: Path, running: RunningStack) -> None:
        self.recipe, self.api, self.workspace = folder / "reviewed.yaml", running.api, running.settings.folders
        self.recipe.write_text(RECIPE)
        for number in range(8):
            for label in ("round", "striped"):
                _paint(folder / "photos" / label / f"{number}.png", seed=number + 100 * (label == "round"))
        _paint(folder / "photos" / "round" / "both.png", seed=999)
        _paint(folder / "photos" / "striped" / "both.png", seed=999)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))} | {
            "HARVESTMAN_WORKSPACE": str(running.settings.folders.root)
        }

    def harvestman(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *map(str, words)],
            env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def start(self) -> str:
        deployment = self.api.get("/deployments/name/pipeline/pipeline").json()
        given = {"parameters": {"recipe": str(self.recipe), "until": "curate"}}
        run = self.api.post(f"/deployments/{deployment['id']}/create_flow_run", json=given)
        return str(run.json()["id"])

    def until(self, run: str, state: str, *, other_than: str = "") -> str:
        """Wait until the run is in `state`, another one than `other_than`; return the state's id."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found: dict[str, Any] = self.api.get(f"/flow_runs/{run}").json()
            if found["state"]["name"] == state and found["state"]["id"] != other_than:
                return str(found["state"]["id"])
            assert found["state"]["type"] not in {"FAILED", "CRASHED"}, found["state"]
            time.sleep(0.5)
        pytest.fail(f"still {found['state']['name']}, awaited was {state}")


@pytest.fixture
def machine(tmp_path: Path, running_stack: RunningStack) -> Machine:
    return Machine(tmp_path, running_stack)


def test_a_run_waits_for_decisions_and_goes_on_with_them(machine: Machine) -> None:
    run = machine.start()
    first = machine.until(run, "Suspended")

    # Whoever resumes it without having decided is waited for again.
    machine.api.post(f"/flow_runs/{run}/resume").raise_for_status()
    machine.until(run, "Suspended", other_than=first)

    shown = machine.harvestman("review", machine.recipe)
    assert shown.returncode == 0, shown.stderr
    (review,) = (machine.workspace.collection("reviewed") / "review").glob("*.csv")
    assert str(review) in shown.stdout
    with review.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["reason"] for row in rows] == ["label-conflict"]
    answers = machine.recipe.with_name("answers.csv")
    with answers.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerow(rows[0] | {"verdict": "relabel", "label": "striped"})

    decided = machine.harvestman("decide", machine.recipe, answers, "--by", "ada")
    assert decided.returncode == 0, decided.stderr
    assert "resumed" in decided.stdout
    machine.until(run, "Completed")
    dataset = read_json(machine.workspace.latest("reviewed"))["dataset"]
    manifest = pl.read_parquet(Path(dataset["path"]) / "manifest.parquet")
    assert dict(manifest.group_by("label").len().iter_rows()) == {"round": 8, "striped": 9}
    assert manifest.filter(sha256=rows[0]["sha256"])["label"].to_list() == ["striped"]


def test_a_run_on_a_terminal_ends_with_what_is_to_be_decided(machine: Machine) -> None:
    recipe = machine.recipe.with_name("alone.yaml")
    recipe.write_text(RECIPE.replace("reviewed", "alone"))
    done = machine.harvestman("run", recipe, "--until", "curate")
    assert done.returncode == 1
    assert "1 images wait for a person's decision." in done.stderr
    assert "harvestman decide" in done.stderr
    assert not machine.workspace.datasets("alone").exists()
