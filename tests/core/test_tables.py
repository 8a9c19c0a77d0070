from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from tasks.core.tables import (
    CANDIDATES,
    LEDGER,
    candidates_shard,
    conform,
    keep_sources,
    read_candidates,
    read_ledger,
    write_table,
)
from tasks.curate.config import NearDuplicates


def test_conform_adds_what_is_missing_and_drops_what_is_more() -> None:
    frame = conform(pl.DataFrame({"url": ["u"], "extra": [1]}), CANDIDATES)
    assert dict(frame.schema) == CANDIDATES
    assert frame["label"].to_list() == [None]


def test_an_empty_collection_has_empty_tables(tmp_path: Path) -> None:
    assert read_candidates(tmp_path).height == 0
    assert dict(read_ledger(tmp_path).schema) == LEDGER


def test_the_latest_row_of_an_address_counts(tmp_path: Path) -> None:
    for day, outcome in ((2, "kept"), (1, "timeout")):
        row = {"url": ["u"], "outcome": [outcome], "fetched_at": [datetime(2026, 1, day, tzinfo=UTC)]}
        write_table(conform(pl.DataFrame(row), LEDGER), tmp_path / "ledger" / f"{day}.parquet")
    assert read_ledger(tmp_path)["outcome"].to_list() == ["kept"]


def test_sources_that_left_the_recipe_are_forgotten(tmp_path: Path) -> None:
    shards = [candidates_shard(tmp_path, label, NearDuplicates()) for label in ("x", "y")]
    for shard in shards:
        write_table(conform(pl.DataFrame({"url": [shard.name], "label": ["x"]}), CANDIDATES), shard)
    keep_sources(tmp_path, shards[:1])
    assert read_candidates(tmp_path)["url"].to_list() == [shards[0].name]


def test_an_address_under_two_labels_stays_two_rows(tmp_path: Path) -> None:
    for name, labels in (("a", ["x", "y"]), ("b", ["x"])):
        frame = conform(pl.DataFrame({"url": ["u"] * len(labels), "label": labels}), CANDIDATES)
        write_table(frame, tmp_path / "candidates" / f"{name}.parquet")
    assert read_candidates(tmp_path)["label"].to_list() == ["x", "y"]
