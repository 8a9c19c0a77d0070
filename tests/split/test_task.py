from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from tasks.core.errors import DataError
from tasks.core.workspace import Workspace
from tasks.split.config import SplitConfig
from tasks.split.task import publish_dataset


def _run(workspace: Workspace, verdicts: Path, config: SplitConfig | None = None) -> dict[str, Any]:
    with disable_run_logger():
        return publish_dataset.fn(
            workspace=str(workspace.root),
            recipe="insects",
            verdicts=str(verdicts),
            config=config or SplitConfig(),
            labels=("bee", "wasp"),
        )


def test_the_task_hands_on_address_digest_and_counts(
    row: Callable[..., dict[str, Any]], store: Callable[..., Path], workspace: Workspace
) -> None:
    verdicts = store([row(label, n) for label in ("bee", "wasp") for n in range(10)])
    first, second = _run(workspace, verdicts), _run(workspace, verdicts)
    assert json.loads(json.dumps(first)) == first
    assert (first["new"], second["new"]) == (True, False)
    assert second | {"new": True} == first
    assert Path(first["path"]).name == first["version"]
    assert (first["dealt_anew"], _run(workspace, verdicts, SplitConfig(seed=2))["dealt_anew"]) == (False, True)
    assert first["images"] == 20
    assert first["counts"]["train"] == {"bee": 7, "wasp": 7}


def test_a_class_too_small_comes_through(
    row: Callable[..., dict[str, Any]], store: Callable[..., Path], workspace: Workspace
) -> None:
    with pytest.raises(DataError, match="wasp: 1 image in 1 group"):
        _run(workspace, store([row("bee", n) for n in range(5)] + [row("wasp", 1)]))
