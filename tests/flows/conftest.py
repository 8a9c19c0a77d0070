"""One running local stack for all tests of this folder, with two small flows of our own beside the real deployments."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from flows.settings import Settings
from flows.stack import Stack, down, find_stack, up
from flows.stack.processes import marked_processes, recorded_process
from flows.stack.services import SERVERS, WORKERS

ROOT = Path(__file__).resolve().parents[2]

TINY_FLOW = """
from __future__ import annotations
import json, os, time
from pathlib import Path
from prefect import flow

@flow
def tiny(out: str, seconds: float = 0) -> None:
    names = ("HARVESTMAN_WORKSPACE", "HARVESTMAN_CONTACT", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_API_KEY")
    facts = {"cwd": os.getcwd(), "pid": os.getpid(), **{name: os.environ.get(name) for name in names}}
    Path(out).write_text(json.dumps(facts))
    time.sleep(seconds)
"""


class Patient(httpx.HTTPTransport):
    """Prefect on SQLite answers 503 while another process writes for long; its own client asks again, as this does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(20):
            response = super().handle_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)
        return response


@dataclass(frozen=True)
class RunningStack:
    """A stack, the settings and the deploy folder it was started with, and its Prefect API."""

    settings: Settings
    deploy: Path
    stack: Stack
    api: httpx.Client

    def up(self, lines: list[str]) -> Stack:
        return up(self.settings, say=lines.append, deploy=self.deploy)


@pytest.fixture(scope="session")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("stack with space")
    (folder / "tiny_flow.py").write_text(TINY_FLOW)
    deploy = folder / "deploy"
    shutil.copytree(ROOT / "deploy", deploy)
    described = yaml.safe_load((deploy / "prefect.yaml").read_text())
    described["deployments"].append({"name": "tiny", "entrypoint": "tiny_flow.tiny", "work_pool": {"name": "cpu"}})
    (deploy / "prefect.yaml").write_text(yaml.safe_dump(described))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("HARVESTMAN_CONTACT", "somebody@example.org")
        patch.setenv("PREFECT_API_KEY", "the key of another server")
        settings = Settings(workspace=folder / "workspace")
        stack = up(settings, deploy=deploy)
        with httpx.Client(base_url=stack.prefect_api_url, timeout=30, transport=Patient()) as api:
            yield RunningStack(settings, deploy, stack, api)
        last = find_stack(settings)
        stopped = down(settings)
        assert last is not None
        assert set(stopped) == {*SERVERS, *WORKERS}
        assert [record.name for record in last.processes if recorded_process(record)] == []
        assert marked_processes(last.folder, [*SERVERS, *WORKERS]) == []
        assert find_stack(settings) is None


@pytest.fixture
def stack(running_stack: RunningStack) -> Stack:
    """The stack as it runs now."""
    found = find_stack(running_stack.settings)
    assert found is not None
    return found
