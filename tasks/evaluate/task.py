"""The Prefect task that judges a finished fit. Takes and returns addresses and figures only.

Reads what `tasks.evaluate.report` reads; writes what it writes.
"""

from __future__ import annotations

from pathlib import Path

from prefect import get_run_logger, task

from tasks.evaluate.config import EvaluateConfig
from tasks.evaluate.report import evaluate, flat


@task(name="evaluate")
def evaluate_fit(*, fit: str, dataset: str, config: EvaluateConfig) -> dict[str, float]:
    """Write the report of the folder `fit` and return its figures, e.g. {"test/accuracy": 0.93}."""
    figures = flat(evaluate(Path(fit), dataset=Path(dataset), config=config))
    get_run_logger().info(
        "evaluate: test accuracy %.3f, macro-F1 %.3f on %d images",
        figures["test/accuracy"], figures["test/macro_f1"], figures["test/n"],
    )  # fmt: skip
    return figures
