"""What is known of a stack: its ports and processes, kept in `<workspace>/stack/stack.json`.

Reads and writes that file, and derives the addresses and the environment that lead to the servers.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flows.stack.processes import ProcessRecord, is_alive
from tasks.core.errors import WorkspaceError
from tasks.core.files import read_json, write_json

HOST = "127.0.0.1"
_LOOPBACK = f"{HOST},localhost"


@dataclass(frozen=True)
class Stack:
    """One workspace's servers and workers."""

    folder: Path
    """`<workspace>/stack`, absolute."""
    prefect_port: int = 0
    """Port of the Prefect server; 0 = none chosen yet."""
    mlflow_port: int = 0
    """Port of the MLflow server; 0 = none chosen yet."""
    processes: tuple[ProcessRecord, ...] = ()
    """The processes started last, alive or not."""
    registered: str = ""
    """Fingerprint of the pools, limits and deployments registered last."""
    worker_settings: str = ""
    """Fingerprint of the environment the workers were started with."""

    @property
    def prefect_api_url(self) -> str:
        """Address of the Prefect API."""
        return f"{self.prefect_ui_url}/api"

    @property
    def prefect_ui_url(self) -> str:
        """Address of the Prefect pages."""
        return f"http://{HOST}:{self.prefect_port}"

    @property
    def mlflow_uri(self) -> str:
        """Address of the MLflow server, API and pages alike."""
        return f"http://{HOST}:{self.mlflow_port}"

    def alive(self) -> dict[str, ProcessRecord]:
        """Return the processes that run, by name."""
        return {record.name: record for record in self.processes if is_alive(record)}

    def with_process(self, record: ProcessRecord) -> Stack:
        """Return the stack with `record` in place of the process of the same name."""
        others = tuple(other for other in self.processes if other.name != record.name)
        return replace(self, processes=(*others, record))

    def save(self) -> Stack:
        """Write stack.json."""
        write_json(self.folder / "stack.json", {k: v for k, v in asdict(self).items() if k != "folder"})
        return self


def read_stack(folder: Path) -> Stack:
    """Read stack.json in `folder`; a stack that was never started has no ports and no processes.

    Raises:
        WorkspaceError: the file is not what `Stack.save` writes.
    """
    path = folder / "stack.json"
    try:
        raw = read_json(path)
        records = tuple(ProcessRecord(**record) for record in raw.pop("processes"))
        return Stack(folder=folder, processes=records, **raw)
    except (FileNotFoundError, NotADirectoryError):
        return Stack(folder=folder)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise WorkspaceError(
            f"{path} cannot be read.",
            received=f"{type(error).__name__}: {error}",
            hint="Delete that file and run `harvestman down`, which finds the processes without it.",
        ) from error


def stack_environment(stack: Stack) -> dict[str, str]:
    """Return the variables that lead a process to this stack's servers, and past any proxy and user profile."""
    return {
        "PREFECT_API_URL": stack.prefect_api_url,
        "PREFECT_HOME": str(stack.folder / "prefect"),
        "MLFLOW_TRACKING_URI": stack.mlflow_uri,
        "NO_PROXY": without_proxy("NO_PROXY"),
        "no_proxy": without_proxy("no_proxy"),
    }


def without_proxy(variable: str) -> str:
    """Return the value of a no-proxy variable with the loopback added."""
    return ",".join(dict.fromkeys([*filter(None, os.environ.get(variable, "").split(",")), *_LOOPBACK.split(",")]))
