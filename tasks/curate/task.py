"""Curation as Prefect tasks: addresses and counts in, addresses and counts out.

Owns no logic; `verdicts.py` judges, `sheet.py` draws.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task

from tasks.core.workspace import Workspace
from tasks.curate.config import CurateConfig
from tasks.curate.sheet import write_sheet
from tasks.curate.verdicts import curate


@task
def curate_collection(*, collection: str, config: CurateConfig, labels: tuple[str, ...]) -> dict[str, Any]:
    """Judge a collection; return `path` and `fingerprint` of the verdicts, counts in `verdicts` and `classes`."""
    curated = curate(Path(collection), config, labels=labels)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in curated.verdicts.items()) or "no stored image"
    get_run_logger().info("%s: %s", curated.path.name, counts)
    return {
        "path": str(curated.path),
        "fingerprint": curated.fingerprint,
        "verdicts": curated.verdicts,
        "classes": curated.classes,
    }


@task
def draw_contact_sheet(*, workspace: str, verdicts: str, per_class: int = 8) -> str:
    """Draw a contact sheet of the images kept; return its address."""
    path = write_sheet(Workspace(Path(workspace)), Path(verdicts), per_class=per_class)
    get_run_logger().info("contact sheet %s", path)
    return str(path)
