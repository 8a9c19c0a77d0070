"""What tests share: a workspace of their own, and the folder of real photos where there is one."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import polars as pl
import pytest
from PIL import Image

from tasks.core.files import write_json
from tasks.core.tables import MANIFEST, conform, write_table
from tasks.core.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent


# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Servers are started once a session, and with several processes (-n 2) each process is a session of its own:
# tests that share a server stay together, whichever process they go to.
_SERVERS = {"running_stack": "stack", "mlflow_server": "mlflow", "tracker": "mlflow"}
# These take as long as all others that use the stack: they have one of their own.
_LONG = ("test_kill.py", "test_runners.py", "test_kill_discover.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, group in _SERVERS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(group + " 2" * (item.path.name in _LONG)))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def dataset(workspace: Workspace) -> Path:
    """A published data set of plain colours: two classes, nine images each."""
    folder = workspace.datasets("colours") / "v1"
    rows = []
    for number in range(18):
        label, split = ("red", "blue")[number % 2], ("train", "train", "train", "val", "test", "train")[number // 3]
        path = Path(split) / label / f"{number}.png"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + number, 30), label).save(folder / path)
        digest = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        rows.append({"sha256": digest, "label": label, "split": split, "path": str(path)})
    write_table(conform(pl.DataFrame(rows), MANIFEST), folder / "manifest.parquet")
    write_json(folder / "dataset.json", {"version": "v1", "digest": "d" * 64})
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = Path(os.environ.get("HARVESTMAN_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real photos: {folder} is absent (HARVESTMAN_REAL_DATA names another folder)")
    return folder


@pytest.fixture
def long_cells() -> Iterator[None]:
    """Let the csv module read cells of more than 128 KiB, in this test alone: the limit is the whole process's."""
    before = csv.field_size_limit(10**7)
    yield
    csv.field_size_limit(before)


class LoopbackMlflow:
    """A real MLflow server on a free loopback port; it can be stopped and started again with all it holds."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{port}"
        self._command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
            "--artifacts-destination", str(folder / "artifacts"),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            # A session of its own: the server is a parent and a child process, and both must be stopped.
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder, env=environment
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.uri}/health", timeout=2).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        log_text = (self.folder / "server.log").read_text()
        self.stop()
        pytest.fail(f"the MLflow server did not start:\n{log_text[-2000:]}")

    def stop(self) -> None:
        """Kill it as a power cut would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackMlflow]:
    server = LoopbackMlflow(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()
