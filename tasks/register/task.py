"""The Prefect task that registers a finished fit. Addresses in, a name and a version out.

Reads and writes what `tasks.register.registry` does.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task

from tasks.register.registry import register
from tasks.track.config import Tracker


@task(name="register")
def register_fit(*, tracker: Tracker, run_id: str, fit: str, dataset: str, name: str) -> dict[str, Any]:
    """Register the model in the folder `fit`; return name, version, aliases, run_id and url."""
    found = register(tracker, run_id=run_id, fit=Path(fit), dataset=Path(dataset), name=name)
    get_run_logger().info("register: %s version %d (%s)", found.name, found.version, ", ".join(found.aliases))
    return {**asdict(found), "aliases": list(found.aliases)}
