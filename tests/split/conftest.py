from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.tables import CANDIDATES, LEDGER, VERDICTS, conform, write_table
from tasks.core.workspace import Workspace

Row = dict[str, Any]


def _row(label: str, number: int, **changes: object) -> Row:
    sha256 = hashlib.sha256(f"{label}{number}".encode()).hexdigest()
    return {
        "sha256": sha256,
        "url": f"http://photos.example/{label}/{number}",
        "label": label,
        "source": "list",
        "outcome": "kept",
        "verdict": "kept",
        "cluster_id": sha256,
        "component": sha256,
        "format": "JPEG",
        "width": 100,
        "height": 100,
        "bytes": 10,
    } | changes


@pytest.fixture
def row() -> Callable[..., Row]:
    """Make a row of a collection and its verdicts; by default kept, and tied to nothing."""
    return _row


@pytest.fixture
def verdicts() -> Callable[..., pl.DataFrame]:
    """Make a verdicts table of rows."""

    def make(rows: list[Row]) -> pl.DataFrame:
        return conform(pl.DataFrame(rows, infer_schema_length=None), VERDICTS)

    return make


@pytest.fixture
def store(workspace: Workspace) -> Callable[..., Path]:
    """Write rows as a collection with its verdicts, and a file for each image; return the verdicts' address."""

    def write(rows: list[Row], fingerprint: str = "0" * 16) -> Path:
        frame = pl.DataFrame(rows, infer_schema_length=None)
        collection = workspace.collection("insects")
        write_table(conform(frame, CANDIDATES), collection / "candidates" / "0.parquet")
        write_table(conform(frame, LEDGER), collection / "ledger" / "0.parquet")
        for sha256, image_format in frame.filter(verdict="kept").select("sha256", "format").iter_rows():
            path = workspace.image(sha256, image_format)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sha256.encode())
        verdicts = conform(frame.filter(pl.col("verdict").is_not_null()), VERDICTS)
        return write_table(verdicts, collection / "verdicts" / f"{fingerprint}.parquet")

    return write
