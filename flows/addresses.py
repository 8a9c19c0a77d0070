"""What became of a recipe's addresses, counted: by outcome, by class, by host; what may be asked again.

Reads candidates, ledger and journals of a collection; writes nothing.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from flows.hosts import by_host, most_frequent, most_refusing, slowest
from tasks.core.tables import KEPT, TRANSIENT, read_candidates, read_ledger
from tasks.ingest.journal import read_journals

_COLUMNS = ("url", "outcome", "reason", "bytes", "received", "seconds", "fetched_at")
# The words each rule's reason begins with, by the field of the recipe that switches it off.
_OPTED_OUT = {"robots_txt": "robots.txt", "robots_tag": "X-Robots-Tag"}


def read_addresses(collection: Path) -> pl.DataFrame:
    """Return one row an address and class, with what became of it; null where it has not been asked yet.

    Journals come before the ledger: a batch under way, or left by a killed run, is in no shard yet.
    """
    offered = read_candidates(collection).select("url", "label")
    unsealed = read_journals(collection).select(_COLUMNS).unique("url", keep="last")
    sealed = read_ledger(collection, *_COLUMNS).join(unsealed, on="url", how="anti")
    return offered.join(pl.concat([sealed, unsealed]), on="url", how="left", maintain_order="left")


def count_addresses(rows: pl.DataFrame, *, retry_after_hours: float) -> dict[str, Any]:
    """Return the counts of `read_addresses`, ready for JSON; docs/ingest.md says what each key means.

    Args:
        rows: what `read_addresses` returned.
        retry_after_hours: as in the recipe.
    """
    addresses = rows.unique("url", keep="first", maintain_order=True)
    asked = addresses.drop_nulls("outcome")
    hosts = by_host(addresses)
    return {
        "addresses": addresses.height,
        "pending": addresses.height - asked.height,
        "outcomes": _outcomes(asked),
        "reasons": _reasons(asked),
        "opted_out": _opted_out(asked),
        "retry": _retry(asked, timedelta(hours=retry_after_hours)),
        "classes": _classes(rows),
        "hosts": {row.pop("host"): row for row in hosts.drop("judged", "blamed", "blame").to_dicts()},
        "slowest": slowest(hosts),
        "most_refusing": most_refusing(hosts),
    }


def _outcomes(asked: pl.DataFrame) -> dict[str, int]:
    return dict(asked.group_by("outcome").len().sort("len", "outcome", descending=[True, False]).iter_rows())


def _reasons(asked: pl.DataFrame) -> dict[str, dict[str, Any]]:
    found = most_frequent(asked.filter(pl.col("outcome") != KEPT), "outcome", "reason")
    return {outcome: {"reason": reason, "addresses": times} for outcome, reason, times in found.iter_rows()}


def _opted_out(asked: pl.DataFrame) -> dict[str, int]:
    reasons = asked.filter(outcome="opted-out")["reason"]
    return {field: int(reasons.str.starts_with(words).sum()) for field, words in _OPTED_OUT.items()}


def _retry(asked: pl.DataFrame, rest: timedelta) -> dict[str, dict[str, Any]]:
    passing = asked.filter(pl.col("outcome").is_in(TRANSIENT)).group_by("outcome")
    found = passing.agg(pl.len(), pl.col("fetched_at").min()).sort("len", "outcome", descending=[True, False])
    return {
        outcome: {"addresses": count, "since": since.isoformat(), "due": (since + rest).isoformat()}
        for outcome, count, since in found.iter_rows()
    }


def _classes(rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    kept = (pl.col("outcome") == KEPT).sum()
    counts = rows.group_by("label").agg(
        pl.len().alias("addresses"), kept.alias("kept"), (pl.col("outcome").count() - kept).alias("refused")
    )
    refusal = most_frequent(rows.filter(pl.col("outcome") != KEPT), "label", "outcome")
    joined = counts.join(refusal.select("label", refusal="outcome"), on="label", how="left").sort("label")
    return {row.pop("label"): row for row in joined.to_dicts()}
