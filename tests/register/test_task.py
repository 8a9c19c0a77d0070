from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefect.logging import disable_run_logger

from tasks.register.task import register_fit
from tasks.track.config import Tracker


def test_the_task_gives_plain_values(
    tracker: Tracker, run_id: str, make_fit: Callable[..., Path], dataset: Path, name: str
) -> None:
    with disable_run_logger():
        found = register_fit.fn(tracker=tracker, run_id=run_id, fit=str(make_fit()), dataset=str(dataset), name=name)
    assert found == {
        "name": name, "version": 1, "aliases": ["challenger", "champion"], "run_id": run_id,
        "url": f"{tracker.uri}/#/models/{name}/versions/1",
    }  # fmt: skip
