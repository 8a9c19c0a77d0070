"""What the report reads of a collection: every address offered for the data set's classes, and what became of it.

Reads candidates and ledger; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tasks.core.tables import GONE, read_candidates, read_ledger


@dataclass(frozen=True)
class Collected:
    """The tables of one report."""

    offered: pl.DataFrame
    """A row per address and class: url, label, source, outcome, reason; null outcome: not asked yet."""
    hashes: pl.DataFrame
    """A row per stored image: sha256, phash, verify_hash."""
    versions: dict[str, int]
    """Images by the libraries that decoded and hashed them."""
    judged: pl.DataFrame
    """The verdicts, with `offered_label` filled; without `gone` ones, which no source offers."""
    gone: pl.DataFrame
    """Images of earlier versions that no source offers any more."""


def read_collected(collection: Path, verdicts: pl.DataFrame, manifest: pl.DataFrame) -> Collected:
    """Read the collection that `verdicts` judged and `manifest` came from."""
    verdicts = verdicts.with_columns(pl.coalesce("offered_label", "label").alias("offered_label"))
    labels = pl.concat([verdicts["label"], verdicts["offered_label"], manifest["label"]]).drop_nulls().unique()
    ledger = read_ledger(collection, "url", "outcome", "reason", "sha256", "phash", "verify_hash", "versions")
    offered = (
        read_candidates(collection)
        .filter(pl.col("label").is_in(labels.implode()))
        .select("url", "label", "source")
        .join(ledger.select("url", "outcome", "reason"), on="url", how="left", maintain_order="left")
    )
    used = ledger.filter(pl.col("sha256").is_in(verdicts["sha256"].unique().implode())).unique(
        "sha256", keep="first", maintain_order=True
    )
    versions = used.group_by(pl.col("versions").fill_null("unknown")).len().sort("len", "versions", descending=True)
    return Collected(
        offered=offered,
        hashes=used.select("sha256", "phash", "verify_hash"),
        versions=dict(versions.iter_rows()),
        judged=verdicts.filter(pl.col("verdict") != GONE),
        gone=verdicts.filter(pl.col("verdict") == GONE),
    )
