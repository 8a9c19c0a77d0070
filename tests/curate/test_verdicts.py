from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.errors import WorkspaceError
from tasks.core.tables import VERDICTS
from tasks.curate.config import CurateConfig, NearDuplicates
from tasks.curate.verdicts import curate

Row = Callable[..., dict[str, Any]]
Collect = Callable[..., Path]

CONFIG = CurateConfig()
LABELS = ("bee", "wasp")
ALIKE = {"phash": 2**63 + 5, "verify_hash": b"\x10" * 32}


def _judged(collection: Path, config: CurateConfig = CONFIG) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Address and class to verdict and keeper."""
    table = pl.read_parquet(curate(collection, config, labels=LABELS).path)
    assert dict(table.schema) == VERDICTS
    return {
        (url, label): (verdict, keeper)
        for url, label, verdict, keeper in table.select("url", "label", "verdict", "keeper").iter_rows()
    }


def test_identical_files_are_kept_once_under_the_smallest_address(row: Row, collect: Collect) -> None:
    rows = [row("u2", "bee", "p"), row("u1", "bee", "p"), row("u3", "bee", "q")]
    sha256 = rows[0]["sha256"]
    assert _judged(collect(rows)) == {
        ("u1", "bee"): ("kept", None),
        ("u2", "bee"): ("duplicate-bytes", sha256),
        ("u3", "bee"): ("kept", None),
    }


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"width": 100, "height": 99, "bytes": 9}, {"width": 100, "height": 98, "bytes": 99}),
        ({"width": 70_000, "height": 70_000}, {"width": 30_000, "height": 30_000}),
        ({"bytes": 11}, {"bytes": 10}),
        ({"sha256": "a" * 64}, {"sha256": "b" * 64}),
    ],
    ids=["more pixels", "more pixels than 32 bits count", "more bytes", "smaller digest"],
)
def test_of_near_duplicates_the_best_is_kept(row: Row, collect: Collect, first: Any, second: Any) -> None:  # noqa: ANN401
    best = row("u9", "bee", "best", **(ALIKE | first))
    other = row("u1", "bee", "other", **(ALIKE | second))
    judged = _judged(collect([other, best]))
    assert judged == {("u9", "bee"): ("kept", None), ("u1", "bee"): ("near-duplicate", best["sha256"])}


def test_copies_of_a_dropped_near_duplicate_name_the_image_kept(row: Row, collect: Collect) -> None:
    best = row("u1", "bee", "best", **ALIKE, width=900)
    copies = [row(url, "bee", "small", **ALIKE) for url in ("u2", "u3")]
    judged = _judged(collect([best, *copies]))
    assert judged[("u2", "bee")] == ("near-duplicate", best["sha256"])
    assert judged[("u3", "bee")] == ("duplicate-bytes", best["sha256"])


def test_keep_all_keeps_near_duplicates_in_one_cluster_and_still_drops_identical_files(
    row: Row, collect: Collect
) -> None:
    config = CurateConfig(near_duplicates=NearDuplicates(keep="all"))
    collection = collect(
        [row("u1", "bee", "p", **ALIKE), row("u2", "bee", "q", **ALIKE), row("u3", "bee", "q", **ALIKE)]
    )
    table = pl.read_parquet(curate(collection, config, labels=LABELS).path)
    assert dict(table.select("url", "verdict").iter_rows()) == {"u1": "kept", "u2": "kept", "u3": "duplicate-bytes"}
    assert table["cluster_id"].unique().to_list() == [table["sha256"].min()]
    assert table["component"].n_unique() == 1


def test_the_same_file_or_address_under_two_classes_is_set_aside(row: Row, collect: Collect) -> None:
    collection = collect([row("u1", "bee", "p"), row("u2", "wasp", "p"), row("u3", "bee", "q"), row("u3", "wasp", "q")])
    assert set(_judged(collection).values()) == {("label-conflict", None)}


def test_a_near_duplicate_cluster_over_two_classes_is_set_aside_whole(row: Row, collect: Collect) -> None:
    rows = [row("u1", "bee", "p", **ALIKE), row("u2", "wasp", "q", **ALIKE), row("u3", "bee", "r", **ALIKE)]
    judged = _judged(collect([*rows, row("u4", "bee", "s")]))
    assert {key: verdict for key, (verdict, _) in judged.items()} == {
        ("u1", "bee"): "label-conflict",
        ("u2", "wasp"): "label-conflict",
        ("u3", "bee"): "label-conflict",
        ("u4", "bee"): "kept",
    }


def test_flat_images_double_only_by_their_bytes(row: Row, collect: Collect) -> None:
    flat = ALIKE | {"contrast": 1.0}
    rows = [row("red", "bee", "r", **flat), row("blue", "wasp", "b", **flat), row("again", "bee", "r", **flat)]
    judged = _judged(collect(rows))
    assert {key[0]: verdict for key, (verdict, _) in judged.items()} == {
        "again": "kept",
        "red": "duplicate-bytes",
        "blue": "kept",
    }


def test_a_class_no_longer_in_the_recipe_counts_for_nothing(row: Row, collect: Collect) -> None:
    assert _judged(collect([row("u1", "bee", "p"), row("u2", "hornet", "p")])) == {("u1", "bee"): ("kept", None)}


def test_addresses_without_a_stored_image_have_no_verdict(row: Row, collect: Collect) -> None:
    collection = collect([row("u1", "bee", "p"), row("u2", "bee", "p", outcome="damaged")])
    assert list(_judged(collection)) == [("u1", "bee")]


def test_the_observation_of_a_dropped_image_stays_tied_to_the_one_kept(row: Row, collect: Collect) -> None:
    best = row("u1", "bee", "best", **ALIKE, width=900, group_id="o1")
    dropped = row("u2", "bee", "small", **ALIKE, group_id="o2")
    same_observation, copy = row("u3", "bee", "x", group_id="o2"), row("u4", "bee", "x", group_id="o3")
    third, alone = row("u5", "wasp", "y", group_id="o3"), row("u6", "wasp", "z", group_id="o4")
    table = pl.read_parquet(
        curate(collect([best, dropped, same_observation, copy, third, alone]), CONFIG, labels=LABELS).path
    )
    component = dict(table.select("url", "component").iter_rows())
    linked = min(r["sha256"] for r in (best, dropped, same_observation, third))
    assert component == dict.fromkeys(("u1", "u2", "u3", "u4", "u5"), linked) | {"u6": alone["sha256"]}


def test_nothing_new_means_nothing_is_searched_or_written(row: Row, collect: Collect) -> None:
    collection = collect([row("u1", "bee", "p"), row("u2", "wasp", "q")])
    first = curate(collection, CONFIG, labels=LABELS)
    written = first.path.stat().st_mtime_ns
    collect([row("u1", "bee", "p", attempts=3), row("u3", "bee", "lost", outcome="not-found")], shard="1")
    second = curate(collection, CONFIG, labels=LABELS)
    assert second == first
    assert second.path.stat().st_mtime_ns == written
    assert first.verdicts == {"kept": 2}
    assert first.classes == {"bee": {"kept": 1}, "wasp": {"kept": 1}}


@pytest.mark.parametrize("change", ["rows", "config", "hash"])
def test_other_rows_or_another_configuration_make_other_verdicts(row: Row, collect: Collect, change: str) -> None:
    rows = [row("u1", "bee", "p"), row("u2", "bee", "q")]
    first = curate(collect(rows), CONFIG, labels=LABELS)
    config = CurateConfig(near_duplicates=NearDuplicates(radius=3)) if change == "config" else CONFIG
    if change == "rows":
        collect([row("u3", "bee", "r")], shard="1")
    if change == "hash":
        collect([rows[0] | {"verify_hash": b"\0" * 32}, rows[1]])
    second = curate(first.path.parents[1], config, labels=LABELS)
    assert second.fingerprint != first.fingerprint


def test_the_order_of_shards_and_rows_does_not_count(row: Row, tmp_path: Path, collect: Collect) -> None:
    rows = [row(f"u{n}", LABELS[n % 2], f"p{n // 3}", group_id=f"o{n // 5}") for n in range(20)]
    first = curate(collect(rows), CONFIG, labels=LABELS)
    content = first.path.read_bytes()
    first.path.unlink()
    for old in (tmp_path / "collection").glob("*/*.parquet"):
        old.unlink()
    collect(rows[12:][::-1], shard="a")
    collect(rows[:12][::-1], shard="b")
    second = curate(tmp_path / "collection", CONFIG, labels=LABELS[::-1])
    assert second == first
    assert second.path.read_bytes() == content


def test_an_empty_collection_has_empty_verdicts(tmp_path: Path) -> None:
    curated = curate(tmp_path / "nothing", CONFIG, labels=LABELS)
    assert curated.verdicts == {}
    assert curated.classes == {"bee": {}, "wasp": {}}
    assert dict(pl.read_parquet(curated.path).schema) == VERDICTS


def test_a_folder_that_cannot_be_written_is_one_clear_error(row: Row, collect: Collect) -> None:
    collection = collect([row("u1", "bee", "p")])
    (collection / "verdicts").write_text("a file where a folder should be")
    with pytest.raises(WorkspaceError, match="could not be written"):
        curate(collection, CONFIG, labels=LABELS)
