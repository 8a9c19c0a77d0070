from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.core.errors import ImageRefusedError
from tasks.core.fingerprint import file_digest
from tasks.curate.config import CurateConfig
from tasks.curate.near import pairs_within
from tasks.curate.verdicts import curate
from tasks.ingest.inspect import inspect
from tasks.ingest.inspectors import hush_pillow

pytestmark = pytest.mark.real
Row = Callable[..., dict[str, Any]]


def _rows(folder: Path, row: Row) -> list[dict[str, Any]]:
    rows = []
    hush_pillow()
    for path in sorted(path for path in folder.glob("*/*") if path.is_file() and path.suffix != ".txt"):
        try:
            seen = inspect(path, min_side=1, max_pixels=10**8)
        except ImageRefusedError:
            continue
        address, size = str(path.relative_to(folder)), path.stat().st_size
        rows.append(row(address, path.parent.name, address, sha256=file_digest(path), bytes=size, **vars(seen)))
    return rows


def test_the_files_several_queries_found_are_kept_once_or_set_aside(
    real_data: Path, row: Row, collect: Callable[..., Path]
) -> None:
    rows = [r | {"label": "bee"} for r in _rows(real_data / "photos" / "bees-google", row)]
    copies = Counter(r["sha256"] for r in rows)
    assert sum(count > 1 for count in copies.values()) == 48
    curated = curate(collect(rows), CurateConfig(), labels=("bee",))
    assert curated.verdicts["duplicate-bytes"] == sum(copies.values()) - len(copies)
    table = pl.read_parquet(curated.path)
    assert table.filter(verdict="near-duplicate").height >= 5
    assert table.filter(pl.col("verdict").is_in(["kept", "near-duplicate"]))["sha256"].n_unique() == len(copies)


def test_one_picture_found_for_two_kinds_of_bear_is_set_aside(
    real_data: Path, row: Row, collect: Callable[..., Path]
) -> None:
    rows = _rows(real_data / "photos" / "bears-google", row)
    claims: dict[str, set[str]] = {}
    for r in rows:
        claims.setdefault(r["sha256"], set()).add(r["label"])
    twice = {sha256 for sha256, labels in claims.items() if len(labels) > 1}
    curated = curate(collect(rows), CurateConfig(), labels=("black", "grizzly", "teddys"))
    conflicts = pl.read_parquet(curated.path).filter(verdict="label-conflict")
    assert twice
    assert twice <= set(conflicts["sha256"])
    assert conflicts.height < 10


def test_banded_and_brute_search_agree_on_real_hashes(real_data: Path, row: Row) -> None:
    """Real hashes crowd some buckets; repeated three times with a bit flipped they pass the brute-force limit."""
    rows = [
        r for name in ("bees-hornets", "bears-google", "ants-bees") for r in _rows(real_data / "photos" / name, row)
    ]
    hashes = np.array([r["phash"] for r in rows], np.uint64)
    assert len(hashes) > 300
    many = np.concatenate([hashes ^ np.uint64(1 << bit) for bit in range(0, 64, 64 * len(hashes) // 3500 or 1)])[:3600]
    distances = np.bitwise_count(many[:, None] ^ many[None, :])
    first, second = np.nonzero(np.triu(distances <= 10, 1))
    np.testing.assert_array_equal(pairs_within(many, 10), np.column_stack((first, second)))
