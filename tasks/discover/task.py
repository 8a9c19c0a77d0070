"""Prefect's handle on discover: one task is one source of one class.

Reads the source; writes one shard of candidates/, named by the class and the source's block.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.core.errors import TryAgainError
from tasks.discover.found import Ask
from tasks.discover.gather import gather, shard_path, utc_now
from tasks.discover.sources import SOURCES


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:  # noqa: ANN401 - Prefect's types; only the exception counts
    return isinstance(state.result(raise_on_failure=False), TryAgainError)


@task(
    name="discover-source",
    task_run_name="discover {ask.name}",
    cache_policy=NO_CACHE,  # `gather` knows what it has asked; Prefect need not hash keys and addresses
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=_may_pass,
)
def discover_source(*, collection: str, ask: Ask[Any]) -> dict[str, int]:
    """Bring the shard of one source up to date.

    Returns:
        Its counts: rows looked at, left out by reason, `candidates` in the shard.
    """
    log = get_run_logger()

    def tell(found: int, expected: int | None) -> None:
        log.info("%s: %d candidates%s", ask.name, found, f" of about {expected}" if expected else "")

    shard = shard_path(Path(collection), ask)
    gathered = gather(ask, SOURCES[ask.source.source], shard, now=utc_now(), on_page=tell)
    counts = ", ".join(f"{number} {note}" for note, number in gathered.notes.items())
    log.info("%s: %s%s", ask.name, counts, "" if gathered.asked else " (its last answer still holds)")
    return gathered.notes
