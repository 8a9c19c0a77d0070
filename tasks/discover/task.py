"""Prefect's handle on discover: one task is one source of one class.

Reads the source; writes one shard of candidates/, named by its content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from prefect import get_run_logger, task

from tasks.core.errors import TryAgainError
from tasks.core.fingerprint import table_digest
from tasks.core.network import NetworkPolicy
from tasks.core.tables import candidates_shard, write_table
from tasks.discover.config import Source
from tasks.discover.sources import discover


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:  # noqa: ANN401 - Prefect's types; only the exception counts
    return isinstance(state.result(raise_on_failure=False), TryAgainError)


@task(
    name="discover-source",
    task_run_name="discover {label}",
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=_may_pass,
)
def discover_source(*, collection: str, label: str, source: Source, network: NetworkPolicy) -> dict[str, int]:
    """Write what `source` offers now for the class `label` as its shard of `collection`; return its counts.

    A new answer replaces the old one: an address taken off a list, or a licence withdrawn, does not live on.
    """
    found = discover(source, label=label, network=network)
    shard = candidates_shard(Path(collection), label, source)
    if not shard.exists() or table_digest(pl.read_parquet(shard)) != table_digest(found.candidates):
        write_table(found.candidates, shard)
    get_run_logger().info(
        "%s from %s: %s", label, source.source, ", ".join(f"{number} {note}" for note, number in found.notes.items())
    )
    return found.notes
