"""Publishing a data set as a Prefect task: addresses and counts in, addresses and counts out.

Owns no logic; `publish.py` splits and publishes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task

from tasks.core.workspace import Workspace
from tasks.split.config import SplitConfig
from tasks.split.publish import publish


@task
def publish_dataset(
    *, workspace: str, recipe: str, verdicts: str, config: SplitConfig, labels: tuple[str, ...]
) -> dict[str, Any]:
    """Publish what `verdicts` kept; return `version`, `path`, `digest`, `images`, `counts`, `licences` and `new`."""
    root = Workspace(Path(workspace))
    dataset, new = publish(root, recipe, verdicts=Path(verdicts), config=config, labels=labels)
    path = root.datasets(recipe) / dataset.version
    sizes = ", ".join(f"{sum(classes.values())} {split}" for split, classes in dataset.counts.items())
    get_run_logger().info("data set %s (%s): %s", dataset.version, "new" if new else "unchanged", sizes)
    return {
        "version": dataset.version,
        "path": str(path),
        "digest": dataset.digest,
        "images": dataset.images,
        "counts": dataset.counts,
        "licences": dataset.licences,
        "new": new,
    }
