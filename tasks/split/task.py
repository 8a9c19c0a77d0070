"""Publishing a data set as a Prefect task: addresses and counts in, addresses and counts out.

Owns no logic; `publish.py` splits and publishes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.core.workspace import Workspace
from tasks.split.config import SplitConfig
from tasks.split.publish import publish

_DEALT_ANEW = (
    "the split of %s is dealt anew, because no earlier version has its seed, folds, splits and group_by: images that "
    "were in test may train, and models of both are not comparable"
)


@task(cache_policy=NO_CACHE)
def publish_dataset(
    *,
    workspace: str,
    recipe: str,
    verdicts: str,
    config: SplitConfig,
    labels: tuple[str, ...],
    decisions: str | None = None,
) -> dict[str, Any]:
    """Publish what `verdicts` kept.

    Returns `version`, `path`, `digest`, `images`, `counts`, `licences`, `shares`, `left_out`, `line`, `new` and
    `dealt_anew`; see `Dataset` and `Published`.
    """
    root = Workspace(Path(workspace))
    dataset, new, dealt_anew = publish(
        root, recipe, verdicts=Path(verdicts), config=config, labels=labels, decisions=decisions
    )
    sizes = ", ".join(f"{sum(classes.values())} {split}" for split, classes in dataset.counts.items())
    left_out = "".join(f", {count} left out ({reason})" for reason, count in dataset.left_out.items())
    get_run_logger().info("data set %s (%s): %s%s", dataset.version, "new" if new else "unchanged", sizes, left_out)
    if dealt_anew:
        get_run_logger().warning(_DEALT_ANEW, recipe)
    told = ("version", "digest", "images", "counts", "licences", "shares", "left_out", "line")
    return {"path": str(root.datasets(recipe) / dataset.version), "new": new, "dealt_anew": dealt_anew} | {
        name: getattr(dataset, name) for name in told
    }
