from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from flows.stack import Stack, find_stack, stack_environment, up
from flows.stack.processes import marked_processes, recorded_process
from flows.stack.services import SERVERS, WORKERS
from tasks.core.errors import BusyError, ServerUnavailableError
from tasks.core.files import locked

if TYPE_CHECKING:
    from tests.flows.conftest import RunningStack

pytestmark = pytest.mark.slow
PATIENCE = 60.0


def run_tiny(api: httpx.Client, out: Path, seconds: float = 0) -> str:
    """Ask for a run of the small deployment, as `prefect deployment run` does, and return its id."""
    deployment = api.get("/deployments/name/tiny/tiny").raise_for_status().json()
    asked = {"state": {"type": "SCHEDULED"}, "parameters": {"out": str(out), "seconds": seconds}}
    return str(api.post(f"/deployments/{deployment['id']}/create_flow_run", json=asked).raise_for_status().json()["id"])


def state(api: httpx.Client, run: str) -> str:
    return str(api.get(f"/flow_runs/{run}").raise_for_status().json()["state_type"])


def await_state(api: httpx.Client, run: str, wanted: set[str]) -> str:
    deadline = time.monotonic() + PATIENCE
    while (current := state(api, run)) not in wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return current


def pids(stack: Stack) -> dict[str, int]:
    return {record.name: record.pid for record in stack.processes}


def test_both_servers_answer_and_four_processes_run(running_stack: RunningStack, stack: Stack) -> None:
    assert running_stack.api.get("/health").json() is True
    assert httpx.get(f"{stack.mlflow_uri}/health", trust_env=False).text == "OK"
    assert "<title>" in httpx.get(stack.prefect_ui_url, trust_env=False, follow_redirects=True).text
    pages = httpx.get(f"{stack.prefect_ui_url}/ui-settings", trust_env=False).json()
    assert pages["api_url"] == stack.prefect_api_url  # without this they show an error and retry for ever
    assert set(stack.alive()) == {*SERVERS, *WORKERS}
    assert stack == running_stack.stack


def test_pools_are_those_of_the_description(running_stack: RunningStack) -> None:
    pools = {pool["name"]: pool for pool in running_stack.api.post("/work_pools/filter", json={}).json()}
    assert {name: (pool["type"], pool["concurrency_limit"]) for name, pool in pools.items()} == {
        "cpu": ("process", 4),
        "gpu": ("process", 1),
    }


def test_the_four_deployments_wait_on_their_pools_with_the_recipe_as_a_required_parameter(
    running_stack: RunningStack,
) -> None:
    found: dict[str, dict[str, Any]] = {}
    for name in ("pipeline", "collect", "curate", "train"):
        found[name] = running_stack.api.get(f"/deployments/name/{name}/{name}").raise_for_status().json()
    assert {name: each["work_pool_name"] for name, each in found.items()} == {
        "pipeline": "cpu",
        "collect": "cpu",
        "curate": "cpu",
        "train": "gpu",
    }
    for name, each in found.items():
        assert each["entrypoint"] == f"flows.{name}.{name}"
        assert each["pull_steps"] == []
        assert each["job_variables"] == {"working_dir": str(Path.cwd())}
        assert each["parameter_openapi_schema"]["required"] == ["recipe"]
        assert each["parameter_openapi_schema"]["properties"]["recipe"]["type"] == "string"


def test_the_pipeline_has_a_weekly_schedule_that_is_switched_off(running_stack: RunningStack) -> None:
    (weekly,) = running_stack.api.get("/deployments/name/pipeline/pipeline").json()["schedules"]
    assert weekly["slug"] == "weekly"
    assert weekly["active"] is False
    assert weekly["schedule"]["cron"] == "0 3 * * 1"
    assert weekly["parameters"]["recipe"].endswith(".yaml")


def test_an_adhoc_run_is_executed_by_the_cpu_worker_in_the_callers_folder_and_environment(
    running_stack: RunningStack, stack: Stack, tmp_path: Path
) -> None:
    run = run_tiny(running_stack.api, tmp_path / "facts.json")
    assert await_state(running_stack.api, run, {"COMPLETED", "FAILED", "CRASHED"}) == "COMPLETED"
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts.pop("pid") not in pids(stack).values()
    assert facts == {
        "cwd": str(Path.cwd()),
        "HARVESTMAN_WORKSPACE": str(running_stack.settings.workspace),
        "HARVESTMAN_CONTACT": "somebody@example.org",
        "MLFLOW_TRACKING_URI": stack.mlflow_uri,
        "PREFECT_API_URL": stack.prefect_api_url,
        "PREFECT_API_KEY": None,
    }


def test_up_again_keeps_every_process_and_says_so(running_stack: RunningStack, stack: Stack) -> None:
    lines: list[str] = []
    again = running_stack.up(lines)
    assert pids(again) == pids(stack)
    assert [line for line in lines if "runs already" in line] == [
        f"{record.name} runs already (process {record.pid})" for record in stack.processes
    ]
    assert not [line for line in lines if "starting" in line or "registered" in line]


def test_what_was_killed_is_started_again_a_lost_run_ends_and_a_persons_schedule_stays(
    running_stack: RunningStack, stack: Stack, tmp_path: Path
) -> None:
    api = running_stack.api
    run = run_tiny(api, tmp_path / "facts.json", seconds=600)
    assert await_state(api, run, {"RUNNING"}) == "RUNNING"
    os.kill(pids(stack)["worker-cpu"], signal.SIGKILL)
    for process in marked_processes(stack.folder, ["worker-cpu"]):
        process.kill()
    os.kill(pids(stack)["mlflow"], signal.SIGKILL)  # its child keeps the port
    while {"worker-cpu", "mlflow"} & set(stack.alive()) or marked_processes(stack.folder, ["worker-cpu"]):
        time.sleep(0.02)
    assert find_stack(running_stack.settings) is None
    assert state(api, run) == "RUNNING"  # nobody is left who could tell the server

    pipeline = api.get("/deployments/name/pipeline/pipeline").json()
    weekly = f"/deployments/{pipeline['id']}/schedules/{pipeline['schedules'][0]['id']}"
    api.patch(weekly, json={"active": True}).raise_for_status()
    text = (running_stack.deploy / "prefect.yaml").read_text()
    (running_stack.deploy / "prefect.yaml").write_text(text + "\n# changed: everything is registered anew\n")

    lines: list[str] = []
    again = running_stack.up(lines)

    assert "registered" in lines
    assert {name for name, pid in pids(again).items() if pid != pids(stack)[name]} == {"worker-cpu", "mlflow"}
    assert again.mlflow_uri == stack.mlflow_uri
    assert find_stack(running_stack.settings) == again
    assert all(recorded_process(record) for record in again.processes)
    assert state(api, run) == "CRASHED"
    assert api.get("/deployments/name/pipeline/pipeline").json()["schedules"][0]["active"] is True


def test_another_up_or_down_at_the_same_time_is_refused(running_stack: RunningStack, stack: Stack) -> None:
    with locked(stack.folder / "lock", "the local stack"), pytest.raises(BusyError, match="local stack"):
        running_stack.up([])


def test_the_environment_of_a_stack_leads_past_profiles_and_proxies(stack: Stack) -> None:
    environment = stack_environment(stack)
    assert environment["PREFECT_API_URL"] == f"http://127.0.0.1:{stack.prefect_port}/api"
    assert environment["MLFLOW_TRACKING_URI"] == f"http://127.0.0.1:{stack.mlflow_port}"
    assert Path(environment["PREFECT_HOME"]).is_relative_to(stack.folder)
    assert "127.0.0.1" in environment["NO_PROXY"].split(",")


def test_deployments_that_cannot_be_registered_are_explained_and_what_ran_before_stays(
    running_stack: RunningStack, stack: Stack, tmp_path: Path
) -> None:
    shutil.copytree(running_stack.deploy, tmp_path / "deploy")
    described = yaml.safe_load((tmp_path / "deploy" / "prefect.yaml").read_text())
    described["deployments"][0]["entrypoint"] = "flows.nothing_of_the_kind.pipeline"
    (tmp_path / "deploy" / "prefect.yaml").write_text(yaml.safe_dump(described))
    with pytest.raises(ServerUnavailableError) as caught:
        up(running_stack.settings, deploy=tmp_path / "deploy")
    assert caught.value.what == "The deployments could not be registered."
    assert "nothing_of_the_kind" in caught.value.received
    assert caught.value.hint == f"The whole log is {stack.folder / 'logs' / 'registration.log'}."
    assert find_stack(running_stack.settings) == stack
    assert set(stack.alive()) == {*SERVERS, *WORKERS}
