from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest

from tasks.curate.config import CurateConfig, NearDuplicates, Rules
from tasks.curate.conflicts import conflicts
from tasks.curate.verdicts import Curated, curate

Row = Callable[..., dict[str, Any]]
Collect = Callable[..., Path]
Policy = Literal["quarantine", "majority", "keep-first"]

LABELS = ("wasp", "bee", "ant")  # as a recipe may have them
ALIKE = {"phash": 2**63 + 5, "verify_hash": b"\x10" * 32}
CONFLICT = "label-conflict"


def _curated(collection: Path, policy: Policy = "quarantine", **near: Any) -> Curated:  # noqa: ANN401
    return curate(collection, CurateConfig(conflicts=policy, near_duplicates=NearDuplicates(**near)), labels=LABELS)


def _verdicts(curated: Curated) -> dict[tuple[str, str], str]:
    table = pl.read_parquet(curated.path)
    return {(url, label): verdict for url, label, verdict in table.select("url", "label", "verdict").iter_rows()}


def _told(curated: Curated) -> set[str | None]:
    return set(pl.read_parquet(curated.path).filter(verdict=CONFLICT)["detail"])


def _listed(curated: Curated) -> set[tuple[str, str]]:
    return set(conflicts(pl.read_parquet(curated.path)).select("url", "label").iter_rows())


def _chain(row: Row, *labels: str) -> list[dict[str, Any]]:
    """Pictures each of which is like the next one and no other; later ones are larger."""
    return [
        row(f"u{n}", label, f"p{n}", phash=(1 << 8 * n) - 1, verify_hash=b"\0" * 32, width=100 * n + 100)
        for n, label in enumerate(labels)
    ]


@pytest.fixture
def two_to_one(row: Row, collect: Collect) -> Path:
    """Two addresses for bee, one (the best image) for wasp."""
    return collect(
        [row("u1", "bee", "p", **ALIKE), row("u2", "bee", "q", **ALIKE), row("u3", "wasp", "r", **ALIKE, width=900)]
    )


def test_quarantine_sets_a_cluster_aside_whole_and_says_what_each_class_had(two_to_one: Path) -> None:
    curated = _curated(two_to_one)
    assert set(_verdicts(curated).values()) == {CONFLICT}
    assert _told(curated) == {"bee 2, wasp 1"}
    assert curated.conflicts == 1


def test_majority_keeps_the_best_image_of_the_class_with_most_addresses(two_to_one: Path) -> None:
    curated = _curated(two_to_one, "majority")
    table = pl.read_parquet(curated.path)
    kept, dropped = table.filter(verdict="kept"), table.filter(verdict="near-duplicate")
    assert set(kept["label"]) == set(dropped["label"]) == {"bee"}
    assert dropped["keeper"].to_list() == kept["sha256"].to_list()
    assert table.filter(verdict=CONFLICT).select("url", "keeper", "detail").rows() == [("u3", None, "bee 2, wasp 1")]
    assert curated.conflicts == 1


def test_keep_first_keeps_the_class_that_stands_first_in_the_recipe(two_to_one: Path) -> None:
    curated = _curated(two_to_one, "keep-first")
    assert _verdicts(curated) == {("u1", "bee"): CONFLICT, ("u2", "bee"): CONFLICT, ("u3", "wasp"): "kept"}


@pytest.mark.parametrize("policy", ["quarantine", "majority", "keep-first"])
def test_every_member_of_a_cluster_that_spans_classes_is_listed(two_to_one: Path, policy: Policy) -> None:
    assert _listed(_curated(two_to_one, policy)) == {("u1", "bee"), ("u2", "bee"), ("u3", "wasp")}


def test_majority_counts_addresses_not_files(row: Row, collect: Collect) -> None:
    rows = [*(row(f"u{n}", "bee", "one file", **ALIKE) for n in range(3)), *_two_files(row)]
    curated = _curated(collect(rows), "majority")
    assert _told(curated) == {"bee 3, wasp 2"}
    assert _verdicts(curated)["u0", "bee"] == "kept"


def _two_files(row: Row) -> list[dict[str, Any]]:
    return [row(f"w{n}", "wasp", f"file {n}", **ALIKE) for n in range(2)]


def test_a_majority_that_is_none_is_quarantined(row: Row, collect: Collect) -> None:
    rows = [row("u1", "bee", "p", **ALIKE), row("u2", "wasp", "q", **ALIKE), row("u3", "ant", "r", **ALIKE)]
    curated = _curated(collect([*rows, row("u4", "ant", "alone")]), "majority")
    assert curated.verdicts == {"kept": 1, CONFLICT: 3}
    assert _told(curated) == {"ant 1, bee 1, wasp 1"}


@pytest.mark.parametrize(("policy", "winner"), [("quarantine", None), ("majority", "bee"), ("keep-first", "wasp")])
def test_one_file_in_two_classes_is_a_conflict_and_one_image(
    row: Row, collect: Collect, policy: Policy, winner: str | None
) -> None:
    rows = [row("u1", "bee", "p"), row("u2", "bee", "p"), row("u3", "wasp", "p")]
    curated = _curated(collect(rows), policy)
    kept = pl.read_parquet(curated.path).filter(verdict="kept")
    assert kept["label"].to_list() == ([winner] if winner else [])
    assert _listed(curated) == {("u1", "bee"), ("u2", "bee"), ("u3", "wasp")}


def test_an_address_in_two_classes_counts_for_both(row: Row, collect: Collect) -> None:
    curated = _curated(collect([row("u1", "bee", "p"), row("u1", "wasp", "p")]), "majority")
    assert _told(curated) == {"bee 1, wasp 1"}
    assert set(_verdicts(curated).values()) == {CONFLICT}


def test_an_address_in_two_classes_that_a_person_gives_to_one_is_one_image(
    row: Row, collect: Collect, decide: Callable[..., CurateConfig]
) -> None:
    rows = [row("u1", "bee", "p", **ALIKE), row("u1", "ant", "p", **ALIKE), row("u2", "wasp", "q", **ALIKE)]
    curated = curate(collect(rows), decide((rows[0], "relabel", "bee")), labels=LABELS)
    assert curated.verdicts == {"duplicate-bytes": 1, "kept": 1, "near-duplicate": 1}


@pytest.mark.parametrize("keep", ["best", "all"])
@pytest.mark.parametrize("policy", ["quarantine", "majority", "keep-first"])
def test_a_person_who_relabels_an_image_decides_over_its_near_duplicates_too(
    row: Row, collect: Collect, decide: Callable[..., CurateConfig], policy: Policy, keep: str
) -> None:
    rows = [row("u1", "wasp", "p", **ALIKE), *(row(f"u{n}", "wasp", f"q{n}", **ALIKE, width=900) for n in (2, 3))]
    near = NearDuplicates(keep=keep)  # type: ignore[arg-type]
    config = decide((rows[0], "relabel", "bee")).model_copy(update={"conflicts": policy, "near_duplicates": near})
    table = pl.read_parquet(curate(collect(rows), config, labels=LABELS).path)
    foreign = ("wasp", "near-duplicate", rows[0]["sha256"], "a person keeps its near-duplicate as bee")
    assert table.select("label", "verdict", "keeper", "detail").sort("label").rows() == [
        ("bee", "kept", None, "relabelled by said.csv"),
        foreign,
        foreign,
    ]


def test_a_relabelled_image_that_a_rule_sets_aside_decides_over_nothing(
    row: Row, collect: Collect, decide: Callable[..., CurateConfig]
) -> None:
    rows = [row("u1", "wasp", "p", **ALIKE, width=30), row("u2", "wasp", "q", **ALIKE)]
    config = decide((rows[0], "relabel", "bee")).model_copy(update={"rules": Rules(min_side=50)})
    assert _verdicts(curate(collect(rows), config, labels=LABELS)) == {
        ("u1", "bee"): "too-small",
        ("u2", "wasp"): "kept",
    }


def test_of_near_duplicates_relabelled_to_two_classes_the_best_counts_and_one_that_is_kept_before_it(
    row: Row, collect: Collect, decide: Callable[..., CurateConfig]
) -> None:
    rows = [row(f"u{n}", "wasp", f"p{n}", **ALIKE, width=width) for n, width in enumerate((100, 900))]
    said = [(rows[0], "relabel", "bee"), (rows[1], "relabel", "ant")]
    collection = collect([*rows, row("u2", "wasp", "p2", **ALIKE)])
    assert _verdicts(curate(collection, decide(*said), labels=LABELS)) == {
        ("u0", "bee"): "near-duplicate",
        ("u1", "ant"): "kept",
        ("u2", "wasp"): "near-duplicate",
    }
    kept = decide(*said, (row("u2", "wasp", "p2"), "keep"))
    assert _verdicts(curate(collection, kept, labels=LABELS))["u2", "wasp"] == "kept"
    assert _verdicts(curate(collection, kept, labels=LABELS))["u1", "ant"] == "near-duplicate"


@pytest.mark.parametrize("policy", ["quarantine", "majority", "keep-first"])
@pytest.mark.parametrize(
    ("said", "loses"),
    [
        (("relabel wasp", "", "relabel bee"), "u1"),
        (("relabel wasp", "relabel wasp", "relabel bee"), "u2"),
        (("keep", "relabel wasp", "keep"), "u1"),
    ],
)
def test_where_all_are_kept_the_member_loses_of_which_a_person_has_said_less(
    row: Row, collect: Collect, decide: Callable[..., CurateConfig], policy: Policy, said: tuple[str, ...], loses: str
) -> None:
    """u0 (wasp) stands for u1, which is like u2 (bee) too."""
    rows = _chain(row, "wasp", "wasp", "bee")
    for place, width in enumerate((900, 100, 50)):
        rows[place]["width"] = width
    config = decide(*((one, *word.split()) for one, word in zip(rows, said, strict=True) if word))
    config = config.model_copy(update={"conflicts": policy, "near_duplicates": NearDuplicates(keep="all")})
    verdicts = _verdicts(curate(collect(rows), config, labels=LABELS))
    assert {url: verdict for (url, _), verdict in verdicts.items()} == {
        url: CONFLICT if url == loses else "kept" for url in ("u0", "u1", "u2")
    }


def test_those_whose_keeper_has_lost_are_compared_with_each_other(row: Row, collect: Collect) -> None:
    """Left and right are like the middle, which stood for them, and not like each other."""
    left, middle, right = _chain(row, "bee", "wasp", "bee")
    curated = _curated(collect([left, middle | {"width": 900}, right]), "majority")
    assert _verdicts(curated) == {("u0", "bee"): "kept", ("u1", "wasp"): CONFLICT, ("u2", "bee"): "kept"}


def test_a_freed_image_that_meets_another_class_is_a_conflict_again(row: Row, collect: Collect) -> None:
    """u1 (wasp) stands for u0 and u2 (bee), and loses; then u3 (ant) would stand beside u2, which is like it."""
    rows = _chain(row, "bee", "wasp", "bee", "ant")
    for place, width in enumerate((100, 900, 300, 500)):
        rows[place]["width"] = width
    curated = _curated(collect(rows), "majority")
    assert _verdicts(curated) == {
        ("u0", "bee"): "kept",
        ("u1", "wasp"): CONFLICT,
        ("u2", "bee"): CONFLICT,
        ("u3", "ant"): CONFLICT,
    }
    assert _told(curated) == {"bee 2, wasp 1", "ant 1, bee 1"}
    assert curated.conflicts == 2
    table = pl.read_parquet(curated.path)
    assert table.filter(pl.col("url").is_in(["u2", "u3"]))["cluster_id"].to_list() == [rows[3]["sha256"]] * 2


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("quarantine", {"u0", "u3"}), ("majority", {"u0", "u3"}), ("keep-first", {"u0", "u1", "u3"})],
)
def test_where_all_are_kept_members_of_two_clusters_conflict_too(
    row: Row, collect: Collect, policy: Policy, kept: set[str]
) -> None:
    """u0 stands for u1 (wasp), u3 for u2 (bee); u1 and u2 are alike."""
    rows = _chain(row, "wasp", "wasp", "bee", "bee")
    for place, width in enumerate((900, 100, 100, 900)):
        rows[place]["width"] = width
    curated = _curated(collect(rows), policy, keep="all")
    verdicts = _verdicts(curated)
    assert {url for (url, _), verdict in verdicts.items() if verdict == "kept"} == kept
    assert {verdict for (url, _), verdict in verdicts.items() if url not in kept} == {CONFLICT}
    told = _told(curated)
    assert f"near-duplicate of {rows[1]['sha256'][:12]} (wasp)" in told


@pytest.mark.parametrize("policy", ["quarantine", "majority", "keep-first"])
def test_where_all_are_kept_what_is_like_two_images_that_a_person_keeps_in_two_classes_is_not(
    row: Row, collect: Collect, decide: Callable[..., CurateConfig], policy: Policy
) -> None:
    rows = _chain(row, "wasp", "wasp", "bee")
    rows[0]["width"] = 900
    config = decide((rows[0], "keep"), (rows[2], "keep"))
    config = config.model_copy(update={"conflicts": policy, "near_duplicates": NearDuplicates(keep="all")})
    verdicts = _verdicts(curate(collect(rows), config, labels=LABELS))
    assert verdicts == {("u0", "wasp"): "kept", ("u1", "wasp"): CONFLICT, ("u2", "bee"): "kept"}


def test_where_all_are_kept_those_of_the_class_of_the_one_a_person_keeps_are(
    row: Row, collect: Collect, decide: Callable[..., CurateConfig]
) -> None:
    rows = [
        row("u0", "bee", "kept", **ALIKE),
        row("u1", "bee", "same class", **ALIKE),
        row("u2", "wasp", "other class", **ALIKE),
        row("u3", "wasp", "both classes", **ALIKE),
        row("u4", "bee", "both classes", **ALIKE),
    ]
    config = decide((rows[0], "keep")).model_copy(update={"near_duplicates": NearDuplicates(keep="all")})
    assert _verdicts(curate(collect(rows), config, labels=LABELS)) == {
        ("u0", "bee"): "kept",
        ("u1", "bee"): "kept",
        ("u2", "wasp"): "near-duplicate",
        ("u3", "wasp"): "duplicate-bytes",
        ("u4", "bee"): "kept",
    }


def test_a_cluster_of_one_class_is_no_conflict(row: Row, collect: Collect) -> None:
    curated = _curated(collect([row("u1", "bee", "p", **ALIKE), row("u2", "bee", "q", **ALIKE)]))
    assert curated.conflicts == 0
    assert _listed(curated) == set()


def test_what_is_set_aside_otherwise_is_no_conflict(row: Row, collect: Collect) -> None:
    everywhere = [row(f"u{n}", LABELS[n % 3], "not found") for n in range(3)]
    curated = _curated(collect(everywhere))
    assert (curated.verdicts, curated.conflicts) == ({"placeholder": 3}, 0)
