from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from flows.settings import Settings
from flows.stack import ProcessRecord, down
from flows.stack.processes import is_alive, log_tail, marked_processes, start_process, stop_processes
from flows.stack.state import Stack
from tasks.core.errors import ServerUnavailableError

SLEEP = [sys.executable, "-c", "import time; time.sleep(120)"]
# Ignores SIGTERM, and has a child in a session of its own, as a worker has flow runs.
STUBBORN = [
    sys.executable,
    "-c",
    (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'], start_new_session=True);"
        "print(child.pid, flush=True); time.sleep(120)"
    ),
]


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def start(folder: Path, name: str, command: list[str] = SLEEP) -> ProcessRecord:
    return start_process(name, command, env=dict(os.environ), folder=folder)


def child_of(record: ProcessRecord) -> int:
    deadline = time.monotonic() + 20
    while not (text := Path(record.log).read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return int(text)


def test_a_process_has_a_session_and_a_log_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; print('a word', os.getcwd()); import time; time.sleep(120)"]
    record = start(tmp_path, "mlflow", command)
    assert os.getsid(record.pid) == record.pid
    deadline = time.monotonic() + 20
    while not Path(record.log).read_text() and not time.sleep(0.02) and time.monotonic() < deadline:
        pass
    assert record.log == str(tmp_path / "logs" / "mlflow.log")
    assert log_tail(record.log) == "(its log is empty)" or f"a word {tmp_path}" in log_tail(record.log)
    stop_processes(marked_processes(tmp_path, ["mlflow"]))
    assert not is_alive(record)


def test_a_program_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ServerUnavailableError, match="mlflow could not be started"):
        start(tmp_path, "mlflow", ["/nowhere/at-all"])


def test_a_recycled_number_is_not_the_recorded_process(bystander: subprocess.Popen[bytes]) -> None:
    started = psutil.Process(bystander.pid).create_time()
    record = ProcessRecord("worker-cpu", bystander.pid, started, "")
    assert is_alive(record)
    assert not is_alive(replace(record, started=started - 60))


def test_down_stops_what_is_recorded_and_their_children_and_nothing_else(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    folder = tmp_path / "stack"
    recycled = ProcessRecord("worker-gpu", bystander.pid, psutil.Process(bystander.pid).create_time() - 60, "")
    other = start(tmp_path / "another" / "stack", "mlflow")
    mine = (start(folder, "mlflow"), start(folder, "worker-cpu", STUBBORN))
    flow_run = child_of(mine[1])
    Stack(folder=folder, prefect_port=1, processes=(*mine, recycled)).save()

    stopped = down(Settings(workspace=tmp_path), grace=1.5)

    assert stopped == ("worker-cpu", "mlflow")
    assert not any(is_alive(record) for record in mine)
    assert not psutil.pid_exists(flow_run) or psutil.Process(flow_run).status() == psutil.STATUS_ZOMBIE
    assert bystander.poll() is None
    assert is_alive(other)
    stop_processes(marked_processes(tmp_path / "another" / "stack", ["mlflow"]))
    assert down(Settings(workspace=tmp_path), grace=1.5) == ()


def test_down_finds_the_orphans_of_a_killed_worker_without_any_record(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    worker = start(folder, "worker-cpu", STUBBORN)
    orphan = child_of(worker)
    os.kill(worker.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert psutil.pid_exists(orphan)

    assert down(Settings(workspace=tmp_path), grace=1.5) == ("worker-cpu",)

    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE


def test_down_stops_a_stack_whose_folder_was_deleted(tmp_path: Path) -> None:
    record = start(tmp_path / "stack", "mlflow")
    shutil.rmtree(tmp_path / "stack")
    assert down(Settings(workspace=tmp_path), grace=1.5) == ("mlflow",)
    assert not is_alive(record)


def test_down_of_a_workspace_that_was_never_up_does_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    assert down(Settings(workspace=tmp_path / "nowhere"), say=lines.append) == ()
    assert lines == ["nothing runs"]
    assert not (tmp_path / "nowhere").exists()
