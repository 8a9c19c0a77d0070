"""The same batches through each task runner: threads, processes, a Dask cluster, a Ray cluster of this machine.

Each runs in a process of its own, as a run does, with warnings as errors; the photo site and Prefect's server are real.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import psutil
import pytest
from PIL import Image

from flows.runners import check_runner, ingest_runner
from flows.settings import Settings
from tasks.core.errors import StopError
from tasks.core.tables import CANDIDATES, KEPT, conform, read_ledger, write_table
from tasks.core.workspace import Workspace

if TYPE_CHECKING:
    from tests.flows.conftest import RunningStack

HOSTS, PHOTOS, MISSING = 4, 36, 4
PATIENCE = 120.0  # seconds; the slowest takes 12 on two idle cores
MARK = "HARVESTMAN_RUNNERS_TEST"

FETCH = """
import json, os, sys, time
from datetime import UTC, datetime
from pathlib import Path
from prefect import flow, runtime, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_API_URL
from flows.runners import ingest_runner
from flows.settings import Settings
from tasks.core.waiting import stoppable
from tasks.ingest.config import IngestConfig
from tasks.ingest.plan import plan
from tasks.ingest.task import ingest_batch

def until(enough):
    end = time.monotonic() + 20
    while not enough() and time.monotonic() < end:
        time.sleep(0.2)

@task
def where():
    return {"pid": os.getpid(), "api": PREFECT_API_URL.value(), "learning": "tensorflow" in sys.modules}

@flow
def fetch(collection):
    settings, config = Settings(), IngestConfig(batch_size=10, timeout=20, attempts=2, max_wait=1, rate=1000)
    batches = plan(Path(collection), config, now=datetime.now(UTC)).batches
    given = {"workspace": str(settings.folders.root), "config": config, "network": settings.network}
    ended = []
    with ingest_runner(settings) as runner, stoppable():
        futures = [runner.submit(ingest_batch, parameters={"batch": str(batch), **given}) for batch in batches]
        for future in futures:
            future.add_done_callback(ended.append)
        seen = runner.submit(where, parameters={})
        for future in futures:
            future.result()
        there = seen.result()
        until(lambda: len(ended) == len(batches))
    run = runtime.flow_run.id
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    told = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:
        tasks = lambda: [
            (found.name, found.state_name)
            for found in client.read_task_runs(flow_run_filter=of_run)
            if found.name.startswith("ingest ")
        ]
        lines = lambda: [line.message for line in client.read_logs(told) if "addresses kept" in line.message]
        until(lambda: [state for _, state in tasks()] == ["Completed"] * len(batches) and len(lines()) >= len(batches))
        return {"here": os.getpid(), "there": there, "batches": [str(batch) for batch in batches], "ended": len(ended),
                "api": str(client.api_url), "tasks": tasks(), "lines": len(lines())}

if __name__ == "__main__":
    print(json.dumps(fetch(sys.argv[1])))
"""

HANG = """
import os, signal, sys, time
from pathlib import Path
from prefect import flow, task
from flows.runners import ingest_runner
from flows.settings import Settings

@task
def hang(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)

@flow
def work(folder, end):
    with ingest_runner(Settings()) as runner:
        futures = [runner.submit(hang, parameters={"folder": folder}) for _ in range(3)]
        while len(os.listdir(folder)) < 2:
            time.sleep(0.1)
        if end == "broken":
            os.kill(int(os.listdir(folder)[0]), signal.SIGKILL)
            futures[0].result()
        if end == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("the disk is full, say")

if __name__ == "__main__":
    work(*sys.argv[1:])
"""


def _picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((160, 160)).save(buffer, "JPEG")
    return buffer.getvalue()


PICTURES = {f"/{number}.jpg": _picture(number) for number in range(PHOTOS)}


class _Photos(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = PICTURES.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that is killed resets its connections."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[str]]:
    servers = [_Server(("127.0.0.1", 0), _Photos) for _ in range(HOSTS)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in servers]
    for thread in threads:
        thread.start()
    yield [f"127.0.0.1:{server.server_port}" for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Done:
    told: dict[str, Any]
    ledger: pl.DataFrame


class Desk:
    """A folder with a job, the variables it runs with, and a mark by which what it leaves behind is found."""

    def __init__(self, folder: Path, job: str, **environment: str) -> None:
        self.folder, self.mark = folder, f"{folder}-{time.monotonic_ns()}"
        (folder / "job.py").write_text(job)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "RAY_"))}
        self.environment = clean | environment | {MARK: self.mark, "PREFECT_HOME": str(folder / "prefect"),
                                                  "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}  # fmt: skip

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "job.py", *words]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def left(self) -> list[str]:
        """Return the processes of the job that live a while after it."""
        until = time.monotonic() + 10
        while (found := list(self._marked())) and time.monotonic() < until:
            time.sleep(0.1)
        return found

    def _marked(self) -> Iterator[str]:
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    yield " ".join(process.cmdline())
            except psutil.Error:
                continue


def fetched(folder: Path, hosts: list[str], **environment: str) -> Done:
    workspace = Workspace(folder / "workspace")
    collection = workspace.collection("birds")
    rows = [
        {"url": f"http://{hosts[number % HOSTS]}/{number}.jpg", "label": "wren", "source": "url_list"}
        for number in range(PHOTOS + MISSING)
    ]
    write_table(conform(pl.DataFrame(rows), CANDIDATES), collection / "candidates" / "0.parquet")
    desk = Desk(
        folder,
        FETCH,
        HARVESTMAN_WORKSPACE=str(workspace.root),
        HARVESTMAN_ALLOWED_HOSTS=json.dumps(hosts),
        HARVESTMAN_TASKS_AT_ONCE="2",
        **environment,
    )
    done = desk.run(str(collection))
    assert done.returncode == 0, done.stdout + done.stderr
    assert desk.left() == []
    ledger = read_ledger(collection).drop("fetched_at", "seconds", strict=False).sort("url")
    return Done(json.loads(done.stdout.splitlines()[-1]), ledger)


@pytest.fixture(scope="module")
def by_threads(running_stack: RunningStack, hosts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("threads")
    return fetched(folder, hosts, PREFECT_API_URL=running_stack.stack.prefect_api_url)


def assert_told_by_prefect(told: dict[str, Any]) -> None:
    assert len(told["batches"]) >= HOSTS
    assert told["ended"] == len(told["batches"])
    assert sorted(told["tasks"]) == sorted([f"ingest {Path(batch).stem}", "Completed"] for batch in told["batches"])
    assert told["lines"] >= len(told["batches"])


@pytest.mark.slow
def test_threads_of_this_process_are_the_default(by_threads: Done) -> None:
    assert_told_by_prefect(by_threads.told)
    assert by_threads.told["there"]["pid"] == by_threads.told["here"]
    kept = by_threads.ledger.filter(pl.col("outcome") == KEPT)
    assert set(kept["sha256"]) == {sha256(body).hexdigest() for body in PICTURES.values()}
    assert by_threads.ledger.height == PHOTOS + MISSING


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_a_cluster_of_this_machine_writes_the_same_ledger(
    runner: str, by_threads: Done, hosts: list[str], tmp_path: Path
) -> None:
    done = fetched(tmp_path, hosts, PREFECT_API_URL=by_threads.told["api"], HARVESTMAN_TASK_RUNNER=runner)
    assert_told_by_prefect(done.told)
    assert done.told["there"]["pid"] != done.told["here"]
    assert not done.told["there"]["learning"]
    assert done.ledger.equals(by_threads.ledger)


@pytest.mark.slow
def test_processes_report_to_the_temporary_server_of_the_run_and_write_the_same_ledger(
    by_threads: Done, hosts: list[str], tmp_path: Path
) -> None:
    patient = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "100"}  # 20 are too few for busy cores
    done = fetched(tmp_path, hosts, HARVESTMAN_TASK_RUNNER="processes", **patient)
    assert_told_by_prefect(done.told)
    assert done.told["there"]["pid"] != done.told["here"]
    assert done.told["there"]["api"].rstrip("/") == done.told["api"].rstrip("/")
    assert done.told["api"] != by_threads.told["api"]
    assert not done.told["there"]["learning"]
    assert done.ledger.equals(by_threads.ledger)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "told"),
    [("killed", ""), ("failed", "the disk is full, say"), ("broken", "A process that fetched was killed.")],
)
def test_no_process_outlives_a_run_that_is_killed_or_fails(
    end: str, told: str, running_stack: RunningStack, tmp_path: Path
) -> None:
    (tmp_path / "begun").mkdir()
    desk = Desk(
        tmp_path,
        HANG,
        HARVESTMAN_TASK_RUNNER="processes",
        HARVESTMAN_TASKS_AT_ONCE="2",
        PREFECT_API_URL=running_stack.stack.prefect_api_url,
    )
    done = desk.run("begun", end)
    assert done.returncode == (-9 if end == "killed" else 1), done.stdout + done.stderr
    assert told in done.stderr
    assert len(list((tmp_path / "begun").iterdir())) == 2
    assert desk.left() == []


@pytest.mark.parametrize(
    ("word", "near"), [("proceses", "processes"), ("tcp://h:8786", "dask+tcp://"), ("ray:", "ray"), ("dask+tcp://", "")]
)
def test_a_wrong_word_names_the_nearest_right_one(word: str, near: str) -> None:
    with pytest.raises(StopError) as caught, ingest_runner(Settings(task_runner=word)):
        pass
    assert repr(word) in caught.value.what
    assert f"Did you mean {near}" in caught.value.hint
    assert "threads, processes, dask, dask+tcp://host:8786, ray, ray://host:10001" in caught.value.hint


@pytest.mark.parametrize(("word", "extra"), [("dask+tls://h:8786", "dask"), ("ray://h:10001", "ray"), ("ray", "ray")])
def test_a_runner_that_is_not_installed_says_what_to_install(
    word: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_runner(Settings(task_runner=word))[0] == extra
    monkeypatch.setitem(sys.modules, f"prefect_{extra}", None)
    with pytest.raises(StopError, match=rf"pip install 'harvestman\[{extra}\]'"):
        check_runner(Settings(task_runner=word))


def test_the_address_of_a_cluster_is_the_one_it_tells() -> None:
    assert check_runner(Settings(task_runner="dask+tcp://h:8786")) == ("dask", "tcp://h:8786")
    assert check_runner(Settings(task_runner="ray://h:10001")) == ("ray", "ray://h:10001")
    assert check_runner(Settings()) == ("threads", None)


def test_a_flow_run_elsewhere_uses_the_same_runner() -> None:
    exported = Settings(task_runner="processes", tasks_at_once=3).exported()
    assert exported["HARVESTMAN_TASK_RUNNER"] == "processes"
    assert exported["HARVESTMAN_TASKS_AT_ONCE"] == "3"
