from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from tasks.core.tables import SPLITS, conform
from tasks.split.config import SplitConfig
from tasks.split.groups import tie
from tasks.split.sides import sides_of
from tasks.split.stable import settle

CONFIG = SplitConfig()
LABELS = ("bee", "wasp")
Row = Callable[..., dict[str, Any]]
Verdicts = Callable[..., pl.DataFrame]
Fate = tuple[str | None, str | None]


def _settled(
    rows: pl.DataFrame, history: pl.DataFrame, config: SplitConfig, facts: list[dict[str, Any]] | None = None
) -> pl.DataFrame:
    known = conform(pl.DataFrame(facts or []), SPLITS)
    return settle(tie(rows, config, known), conform(history, SPLITS), config, labels=LABELS, facts=known)


def _fates(rows: pl.DataFrame, old: dict[str, str], config: SplitConfig = CONFIG) -> dict[str, Fate]:
    """Return split and reason of each kept image, by the number in its address; `old` names the numbers' splits."""
    shas = {url.rsplit("/", 1)[1]: sha256 for url, sha256 in rows.select("url", "sha256").iter_rows()}
    history = [
        {"sha256": shas[number], "split": split.partition(" ")[0], "fold": int(split[-1]) if " " in split else None}
        for number, split in old.items()
    ]
    settled = _settled(rows, pl.DataFrame(history), config)
    names = dict(enumerate(str(side).partition(" (")[0] for side in sides_of(config)))
    return {
        url.rsplit("/", 1)[1]: (names.get(side), reason)
        for url, side, reason in settled.select("url", "side", "reason").iter_rows()
    }


def test_old_images_keep_their_side_and_new_ones_are_free(row: Row, verdicts: Verdicts) -> None:
    fates = _fates(verdicts([row("bee", n) for n in range(3)]), {"0": "train", "1": "test"})
    assert fates == {"0": ("train", None), "1": ("test", None), "2": (None, None)}


def test_what_is_tied_to_an_old_image_follows_it(row: Row, verdicts: Verdicts) -> None:
    rows = [row("bee", 0, group_id="o"), row("bee", 1, group_id="o"), row("wasp", 2, group_id="o")]
    assert _fates(verdicts(rows), {"0": "test"}) == dict.fromkeys("012", ("test", None))


def test_an_old_image_rules_its_group_also_when_it_is_gone_or_set_aside(row: Row, verdicts: Verdicts) -> None:
    for verdict in ("gone", "rejected", "near-duplicate", "over-cap"):
        rows = [row("bee", 0, group_id="o", verdict=verdict), row("bee", 1, group_id="o")]
        assert _fates(verdicts(rows), {"0": "test"}) == {"1": ("test", None)}


def test_what_comes_back_comes_back_to_its_side(row: Row, verdicts: Verdicts) -> None:
    assert _fates(verdicts([row("bee", 0), row("bee", 1)]), {"0": "test", "1": "val"}) == {
        "0": ("test", None),
        "1": ("val", None),
    }


def test_new_images_that_connect_two_sides_are_left_out_and_old_ones_stay(row: Row, verdicts: Verdicts) -> None:
    tied = verdicts(
        [
            row("bee", 0, group_id="o"),
            row("bee", 1, cluster_id="k"),
            row("bee", 2, group_id="o", cluster_id="k"),
            row("bee", 3),
        ]
    )
    assert _fates(tied, {"0": "test", "1": "train"}) == {
        "0": ("test", None),
        "1": ("train", None),
        "2": (None, "bridges-splits"),
        "3": (None, None),
    }


def test_a_row_that_is_not_kept_connects_too_and_takes_nothing_with_it(row: Row, verdicts: Verdicts) -> None:
    rows = [
        row("bee", 0, group_id="o"),
        row("bee", 1, cluster_id="k"),
        row("bee", 2, group_id="o", cluster_id="k", verdict="near-duplicate"),
    ]
    assert _fates(verdicts(rows), {"0": "test", "1": "train"}) == {"0": ("test", None), "1": ("train", None)}


def test_the_parts_of_a_bridged_component_are_components_of_their_own(row: Row, verdicts: Verdicts) -> None:
    rows = verdicts(
        [
            row("bee", 0, group_id="o"),
            row("bee", 1, group_id="o"),
            row("bee", 2, cluster_id="k"),
            row("bee", 3, group_id="o", cluster_id="k"),
        ]
    )
    sides = [("test", 0), ("test", 1), ("train", 2)]
    history = pl.DataFrame([{"sha256": rows["sha256"][n], "split": split} for split, n in sides])
    settled = _settled(rows, history, CONFIG)
    stay = settled.filter(pl.col("reason").is_null())
    assert stay.height == 3
    assert stay.group_by("component").agg(pl.col("side").n_unique())["side"].to_list() == [1, 1]


def test_old_images_found_tied_belong_to_the_strongest_side(row: Row, verdicts: Verdicts) -> None:
    rows = verdicts([row("bee", n, group_id="o") for n in range(4)])
    assert _fates(rows, {"0": "train", "1": "test", "2": "val", "3": "test"}) == {
        "0": ("train", "leaks"),
        "1": ("test", None),
        "2": ("val", "leaks"),
        "3": ("test", None),
    }
    assert _fates(rows[[0, 2]], {"0": "train", "2": "val"}) == {"0": ("train", "leaks"), "2": ("val", None)}


def test_old_images_of_one_component_leak_even_where_only_the_component_tells_of_it(
    row: Row, verdicts: Verdicts
) -> None:
    """Near-duplicates of near-duplicates: neither cluster nor observation is shared, and no new image ties them."""
    leak = [row("bee", n, component="c", published_component="c") for n in (0, 1)]
    bridge = [row("wasp", n, component="d") for n in (2, 3, 4)]
    assert _fates(verdicts(leak + bridge), {"0": "train", "1": "test", "2": "train", "3": "test"}) == {
        "0": ("train", "leaks"),
        "1": ("test", None),
        "2": ("train", None),
        "3": ("test", None),
        "4": (None, "bridges-splits"),
    }


def test_an_image_that_is_not_in_this_version_makes_no_old_one_leak(row: Row, verdicts: Verdicts) -> None:
    rows = [row("bee", 0, group_id="o"), row("bee", 1, group_id="o", verdict="gone"), row("bee", 2, group_id="o")]
    fates = _fates(verdicts(rows), {"0": "train", "1": "test"})
    assert fates == {"0": ("train", None), "2": (None, "bridges-splits")}


def test_ties_by_a_column_of_the_recipe_count_like_any_other(row: Row, verdicts: Verdicts) -> None:
    rows = verdicts([row("bee", 0, creator="ann"), row("bee", 1, creator="ann")])
    assert _fates(rows, {"0": "train", "1": "test"}) == {"0": ("train", None), "1": ("test", None)}
    by_creator = SplitConfig(group_by=("creator",))
    assert _fates(rows, {"0": "train", "1": "test"}, by_creator)["0"] == ("train", "leaks")


def test_folds_are_sides_and_lower_ones_are_stronger(row: Row, verdicts: Verdicts) -> None:
    config = SplitConfig(folds=3)
    rows = [row("bee", 0, group_id="o"), row("bee", 1, group_id="o"), row("bee", 2, group_id="p"), row("bee", 3)]
    old = {"0": "train 2", "1": "train 1", "2": "val 0", "3": "test"}
    assert _fates(verdicts(rows), old, config) == {
        "0": ("fold 2", "leaks"),
        "1": ("fold 1", None),
        "2": ("fold 0", None),
        "3": ("test", None),
    }


def test_the_order_of_rows_does_not_count(row: Row, verdicts: Verdicts) -> None:
    rows = verdicts([row("bee", n, group_id=f"o{n // 3}") for n in range(12)])
    old = {"0": "train", "1": "test", "4": "val", "9": "train"}
    assert _fates(rows.reverse(), old) == _fates(rows, old)


def test_only_kept_rows_of_the_recipes_classes_are_settled(row: Row, verdicts: Verdicts) -> None:
    rows = verdicts([row("bee", 0), row("hornet", 1), row("bee", 2, verdict="rejected")])
    assert _fates(rows, {}) == {"0": (None, None)}


def test_what_an_image_was_published_with_still_ties_it_though_its_source_tells_otherwise_now(
    row: Row, verdicts: Verdicts
) -> None:
    rows = verdicts(
        [row("bee", 0, group_id="now", creator="bob"), row("bee", 1, group_id="then"), row("bee", 2, creator="ann")]
    )
    sha256 = rows["sha256"]
    history = pl.DataFrame({"sha256": [sha256[0]], "split": ["test"]})
    facts = [{"sha256": sha256[0], "group_id": "then", "creator": "ann"}, {"sha256": sha256[0], "creator": "eve"}]
    settled = _settled(rows, history, SplitConfig(group_by=("creator",)), facts)
    assert dict(settled.select("sha256", "side").iter_rows()) == dict.fromkeys(sha256, 0)
    assert dict(_settled(rows, history, CONFIG, facts).select("sha256", "side").iter_rows())[sha256[2]] is None


def test_near_duplicates_that_are_old_leak_also_where_a_new_image_has_joined_them(row: Row, verdicts: Verdicts) -> None:
    rows = [row("bee", n, component="c", published_component="c") for n in (0, 1)] + [row("bee", 2, component="c")]
    assert _fates(verdicts(rows), {"0": "train", "1": "test"}) == {
        "0": ("train", "leaks"),
        "1": ("test", None),
        "2": (None, "bridges-splits"),
    }


def test_what_two_old_images_were_published_with_ties_them_without_any_new_one(row: Row, verdicts: Verdicts) -> None:
    rows = verdicts([row("bee", 0), row("bee", 1), row("bee", 2)])
    old = pl.DataFrame({"sha256": rows["sha256"][:2], "split": ["train", "test"]})
    facts = [{"sha256": sha256, "group_id": "o"} for sha256 in rows["sha256"][:2]]
    settled = _settled(rows, old, CONFIG, facts)
    fates = dict(zip(settled["sha256"], settled["reason"], strict=True))
    assert [fates[sha256] for sha256 in rows["sha256"]] == ["leaks", None, None]
