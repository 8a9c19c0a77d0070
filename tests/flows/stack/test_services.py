from __future__ import annotations

import socket
from pathlib import Path

import pytest
from dotenv import dotenv_values

from flows.settings import Settings
from flows.stack.services import SERVERS, WORKERS, environment, free_port, shipped
from flows.stack.state import Stack, read_stack
from tasks.core.errors import WorkspaceError

STACK = Stack(folder=Path("/somewhere/stack"), prefect_port=21_000, mlflow_port=22_000)


def test_a_remembered_port_is_kept_while_it_is_free_and_replaced_when_it_is_taken(tmp_path: Path) -> None:
    first = free_port(0, "prefect", tmp_path)
    assert free_port(first, "prefect", tmp_path) == first
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert free_port(first, "prefect", tmp_path) != first


def test_a_workspace_gets_the_same_ports_each_time_and_its_servers_different_ones(tmp_path: Path) -> None:
    assert free_port(0, "prefect", tmp_path) == free_port(0, "prefect", tmp_path)
    assert free_port(0, "prefect", tmp_path) != free_port(0, "mlflow", tmp_path)


def test_settings_for_other_servers_reach_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PREFECT_API_KEY",
        "PREFECT_API_AUTH_STRING",
        "PREFECT_PROFILE",
        "MLFLOW_TRACKING_TOKEN",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        "MLFLOW_BACKEND_STORE_URI",
    ):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
    for name in (*SERVERS, *WORKERS):
        env = environment(name, STACK, Settings())
        assert "foreign" not in env.values()
        assert env["PREFECT_LOGGING_LEVEL"] == "DEBUG"
        assert env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_a_relative_workspace_reaches_the_workers_as_an_absolute_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    env = environment("worker-cpu", STACK, Settings(workspace=Path("mine")))
    assert env["HARVESTMAN_WORKSPACE"] == str(tmp_path / "mine")


def test_only_our_own_pages_may_call_the_prefect_api_from_a_browser() -> None:
    origins = environment("prefect", STACK, Settings())["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]
    assert origins == "http://127.0.0.1:21000,http://localhost:21000"


def test_the_tracking_servers_file_puts_everything_into_the_stacks_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTMAN_STACK", "/somewhere/stack")
    values = dotenv_values(shipped("mlflow/server.env"))
    assert values["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////somewhere/stack/mlflow.db"
    assert values["MLFLOW_ARTIFACTS_DESTINATION"] == "/somewhere/stack/artifacts"


def test_a_file_that_does_not_come_with_the_installation_is_named() -> None:
    with pytest.raises(WorkspaceError, match=r"deploy/nothing\.yaml is missing"):
        shipped("deploy/nothing.yaml")


def test_a_stack_is_read_as_it_was_saved_and_a_broken_record_is_explained(tmp_path: Path) -> None:
    saved = Stack(folder=tmp_path, prefect_port=1, mlflow_port=2, registered="x").save()
    assert read_stack(tmp_path) == saved
    (tmp_path / "stack.json").write_text('{"processes": [{"name": "x"}]}')
    with pytest.raises(WorkspaceError, match=r"stack\.json cannot be read"):
        read_stack(tmp_path)
