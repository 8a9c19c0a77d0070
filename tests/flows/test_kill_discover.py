"""kill -9 while sources are being asked page by page; then the same command again, by the photo site's own log."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from tasks.core.files import write_json
from tasks.core.tables import read_candidates
from tasks.rehearse.plan import PORT

if TYPE_CHECKING:
    from tests.flows.conftest import RunningStack

pytestmark = pytest.mark.slow

RECIPE = """
name: paged
classes:
  round: [{source: openverse, query: ladybird}]
  striped: [{source: openverse, query: garden spider}]
model: {weights: none}
"""
PATIENCE = 120.0


class Desk:
    def __init__(self, folder: Path, stack: RunningStack) -> None:
        self.folder, self.workspace, self.log = folder, folder / "workspace", folder / "log"
        (folder / "paged.yaml").write_text(RECIPE)
        self.site = self.workspace / "rehearsals" / "paged"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        write_json(self.site / PORT, {"port": self.port})
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = clean | {
            "HARVESTMAN_WORKSPACE": str(self.workspace),
            "PREFECT_API_URL": stack.stack.prefect_api_url,
            "PREFECT_HOME": str(folder / "prefect"),
        }

    @property
    def candidates(self) -> Path:
        return self.workspace / "collections" / "paged-rehearsal" / "candidates"

    def kill_when(self, ready: Callable[[], bool], **environment: str) -> None:
        command = [sys.executable, "-m", "flows.cli", "rehearse", str(self.folder / "paged.yaml"), "--per-class", "130"]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment | environment, stdout=log, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + PATIENCE
        while not ready():
            assert process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def pages(self) -> list[tuple[str, int]]:
        """Every page that was asked, in order: query and number."""
        path = self.site / "requests.jsonl"
        rows: list[dict[str, Any]] = (
            [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        )
        asked = [parse_qs(row["query"]) for row in rows if "/openverse/" in row["path"]]
        return [(query["q"][0], int(query.get("page", ["1"])[0])) for query in asked]

    def drafted(self) -> list[int]:
        """Pages kept of each source, in drafts."""
        return [json.loads(path.read_text())["pages"] for path in self.candidates.glob("*.draft/state.json")]


def test_a_run_killed_between_two_pages_goes_on_behind_the_last_one(
    running_stack: RunningStack, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, running_stack)
    slowly = {"site": {"hosts": [f"127.0.0.1:{desk.port}"], "requests": {"second": 2}}}
    desk.kill_when(
        lambda: sum(desk.drafted()) >= 3,
        HARVESTMAN_BUDGETS=json.dumps(slowly),
    )
    first, kept = desk.pages(), sum(desk.drafted())
    assert len(first) < 14, "all was asked before it was killed"
    assert not list(desk.candidates.glob("*.parquet"))  # half an answer is none

    desk.kill_when(lambda: bool(list((desk.candidates.parent / "ledger").glob("*"))))  # fetching has begun

    second = desk.pages()[len(first) :]
    last = max(number for _, number in second)
    everything = {(query, number) for query in ("ladybird", "garden spider") for number in range(1, last + 1)}
    again = set(first) & set(second)
    assert set(first) | set(second) == everything
    assert len(again) <= len(first) - kept  # only what was under way, or arriving, when it was killed
    assert read_candidates(desk.candidates.parent).group_by("label").len()["len"].min() > 20 * (last - 2)
    assert not list(desk.candidates.glob("*.draft"))
