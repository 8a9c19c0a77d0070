"""Prefect's handle on discover: one task is one source of one class.

Reads the source; writes one shard of candidates/, named by its content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task

from tasks.core.errors import TryAgainError
from tasks.core.fingerprint import LENGTH, table_digest
from tasks.core.network import NetworkPolicy
from tasks.core.tables import write_table
from tasks.discover.config import Source
from tasks.discover.sources import discover


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:  # noqa: ANN401 - Prefect's types; only the exception counts
    return isinstance(state.result(raise_on_failure=False), TryAgainError)


@task(
    name="discover-source",
    task_run_name="discover {label}",
    retries=2,
    retry_delay_seconds=[10, 60],
    retry_condition_fn=_may_pass,
)
def discover_source(*, collection: str, label: str, source: Source, network: NetworkPolicy) -> dict[str, int]:
    """Write what `source` offers for the class `label` as a shard of `collection`; return its counts.

    The same answer has the same file name, so asking again adds nothing.
    """
    found = discover(source, label=label, network=network)
    shard = Path(collection) / "candidates" / f"{table_digest(found.candidates)[:LENGTH]}.parquet"
    if not shard.exists():
        write_table(found.candidates, shard)
    get_run_logger().info(
        "%s from %s: %s", label, source.source, ", ".join(f"{number} {note}" for note, number in found.notes.items())
    )
    return found.notes
