from __future__ import annotations

from itertools import permutations
from pathlib import Path

import polars as pl

from tasks.core.history import published_rows, read_history, scan_facts, write_history
from tasks.core.tables import LEDGER, SPLITS, VERDICTS, conform, write_table


def _manifest(*rows: tuple[str, str, str, int | None]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["sha256", "label", "split", "fold"], orient="row")
    return frame.with_columns(path=pl.lit("a column of a manifest that the history has not"))


def test_a_collection_that_was_never_published_has_an_empty_history(tmp_path: Path) -> None:
    history = read_history(tmp_path)
    assert history.height == 0
    assert list(history.columns) == ["sha256", "label", "split", "fold", "line"]
    assert dict(scan_facts(tmp_path).collect_schema()).keys() == SPLITS.keys() - {"label", "split", "fold", "line"}


def test_what_was_written_is_read_sorted_by_image(tmp_path: Path) -> None:
    path = write_history(tmp_path, "v1", _manifest(("b", "bee", "train", 1), ("a", "wasp", "test", None)), line="l")
    assert path == tmp_path / "splits" / "v1.parquet"
    assert read_history(tmp_path).rows() == [("a", "wasp", "test", None, "l"), ("b", "bee", "train", 1, "l")]


def test_an_image_of_several_versions_has_one_row_a_line(tmp_path: Path) -> None:
    for version, line in (("v1", "one"), ("v2", "one"), ("v3", "other")):
        write_history(tmp_path, version, _manifest(("a", "bee", "val", None)), line=line)
    assert read_history(tmp_path).select("sha256", "line").rows() == [("a", "one"), ("a", "other")]


def test_should_versions_disagree_what_was_in_test_stays_there_whatever_they_are_called(tmp_path: Path) -> None:
    for number, order in enumerate(permutations(("train", "val", "test"))):
        collection = tmp_path / str(number)
        for version, split in enumerate(order):
            write_history(collection, f"v{version}", _manifest(("a", "bee", split, None)), line="l")
        assert read_history(collection)["split"].to_list() == ["test"]
    write_history(tmp_path, "v1", _manifest(("a", "bee", "train", 1)), line="l")
    write_history(tmp_path, "v2", _manifest(("a", "bee", "val", 0)), line="l")
    assert read_history(tmp_path)["split"].to_list() == ["val"]


def test_the_same_version_written_again_is_one_shard_with_the_same_bytes(tmp_path: Path) -> None:
    manifest = _manifest(("b", "bee", "train", None), ("a", "wasp", "test", None))
    first = write_history(tmp_path, "v1", manifest, line="l").read_bytes()
    assert write_history(tmp_path, "v1", manifest.reverse(), line="l").read_bytes() == first
    assert len(list((tmp_path / "splits").iterdir())) == 1


def test_an_image_is_known_by_all_its_addresses_and_has_one_side(tmp_path: Path) -> None:
    """The ledger holds another file for one of them by now: the image keeps the hashes it was stored with."""
    stored = [("u1", "a", 7, b"1"), ("u2", "a", 7, b"1"), ("u3", "b", 9, b"2")]
    ledger = pl.DataFrame(stored, schema=["url", "sha256", "phash", "verify_hash"], orient="row")
    ledger = conform(ledger.with_columns(outcome=pl.lit("kept")), LEDGER)
    write_table(ledger, tmp_path / "ledger" / "0.parquet")
    again = ledger.head(1).with_columns(sha256=pl.lit("c"), phash=pl.lit(1))
    write_table(conform(again, LEDGER), tmp_path / "ledger" / "1.parquet")
    rows = [("a", "u1", "o1", "kept"), ("a", "u2", "o2", "duplicate-bytes"), ("b", "u3", None, "near-duplicate")]
    verdicts = conform(pl.DataFrame(rows, schema=["sha256", "url", "group_id", "verdict"], orient="row"), VERDICTS)
    manifest = _manifest(("a", "bee", "val", 0)).with_columns(url=pl.lit("u1"))
    for version in ("v1", "v2"):
        write_history(tmp_path, version, published_rows(tmp_path, manifest, verdicts), line="l")
    assert read_history(tmp_path).rows() == [("a", "bee", "val", 0, "l")]
    told = scan_facts(tmp_path).select("sha256", "url", "group_id", "credited", "phash", "verify_hash").unique()
    assert told.sort("url").collect().rows() == [("a", "u1", "o1", True, 7, b"1"), ("a", "u2", "o2", False, 7, b"1")]


def test_what_is_written_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    rows = pl.DataFrame({"sha256": ["a", "a", "b"], "label": "x", "split": "train", "url": ["u2", "u1", None]})
    first = write_history(tmp_path, "v1", rows, line="l").read_bytes()
    assert write_history(tmp_path, "v1", rows.reverse(), line="l").read_bytes() == first
