"""What each process of the stack runs: its command, its environment, and how one sees that it is ready.

Reads `mlflow/server.env` and the `deploy/` folder of the checkout or installation. Writes nothing.
"""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
import zlib
from datetime import datetime
from pathlib import Path

import httpx

from flows.settings import Settings
from flows.stack.processes import ProcessRecord
from flows.stack.state import HOST, Stack, stack_environment
from tasks.core.errors import WorkspaceError

ROOT = Path(__file__).resolve().parents[2]
PREFECT, MLFLOW = "prefect", "mlflow"
SERVERS = (PREFECT, MLFLOW)
POOLS = ("cpu", "gpu")
WORKERS = tuple(f"worker-{pool}" for pool in POOLS)

_FIRST_PORT, _PORTS = 20_000, 10_000  # below the ports the kernel hands to outgoing connections (32768 up on Linux)
_ANSWER = 5.0  # seconds a health check waits

_SERVER_TUNING = {
    # SQLite records a task run in 14-18 ms with batches of 200 and in 55 ms with the defaults.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
}
_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_LOGGING_COLORS": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "PYTHONUNBUFFERED": "1",  # the logs are read while the processes run
}


def shipped(relative: str) -> Path:
    """Return a file that comes with Harvestman: from the checkout, or from where the wheel put it.

    Raises:
        WorkspaceError: it is in neither place.
    """
    places = [ROOT, Path(sysconfig.get_path("data")) / "share" / "harvestman"]
    for place in places:
        if (place / relative).exists():
            return place / relative
    raise WorkspaceError(
        f"{relative} is missing from this installation.",
        received=f"Not in {' nor in '.join(map(str, places))}.",
        hint="Install Harvestman again.",
    )


def free_port(remembered: int, name: str, folder: Path) -> int:
    """Return a port nobody listens on: the remembered one, or the next free one of this stack's own row.

    The row starts at a number derived from the folder, so a workspace keeps its addresses and two
    workspaces rarely meet.
    """
    start = zlib.crc32(f"{folder}:{name}".encode()) % _PORTS
    row = (_FIRST_PORT + (start + step) % _PORTS for step in range(_PORTS))
    for port in (remembered, *row):
        if port and _is_free(port):
            return port
    raise WorkspaceError(
        f"No port is free for {name}.", received=f"{_FIRST_PORT}-{_FIRST_PORT + _PORTS - 1} are taken."
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port of a server stopped just now is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def pool_of(worker: str) -> str:
    """Return the work pool a worker serves."""
    return worker.removeprefix("worker-")


def command(name: str, stack: Stack) -> list[str]:
    """Return the command line of a process, in this interpreter's environment."""
    if name == PREFECT:
        return [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(stack.prefect_port)]
    if name == MLFLOW:
        return [sys.executable, "-m", "mlflow", "--env-file", str(shipped("mlflow/server.env")), "server"]
    pool = name.removeprefix("worker-")
    return [
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        pool,
        "--type",
        "process",
        "--name",
        pool,
        "--install-policy",
        "never",
    ]


def environment(name: str, stack: Stack, settings: Settings) -> dict[str, str]:
    """Return the whole environment of a process.

    What the caller set for Prefect and MLflow leads to other servers or holds their keys (a stray
    PREFECT_API_KEY alone makes every request fail), so only PREFECT_LOGGING_* is taken over.
    """
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PREFECT_", "MLFLOW_")) or key.startswith("PREFECT_LOGGING_")
    }
    common = {**inherited, **_QUIET, "PYTHONPATH": _python_path(inherited.get("PYTHONPATH", ""))}
    if name == PREFECT:
        origins = ",".join(f"http://{host}:{stack.prefect_port}" for host in (HOST, "localhost"))
        return {
            **common,
            **_SERVER_TUNING,
            "PREFECT_HOME": str(stack.folder / "prefect"),
            # The pages ask port 4200 unless they are told: they look at the setting, not at `--port`.
            "PREFECT_SERVER_UI_API_URL": stack.prefect_api_url,
            # Under the default `*` any page of the Web may talk to the API.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins,
        }
    if name == MLFLOW:
        return {
            **common,
            "HARVESTMAN_STACK": str(stack.folder),
            "MLFLOW_HOST": HOST,
            "MLFLOW_PORT": str(stack.mlflow_port),
        }
    return {**common, **stack_environment(stack), **worker_settings(settings)}


def worker_settings(settings: Settings) -> dict[str, str]:
    """Return the variables that decide how a worker's flow runs behave: ours, the workspace made absolute."""
    ours = {key: value for key, value in sorted(os.environ.items()) if key.startswith("HARVESTMAN_")}
    return {
        **ours,
        "HARVESTMAN_WORKSPACE": str(settings.folders.root),
        # The default of 10 s is felt twice in every pipeline: when it starts and when it hands over to the gpu pool.
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }


def _python_path(inherited: str) -> str:
    """Return the PYTHONPATH with the checkout in front; an installed package is found without it."""
    own = [str(ROOT)] if (ROOT / "pyproject.toml").is_file() else []
    return os.pathsep.join(dict.fromkeys([*own, *filter(None, inherited.split(os.pathsep))]))


def is_ready(record: ProcessRecord, stack: Stack) -> bool:
    """Return whether a process does its work: a server answers, a worker has reported to the server."""
    try:
        if record.name == PREFECT:
            return _get(f"{stack.prefect_api_url}/health").is_success
        if record.name == MLFLOW:
            return _get(f"{stack.mlflow_uri}/health").is_success
        pool = pool_of(record.name)
        answer = httpx.post(
            f"{stack.prefect_api_url}/work_pools/{pool}/workers/filter", json={}, timeout=_ANSWER, trust_env=False
        )
        return answer.is_success and any(_reported_since(worker, record) for worker in answer.json())
    except httpx.HTTPError:
        return False


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=_ANSWER, trust_env=False)  # never through a proxy


def _reported_since(worker: dict[str, str], record: ProcessRecord) -> bool:
    """Return whether the worker reported after this process started (an earlier one has the same name)."""
    seen = worker.get("last_heartbeat_time")
    return bool(seen) and datetime.fromisoformat(str(seen)).timestamp() >= record.started


def listens(port: int) -> bool:
    """Return whether something accepts connections on a loopback port, however busy it is."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False
