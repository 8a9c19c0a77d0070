"""Prefect's handle on discover: one task is one source of one class.

Reads the source; writes one shard of candidates/, named by the class and the source's block.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.core.waiting import FOLLOWED
from tasks.discover.found import Ask, contained
from tasks.discover.gather import gather, shard_path, utc_now
from tasks.discover.sources import SOURCES


@task(
    name="discover-source",
    task_run_name="discover {ask.name}",
    cache_policy=NO_CACHE,  # `gather` knows what it has asked; Prefect need not hash keys and addresses
    # No retries: `tasks.discover.api` asks again itself, as often and as late as the site wants to be asked.
)
def discover_source(*, collection: str, ask: Ask[Any]) -> dict[str, int]:
    """Bring the shard of one source up to date.

    Returns:
        Its counts: rows looked at, left out by reason, `candidates` in the shard.
    """
    log = get_run_logger()
    # Prefect hands out an adapter that has getChild too, which its type leaves out.
    followed = cast("logging.Logger", log).getChild(FOLLOWED)

    def tell(found: int, expected: int | None) -> None:
        log.info("%s: %d candidates%s", ask.name, found, f" of about {expected}" if expected else "")

    shard = shard_path(Path(collection), ask)
    said = replace(ask, say=partial(followed.warning, "%s"))
    with contained(ask.source.source):
        gathered = gather(said, SOURCES[ask.source.source], shard, now=utc_now(), on_page=tell)
    counts = ", ".join(f"{number} {note}" for note, number in gathered.notes.items())
    log.info("%s: %s%s", ask.name, counts, "" if gathered.asked else " (its last answer still holds)")
    return gathered.notes
