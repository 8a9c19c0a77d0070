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


def test_of_rows_of_one_moment_one_counts_whichever_columns_are_read_and_whatever_the_shards_are_called(
    tmp_path: Path,
) -> None:
    urls = [f"http://a.org/{number}" for number in range(500)]
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    outcomes = ["timeout", "kept", "not-found"]
    for place, names in (("one", "abc"), ("two", "cab")):
        for name, outcome in zip(names, outcomes, strict=True):
            row = {"url": urls, "outcome": outcome, "fetched_at": moment, "reason": outcome}
            write_table(conform(pl.DataFrame(row), LEDGER), tmp_path / place / "ledger" / f"{name}.parquet")
        assert read_ledger(tmp_path / place)["outcome"].to_list() == ["timeout"] * 500
        assert read_ledger(tmp_path / place, "reason")["reason"].to_list() == ["timeout"] * 500


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


PHOTO = "https://inaturalist-open-data.s3.amazonaws.com/photos/7/medium.jpg"
SAME = "https://static.inaturalist.org/photos/7/original.jpg"


def offered(collection: Path, name: str, **row: object) -> None:
    frame = conform(pl.DataFrame([{"label": "x", "source": name, **row}]), CANDIDATES)
    write_table(frame, collection / "candidates" / f"{name}.parquet")


def asked(collection: Path, url: str, outcome: str) -> None:
    row = {"url": [url], "outcome": [outcome], "fetched_at": [datetime(2026, 1, 1, tzinfo=UTC)]}
    write_table(conform(pl.DataFrame(row), LEDGER), collection / "ledger" / f"{outcome}.parquet")


def test_a_photo_that_came_by_two_roads_is_one_row_that_knows_what_both_told(tmp_path: Path) -> None:
    offered(tmp_path, "inaturalist", url=PHOTO, source_id="7", group_id="inaturalist:1", licence="cc-by")
    offered(tmp_path, "gbif", url=SAME, source_id="99", creator="Ana")
    (row,) = read_candidates(tmp_path).to_dicts()
    assert row["url"] == PHOTO  # it has an observation
    assert (row["group_id"], row["licence"], row["creator"]) == ("inaturalist:1", "cc-by", "Ana")
    assert row["origins"] == "gbif:99 inaturalist:7"


def test_the_road_that_is_in_the_store_stays_and_a_dead_one_gives_way(tmp_path: Path) -> None:
    offered(tmp_path, "inaturalist", url=PHOTO, group_id="inaturalist:1")
    offered(tmp_path, "gbif", url=SAME)
    asked(tmp_path, SAME, "kept")
    assert read_candidates(tmp_path)["url"].to_list() == [SAME]
    asked(tmp_path, PHOTO, "not-found")
    (tmp_path / "ledger" / "kept.parquet").unlink()
    assert read_candidates(tmp_path)["url"].to_list() == [SAME]


def test_two_classes_that_claim_one_photo_share_its_address(tmp_path: Path) -> None:
    offered(tmp_path, "inaturalist", url=PHOTO, group_id="inaturalist:1")
    offered(tmp_path, "gbif", url=SAME, label="y")
    assert read_candidates(tmp_path).select("url", "label").rows() == [(PHOTO, "x"), (PHOTO, "y")]


def test_of_several_licences_of_a_photo_the_narrowest_counts_with_its_creator(tmp_path: Path) -> None:
    offered(tmp_path, "inaturalist", url=PHOTO, group_id="inaturalist:1", licence="cc-by", creator="ana")
    offered(tmp_path, "gbif", url=SAME, licence="CC-BY-NC", creator="Ana Lopes")
    offered(tmp_path, "url_list", url=SAME, creator="nobody")
    (row,) = read_candidates(tmp_path).to_dicts()
    assert (row["url"], row["licence"], row["creator"]) == (PHOTO, "CC-BY-NC", "Ana Lopes")
    offered(tmp_path, "folder", url=SAME, licence="museum's own")  # unknown: narrower still
    assert read_candidates(tmp_path)["licence"].to_list() == ["museum's own"]


def test_the_names_of_shards_decide_nothing(tmp_path: Path) -> None:
    rows = [{"url": "http://a.org/1", "source": "s", "source_id": "1", "taxon": taxon} for taxon in ("b", "a", "c")]
    for place, order in (("one", rows), ("two", rows[::-1])):
        for number, row in enumerate(order):
            frame = conform(pl.DataFrame([row | {"label": "x"}]), CANDIDATES)
            write_table(frame, tmp_path / place / "candidates" / f"{number}.parquet")
    assert read_candidates(tmp_path / "one").equals(read_candidates(tmp_path / "two"))
