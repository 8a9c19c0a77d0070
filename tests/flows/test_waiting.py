"""A budget that is used up, as a person meets it: told on the terminal, kept off nobody else, ended by one Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.core.network import Budget, NetworkPolicy
from tasks.core.spending import Spending

if TYPE_CHECKING:
    from tests.flows.conftest import RunningStack

CLASSES = 10
RECIPE = (
    "name: waits\nclasses:\n"
    + "".join(f"  api{n}: [{{source: openverse, query: a{n}}}]\n" for n in range(CLASSES))
    + "  listed: [{source: url_list, path: listed.txt}]\nmodel: {weights: none}\n"
)
HOST = "127.0.0.1:9"
BUDGET = {"site": {"hosts": [HOST], "requests": {"hour": 1}}}
USED_UP = "The budget site is used up (1 requests an hour)"


class Desk:
    """A recipe of which one API's budget is used up for an hour."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workspace, self.log = folder, folder / "workspace", folder / "log"
        (folder / "waits.yaml").write_text(RECIPE)
        (folder / "listed.txt").write_text("".join(f"http://{HOST}/{n}.jpg\n" for n in range(30)))
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        self.environment = clean | {
            "HARVESTMAN_WORKSPACE": str(self.workspace),
            "HARVESTMAN_APIS": json.dumps({"openverse": f"http://{HOST}"}),
            "HARVESTMAN_ALLOWED_HOSTS": json.dumps([HOST]),
            "HARVESTMAN_BUDGETS": json.dumps(BUDGET),
            "PREFECT_HOME": str(folder / "prefect"),
        }
        budget = Budget.model_validate(BUDGET["site"])
        network = NetworkPolicy(user_agent="t", budgets={"site": budget}, spent=self.workspace / "spent.sqlite")
        spending = Spending(network)
        spending.answered("127.0.0.1", 9, spending.take("127.0.0.1", 9)[1])

    @property
    def said(self) -> str:
        return " ".join(self.log.read_text().split())

    @contextmanager
    def running(self, command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        words = [sys.executable, "-u", "-m", "flows.cli", command, str(self.folder / "waits.yaml")]
        with self.log.open("wb") as log:
            process = subprocess.Popen(words, env=self.environment | environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def test_check_tells_when_a_used_up_budget_goes_on_and_waits_for_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with desk.running("check", PYTHONFAULTHANDLER="1") as process:
        try:
            code = process.wait(120)  # 4 s on an idle core, 15 under coverage on a busy one
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # leaves the stack of each thread in the log
            process.wait(20)
            pytest.fail(desk.log.read_text())
        assert code == 1
    assert USED_UP in desk.said
    assert "It goes on at 2" in desk.said
    assert "listed from url_list: 30 images" in desk.said


@pytest.mark.slow
def test_a_run_that_waits_says_so_asks_the_others_and_ends_at_one_ctrl_c(
    running_stack: RunningStack, tmp_path: Path
) -> None:
    desk = Desk(tmp_path)
    stack = running_stack.stack
    with desk.running("run", PREFECT_API_URL=stack.prefect_api_url, MLFLOW_TRACKING_URI=stack.mlflow_uri) as process:
        until = time.monotonic() + 90
        collected = desk.workspace / "collections" / "waits" / "candidates"
        while USED_UP not in desk.said or not list(collected.glob("*.parquet")):
            assert process.poll() is None, desk.said
            assert time.monotonic() < until, desk.said
            time.sleep(0.2)
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130, desk.said
    assert desk.said.count(USED_UP) == 1
    assert "goes on at 2" in desk.said
    assert "Stopped. What is stored stays stored" in desk.said
    assert "Traceback" not in desk.said
    logs = running_stack.api.post("/logs/filter", json={"limit": 200, "sort": "TIMESTAMP_DESC"}).json()
    told = [line for line in logs if USED_UP in line["message"]]
    assert told
    assert all(line["task_run_id"] and line["name"].endswith("harvestman") for line in told)
