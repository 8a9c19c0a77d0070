"""kill -9 in the middle of ingest and in the middle of tune; then the same command again.

The photo site's own request log, the trials' files and the data set's version say whether anything was done twice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import polars as pl
import pytest

from flows.stack import Stack
from tasks.core.tables import KEPT, OUTCOMES, read_ledger

pytestmark = pytest.mark.slow

RECIPE = """
name: small
classes:
  round: [{source: inaturalist, taxon: Coccinella septempunctata, photos: all}, {source: url_list, path: urls/a.txt}]
  striped: [{source: inaturalist, taxon: Araneus diadematus, photos: all}, {source: url_list, path: urls/b.txt}]
ingest: {timeout: 1, attempts: 2, max_wait: 2, per_host: 2, batch_size: 30}
model: {backbone: mobilenet, alpha: 0.25, weights: none, image_size: 32}
train: {epochs: 2}
tune: {trials: 4, space: {train.learning_rate: {min: 0.001, max: 0.1, log: true}}}
"""
PATIENCE = 240.0  # seconds; a whole run takes 30 on two idle cores


class Machine:
    """One workspace, and the command that rehearses the recipe in it."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.workspace = folder / "workspace"
        self.recipe = folder / "small.yaml"
        self.recipe.parent.mkdir(parents=True, exist_ok=True)
        self.recipe.write_text(RECIPE)
        self.log = folder / "log"
        database = self.workspace / "stack" / "mlflow.db"
        self.tracking = f"sqlite:///{database}"
        own = {"HARVESTMAN_WORKSPACE": str(self.workspace), "PREFECT_API_URL": stack.prefect_api_url,
               "PREFECT_HOME": str(folder / "prefect"), "MLFLOW_TRACKING_URI": self.tracking}  # fmt: skip
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | own

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flows.cli", "rehearse", str(self.recipe), "--per-class", "40"]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)

    def run(self) -> None:
        process = self.start()
        assert process.wait(PATIENCE) == 0, self.log.read_text()

    def kill_when(self, ready: Callable[[], bool]) -> None:
        process = self.start()
        until = time.monotonic() + PATIENCE
        while not ready():
            assert process.poll() is None, self.log.read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    @property
    def collection(self) -> Path:
        return self.workspace / "collections" / "small-rehearsal"

    def requests(self) -> list[dict[str, Any]]:
        lines = (self.workspace / "rehearsals" / "small" / "requests.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["kind"] not in {"health", "api"}]

    def journalled(self) -> set[str]:
        """Paths of all addresses whose end was written down, in ledger or journal."""
        rows = [json.loads(line) for path in (self.collection / "ledger").glob("*.journal.jsonl")
                for line in path.read_text().splitlines() if line.endswith("}")]  # fmt: skip
        urls = [row["url"] for row in rows if "url" in row] + read_ledger(self.collection)["url"].to_list()
        return {_path(url) for url in urls}

    def trials(self) -> dict[str, int]:
        found = self.workspace.glob("searches/*/trials/*/trial.json")
        return {path.parent.name: path.stat().st_mtime_ns for path in found}

    def latest(self) -> dict[str, Any]:
        return dict(json.loads((self.workspace / "latest" / "small-rehearsal.json").read_text()))


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


@pytest.fixture(scope="module")
def calm(running_stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Machine:  # noqa: ANN401 - conftest's
    machine = Machine(tmp_path_factory.mktemp("calm"), running_stack.stack)
    machine.run()
    return machine


@pytest.fixture(scope="module")
def killed(running_stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Machine:  # noqa: ANN401 - conftest's
    """A run killed in the middle of ingest, run again and killed in the middle of tune, run again to its end."""
    machine = Machine(tmp_path_factory.mktemp("killed"), running_stack.stack)
    journals = machine.collection / "ledger"
    machine.kill_when(lambda: sum(path.read_bytes().count(b"\n") for path in journals.glob("*.journal.jsonl")) >= 12)
    machine.known, machine.asked = machine.journalled(), len(machine.requests())  # type: ignore[attr-defined]
    machine.kill_when(lambda: len(machine.trials()) >= 1)
    machine.before = machine.trials()  # type: ignore[attr-defined]
    machine.run()
    return machine


def test_every_misbehaviour_of_the_site_has_its_own_outcome(calm: Machine) -> None:
    outcomes = set(read_ledger(calm.collection)["outcome"])
    unseen = {
        "client-error",
        "unreachable",
        "invalid-address",
        "too-large",
        "not-an-image",
        "unreadable",
        "licence-refused",
    }
    assert outcomes | unseen >= set(OUTCOMES)


def test_no_address_that_was_written_down_is_asked_again(killed: Any) -> None:  # noqa: ANN401 - carries the moments
    assert len(killed.known) >= 12
    later = {f"{row['path']}?{row['query']}" for row in killed.requests()[killed.asked :]}
    assert later
    assert later & killed.known == set()


def test_no_finished_trial_is_repeated(killed: Any) -> None:  # noqa: ANN401 - carries the moments
    after = killed.trials()
    assert len(killed.before) < len(after) == 4
    assert {name: after[name] for name in killed.before} == killed.before


def test_the_data_set_is_that_of_an_undisturbed_run(calm: Machine, killed: Machine) -> None:
    one, other = calm.latest()["dataset"], killed.latest()["dataset"]
    assert one["version"] == other["version"]
    assert one["digest"] == other["digest"]


def test_mlflow_holds_one_run_for_each_thing(killed: Machine) -> None:
    client = mlflow.MlflowClient(killed.tracking)
    experiment = client.get_experiment_by_name("small-rehearsal")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    kinds = Counter((run.data.tags["harvestman.kind"], run.info.status) for run in runs)
    assert kinds == {("dataset", "FINISHED"): 1, ("search", "FINISHED"): 1, ("trial", "FINISHED"): 4}
    parent = next(run for run in runs if run.data.tags["harvestman.kind"] == "search")
    children = {run.data.tags["mlflow.parentRunId"] for run in runs if run.data.tags["harvestman.kind"] == "trial"}
    assert children == {parent.info.run_id}
    digest = killed.latest()["dataset"]["digest"]
    assert [entry.dataset.digest for entry in parent.inputs.dataset_inputs] == [digest[:36]]
    version = client.get_model_version_by_alias("small-rehearsal", "champion")
    assert version.run_id == parent.info.run_id


def test_a_run_with_nothing_new_fetches_decodes_and_learns_nothing(calm: Machine) -> None:
    asked, version = len(calm.requests()), calm.latest()["model"]
    stages = ("images", "collections", "datasets", "prepared", "features", "searches", "fits")

    def written() -> dict[Path, int]:
        files = (path for stage in stages for path in (calm.workspace / stage).rglob("*"))
        stays = (path for path in files if path.is_file() and path.suffix != ".lock")
        # When a source was asked last is written down each time.
        return {path: path.stat().st_mtime_ns for path in stays if not path.match("candidates/*.json")}

    before = written()
    calm.run()
    assert len(calm.requests()) == asked
    assert calm.latest()["model"] == version
    assert written() == before
    assert "nothing new" in calm.log.read_text()


def test_no_image_is_in_two_splits(calm: Machine) -> None:
    manifest = pl.read_parquet(Path(calm.latest()["dataset"]["path"]) / "manifest.parquet")
    for column in ("cluster_id", "component", "group_id"):
        crossing = (
            manifest.drop_nulls(column).group_by(column).agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
        )
        assert crossing.height == 0, column
    kept = read_ledger(calm.collection).filter(pl.col("outcome") == KEPT)["sha256"].unique()
    assert set(manifest["sha256"]) <= set(kept)
