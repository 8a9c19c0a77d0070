from __future__ import annotations

from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from tasks.evaluate.config import EvaluateConfig
from tasks.evaluate.task import evaluate_fit


def test_the_task_takes_addresses_and_gives_flat_figures(fit: Path, dataset: Path) -> None:
    with disable_run_logger():
        figures = evaluate_fit.fn(fit=str(fit), dataset=str(dataset), config=EvaluateConfig(mistakes=2))
    assert figures["test/accuracy"] == pytest.approx(0.5)
    assert (fit / "mistakes.png").exists()
