from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.tables import CANDIDATES, LEDGER, conform, write_table

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
