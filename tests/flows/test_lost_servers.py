"""The Prefect server, or MLflow's, killed in the middle of a run; started again; then the same command again.

The photo site's own request log, the ledger and the trials' files say whether anything was lost or done twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import mlflow
import pytest

from tasks.core.tables import OUTCOMES, read_candidates, read_ledger
from tests.conftest import LoopbackMlflow

pytestmark = pytest.mark.slow

RECIPE = """
name: lost
classes:
  round: [{source: url_list, path: urls/a.txt}]
  striped: [{source: url_list, path: urls/b.txt}]
ingest: {timeout: 1, attempts: 2, max_wait: 2, per_host: 2, batch_size: 10, rate: 10}
model: {backbone: mobilenet, alpha: 0.25, weights: none, image_size: 32}
train: {epochs: 2}
tune: {trials: 2, space: {train.learning_rate: {min: 0.001, max: 0.1, log: true}}}
"""
PATIENCE = 120.0  # seconds in which a run ends, or ends with a word


class PrefectServer:
    """A real Prefect server on a free loopback port; it can be killed and started again with all it holds."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder, self.api = folder, f"http://127.0.0.1:{port}/api"
        self._command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        own = {"PREFECT_HOME": str(self.folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=clean | own, start_new_session=True
            )
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.api}/health", timeout=2, trust_env=False).is_success:
                    return
            time.sleep(0.1)
        pytest.fail(f"the Prefect server did not start:\n{(self.folder / 'server.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)  # with its children
            self._process.wait()
            self._process = None


class Server(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Machine:
    """One workspace, and the command that rehearses a recipe in it."""

    def __init__(self, folder: Path, prefect: str, tracker: str) -> None:
        self.workspace, self.tracker = folder / "workspace", tracker
        self.recipe, self.log = folder / "lost.yaml", folder / "log"
        self.recipe.write_text(RECIPE)
        own = {
            "HARVESTMAN_WORKSPACE": str(self.workspace),
            "PREFECT_API_URL": prefect,
            "PREFECT_HOME": str(folder / "prefect"),
            "MLFLOW_TRACKING_URI": self.tracker,
        }
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | own

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "flows.cli", "rehearse", str(self.recipe), "--per-class", "30"]
        with (
            self.log.open("wb") as log,
            subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT) as process,
        ):
            try:
                yield process
            finally:
                process.kill()  # nothing where it has ended

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end, for so long as one would at a terminal; return the exit code."""
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it hangs:\n{self.said}")

    def until(self, ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            assert process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def without(self, server: Server, ready: Callable[[], bool]) -> tuple[int, str]:
        """Run, with a server killed when it is `ready` and started again after the run; return how that ended."""
        with self.running() as process:
            self.until(ready, process)
            server.stop()
            try:
                return self.end(process), self.said
            finally:
                server.start()

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def collection(self) -> Path:
        return self.workspace / "collections" / "lost-rehearsal"

    def requests(self) -> list[str]:
        """What was asked of the photo site, but for the signs of life it gives."""
        lines = (self.workspace / "rehearsals" / "lost" / "requests.jsonl").read_text().splitlines()
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [f"{row['path']}?{row['query']}" for row in rows if row["kind"] not in {"health", "api", "robots"}]

    def finished(self) -> set[str]:
        """Paths of all addresses whose end is written down, in ledger or journal."""
        urls = []
        for path in (self.collection / "ledger").glob("*.journal.jsonl"):
            with contextlib.suppress(FileNotFoundError):  # sealed meanwhile
                urls += [json.loads(line)["url"] for line in path.read_text().splitlines() if line.endswith("}")]
        urls += read_ledger(self.collection, "url")["url"].to_list()
        return {f"{parts.path}?{parts.query}" for parts in map(urlsplit, urls)}

    def runs(self) -> Counter[tuple[str, str]]:
        """Runs in MLflow, by kind and state."""
        client = mlflow.MlflowClient(self.tracker)
        experiment = client.get_experiment_by_name("lost-rehearsal")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        return Counter((run.data.tags["harvestman.kind"], run.info.status) for run in runs)


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server for this module alone: the one that other tests share must live."""
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@dataclass
class Story:
    """What was seen of a run that lost Prefect, of one that lost MLflow, and of one that lost nothing."""

    machine: Machine
    without_prefect: tuple[int, str]
    """Exit code and what a person was told."""
    finished: set[str]
    """Addresses that were written down then."""
    asked: list[str]
    """All requests of the second run."""
    untracked: tuple[int, str]
    offered: set[str]
    outcomes: list[str]
    """Of the addresses in the ledger then."""
    end: tuple[int, str]


@pytest.fixture(scope="module")
def story(
    prefect_server: PrefectServer, mlflow_server: LoopbackMlflow, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    machine = Machine(tmp_path_factory.mktemp("lost"), prefect_server.api, mlflow_server.uri)
    without_prefect = machine.without(prefect_server, lambda: len(machine.finished()) >= 12)
    finished, before = machine.finished(), len(machine.requests())
    untracked = machine.without(mlflow_server, lambda: len(machine.finished()) > len(finished))
    asked = machine.requests()
    ledger = read_ledger(machine.collection)
    assert list((machine.collection / "ledger").glob("*.journal.jsonl")) == []
    with machine.running() as process:
        end = machine.end(process), machine.said
    return Story(
        machine, without_prefect, finished, asked[before:], untracked, set(ledger["url"]), list(ledger["outcome"]),
        end,
    )  # fmt: skip


def test_a_prefect_server_lost_while_images_come_ends_the_run_with_a_word(
    story: Story, prefect_server: PrefectServer
) -> None:
    code, said = story.without_prefect
    assert code == 1
    assert f"The Prefect server at {prefect_server.api} was lost." in said
    assert "nothing that was stored or finished is lost" in said
    assert "Traceback" not in said


def test_the_next_run_goes_on_and_asks_for_no_address_that_was_written_down(story: Story) -> None:
    assert len(story.finished) >= 12
    assert story.asked
    assert story.finished & set(story.asked) == set()


def test_a_tracker_lost_while_images_come_costs_none_of_them(story: Story) -> None:
    check_message(story, story.untracked)
    assert story.offered == set(read_candidates(story.machine.collection)["url"])
    assert set(story.outcomes) <= set(OUTCOMES)
    assert "nothing new" in story.end[1]


def test_in_the_end_the_tracker_has_one_run_of_each_thing_and_nothing_was_done_twice(story: Story) -> None:
    code, said = story.end
    assert code == 0, said
    assert story.machine.requests()[-len(story.asked) :] == story.asked
    runs = story.machine.runs()
    assert runs == {("dataset", "FINISHED"): 1, ("search", "FINISHED"): 1, ("trial", "FINISHED"): 2}


def check_message(story: Story, ended: tuple[int, str]) -> None:
    code, said = ended
    assert code == 1
    assert f"The MLflow server at {story.machine.tracker} does not answer." in said
    assert "run the same command again" in said
    assert "Traceback" not in said
