from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.history import write_history
from tasks.core.tables import CANDIDATES, LEDGER, SPLITS, conform, write_table
from tasks.curate.config import CurateConfig

Row = dict[str, Any]
Collect = Callable[..., Path]


def _row(url: str, label: str, picture: str, **changes: object) -> Row:
    """One stored address. `picture` names the bytes; by default each picture has hashes far from all others."""
    digest = hashlib.sha256(picture.encode())
    return {
        "url": url,
        "label": label,
        "source": "list",
        "outcome": "kept",
        "sha256": digest.hexdigest(),
        "format": "JPEG",
        "width": 100,
        "height": 100,
        "bytes": 1000,
        "contrast": 50.0,
        "phash": int.from_bytes(digest.digest()[:8]),
        "verify_hash": digest.digest(),
    } | changes


@pytest.fixture
def row() -> Callable[..., Row]:
    return _row


@pytest.fixture
def collect(tmp_path: Path) -> Collect:
    """Write rows as one shard of candidates and one of ledger, and return the collection's folder."""

    def write(rows: list[Row], shard: str = "0") -> Path:
        frame = pl.DataFrame(rows, schema_overrides={"phash": pl.UInt64()}, infer_schema_length=None)
        write_table(conform(frame, CANDIDATES), tmp_path / "collection" / "candidates" / f"{shard}.parquet")
        write_table(conform(frame, LEDGER), tmp_path / "collection" / "ledger" / f"{shard}.parquet")
        return tmp_path / "collection"

    return write


@pytest.fixture
def decide(tmp_path: Path) -> Callable[..., CurateConfig]:
    """Write what a person says of stored rows, as (row, verdict) or (row, verdict, class), and return the config."""

    def write(*said: tuple[Any, ...]) -> CurateConfig:
        lines = [f"{row['sha256']},{verdict},{''.join(label)}" for row, verdict, *label in said]
        path = tmp_path / "said.csv"
        path.write_text("\n".join(("sha256,verdict,label", *lines)), encoding="utf-8")
        return CurateConfig(decisions=(path,))

    return write


@pytest.fixture
def release() -> Callable[..., None]:
    """Write rows down as published in a version."""

    def write(collection: Path, rows: list[Row], version: str = "v1") -> None:
        frame = pl.DataFrame(rows).with_columns(split=pl.lit("train"), credited=pl.lit(value=True))
        write_history(collection, version, conform(frame, SPLITS), line="line")

    return write
