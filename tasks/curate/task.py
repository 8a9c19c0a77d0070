"""Curation as Prefect tasks: addresses and counts in, addresses and counts out.

Owns no logic; `verdicts.py` judges, `review.py` lists, `sheet.py` draws. Prefect caches none of it: a run that is
resumed has to see what was decided meanwhile, and what need not be done twice is known by its content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.core.workspace import Workspace
from tasks.curate.config import CurateConfig
from tasks.curate.decisions import idle
from tasks.curate.review import PICTURED, open_review
from tasks.curate.sheet import write_sheet
from tasks.curate.suspects import MISLABELLED, OFF_TOPIC, Featured, read_suspects, write_suspects
from tasks.curate.verdicts import curate

_SHOWN = 100  # rows of the review list that are handed on; all of them stand in the file


@task(cache_policy=NO_CACHE)
def curate_collection(
    *, workspace: str, collection: str, config: CurateConfig, labels: tuple[str, ...]
) -> dict[str, Any]:
    """Judge a collection; return the verdicts' `path` and `fingerprint`, and the counts.

    Counts: rows in `verdicts` and `classes`, images in `decisions`, clusters in `conflicts`; see `Curated`.
    """
    curated = curate(Path(collection), config, labels=labels, workspace=Workspace(Path(workspace)))
    logger = get_run_logger()
    counts = ", ".join(f"{count} {verdict}" for verdict, count in curated.verdicts.items()) or "no stored image"
    logger.info("%s: %s", curated.path.name, counts)
    if curated.unknown:
        logger.warning(idle(curated.unknown))
    return {
        "path": str(curated.path),
        "fingerprint": curated.fingerprint,
        "verdicts": curated.verdicts,
        "classes": curated.classes,
        "decisions": curated.decisions,
        "conflicts": curated.conflicts,
        "decisions_digest": curated.decisions_digest,
    }


@task(cache_policy=NO_CACHE)
def list_for_review(*, workspace: str, collection: str, verdicts: str, config: CurateConfig) -> dict[str, Any]:
    """List what waits for a person; return how many are `open`, the list's `path` and `digest`, its first `rows`.

    Where nothing waits there is no list: `path` and `digest` are empty.
    """
    path, waiting = open_review(Workspace(Path(workspace)), Path(collection), Path(verdicts), config=config)
    if path is None:
        get_run_logger().info("no image waits for a decision")
        return {"open": 0, "path": "", "digest": "", "rows": []}
    beyond = f" ({waiting.height - PICTURED} of them not pictured)" if waiting.height > PICTURED else ""
    get_run_logger().info("%d images wait for a decision%s: %s", waiting.height, beyond, path)
    first = waiting.head(_SHOWN).to_dicts()
    return {"open": waiting.height, "path": str(path), "digest": path.stem, "rows": first}


@task(cache_policy=NO_CACHE)
def rank_suspects(*, collection: str, features: str, index: str, dataset: str, seed: int) -> dict[str, int]:
    """Rank the images of the version `dataset` that look like mistakes; return how many, by reason.

    `features` and `index` are folders: of the features, and of the prepared images they were made from.
    """
    featured = Featured(features=Path(features), index=Path(index) / "index.parquet", dataset=Path(dataset))
    path = write_suspects(Path(collection), featured, seed=seed)
    found = read_suspects(Path(collection))["reason"].to_list()
    counts = {reason: found.count(reason) for reason in (MISLABELLED, OFF_TOPIC)}
    get_run_logger().info("%s: %s", path.name, ", ".join(f"{count} {reason}" for reason, count in counts.items()))
    return counts


@task(cache_policy=NO_CACHE)
def draw_contact_sheet(*, workspace: str, verdicts: str, per_class: int = 8) -> str:
    """Draw a contact sheet of the images kept; return its address."""
    path = write_sheet(Workspace(Path(workspace)), Path(verdicts), per_class=per_class)
    get_run_logger().info("contact sheet %s", path)
    return str(path)
