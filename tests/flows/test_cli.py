"""The command line as a person meets it: one clear message, exit code 1 (2 for wrong usage), nothing lost."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.decisions import login
from flows.stack import Stack
from tasks.core.tables import read_ledger

RECIPE = """
name: two
classes:
  a: [{source: url_list, path: a.txt}]
  b: [{source: url_list, path: b.txt}]
ingest: {attempts: 1, timeout: 2}
model: {backbone: mobilenet, alpha: 0.25, weights: none, image_size: 32}
"""


class Desk:
    """A folder with a recipe, a workspace, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workspace, self.recipe = folder, folder / "workspace", folder / "two.yaml"
        self.recipe.write_text(RECIPE)
        for name in "ab":
            (folder / f"{name}.txt").write_text("".join(f"http://127.0.0.1:9/{name}{n}.jpg\n" for n in range(3)))
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        self.environment = keep | {
            "HARVESTMAN_WORKSPACE": str(self.workspace),
            "KERAS_HOME": str(folder / "keras"),
            "PREFECT_HOME": str(folder / "prefect"),
        }

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> str:
        command = [sys.executable, "-m", "flows.cli", *arguments]
        done = subprocess.run(
            command, env=self.environment | environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        text = done.stdout + done.stderr
        assert done.returncode == code, text
        if code:
            assert "Traceback" not in text
        return text


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def closed() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_user_without_an_entry_in_the_list_of_users_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    assert login() == "uid 987654"
    monkeypatch.setenv("USER", "ada")
    assert login() == "ada"


def test_wrong_usage_is_2(desk: Desk) -> None:
    desk("run", code=2)
    assert "No such command" in desk("rnu", code=2)
    desk(code=2)


def test_every_command_has_help(desk: Desk) -> None:
    commands = re.findall(r"^│ ([a-z]+)  ", desk("--help"), flags=re.MULTILINE)
    assert set(commands) == {
        "run", "check", "status", "inspect", "rehearse", "demo", "up", "down", "review", "decide", "audit", "diff",
    }  # fmt: skip
    for command in commands:
        assert "--help" in desk(command, "--help")


def test_a_wrong_recipe_is_told_before_anything_starts(desk: Desk) -> None:
    desk.recipe.write_text(RECIPE + "trian: {}\n")
    assert "trian: unknown field; did you mean train?" in desk("run", "two.yaml", code=1)
    assert not desk.workspace.exists()


def test_a_missing_recipe_offers_the_nearest(desk: Desk) -> None:
    assert "Did you mean two.yaml?" in desk("check", "too.yaml", code=1)


def test_check_names_every_problem_at_once(desk: Desk, closed: str) -> None:
    desk.recipe.write_text(RECIPE.replace("weights: none", "weights: imagenet"))
    (desk.folder / "b.txt").unlink()
    text = desk("check", "two.yaml", code=1, MLFLOW_TRACKING_URI=closed, PREFECT_API_URL=f"{closed}/api")
    assert "mobilenet_2_5_224_tf_no_top.h5" in text
    assert "curl --fail" in text
    assert "b from url_list: There is no URL list" in text
    assert "Prefect server" in text
    assert "MLflow" in text
    found: dict[str, Any] = json.loads(desk("check", "two.yaml", "--json", code=1, MLFLOW_TRACKING_URI=closed))
    assert len(found["problems"]) == 3


def test_check_counts_what_is_no_address(desk: Desk) -> None:
    with (desk.folder / "a.txt").open("a") as lines:
        lines.write("http://127.0.0.1:99999/x.jpg\n")
    text = desk("check", "two.yaml")
    assert "1 invalid-address" in " ".join(text.split())


def test_a_variable_that_cannot_be_read_is_one_line(desk: Desk) -> None:
    text = desk("check", "two.yaml", code=1, HARVESTMAN_TASKS_AT_ONCE="0")
    assert "HARVESTMAN_TASKS_AT_ONCE: Input should be greater than or equal to 1 (received '0')" in text
    assert "errors.pydantic.dev" not in text


def test_check_says_when_all_is_well(desk: Desk) -> None:
    assert "ready to run" in desk("check", "two.yaml")


@pytest.mark.parametrize("down", ["PREFECT_API_URL", "MLFLOW_TRACKING_URI"])
def test_a_server_that_is_down_is_one_message(desk: Desk, closed: str, down: str) -> None:
    address = f"{closed}/api" if down == "PREFECT_API_URL" else closed
    text = desk("run", "two.yaml", code=1, **{down: address})
    assert closed in text
    assert "harvestman up" in text or "MLFLOW_TRACKING_URI" in text
    assert len(text.splitlines()) < 8


def test_a_workspace_that_cannot_be_written_is_one_message(desk: Desk) -> None:
    desk.workspace.write_text("a file")
    text = desk("run", "two.yaml", code=1)
    assert "HARVESTMAN_WORKSPACE" in text


def test_status_of_nothing_says_what_to_do(desk: Desk) -> None:
    assert "Nothing has been collected yet" in desk("status", "two.yaml")
    assert json.loads(desk("status", "two.yaml", "--json"))["addresses"] == 0


def test_an_unreachable_site_is_written_down_and_the_empty_classes_are_named(desk: Desk, stack: Stack) -> None:
    server = {"PREFECT_API_URL": stack.prefect_api_url}
    allowed = {"HARVESTMAN_ALLOWED_HOSTS": '["127.0.0.1:9"]'}
    text = desk("run", "two.yaml", code=1, **server, **allowed)
    assert "3 unreachable" in text
    assert {"a", "b"} <= set(re.findall(r"\b[ab]\b", text))
    assert read_ledger(desk.workspace / "collections" / "two")["outcome"].to_list() == ["unreachable"] * 6
    known = json.loads(desk("status", "two.yaml", "--json"))
    assert known["outcomes"] == {"unreachable": 6}
    # Private addresses are not asked unless the settings allow it; a passing failure is asked again on demand.
    desk("run", "two.yaml", "--retry", "unreachable", code=1, **server)
    assert json.loads(desk("status", "two.yaml", "--json"))["outcomes"] == {"blocked-address": 6}
    assert "did you mean" in desk("run", "two.yaml", "--retry", "timeuot", code=1, **server).lower()


def test_a_class_without_addresses_is_named(desk: Desk, stack: Stack) -> None:
    (desk.folder / "b.txt").write_text("# none yet\n")
    text = desk("run", "two.yaml", code=1, PREFECT_API_URL=stack.prefect_api_url)
    assert "b.txt" in text
