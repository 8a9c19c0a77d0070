from __future__ import annotations

import hashlib
import random
import tempfile
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import DataError
from tasks.curate.clusters import add_components
from tasks.split.assign import SPLITS, assign, plan_counts
from tasks.split.config import SplitConfig
from tasks.split.groups import groups_of

CONFIG = SplitConfig()
Rows = list[tuple[str, str, str]]


def _name(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _rows(sizes: dict[str, list[int]]) -> Rows:
    """Class to the sizes of its groups."""
    return [
        (_name(label, group, image), label, _name(label, group))
        for label, groups in sizes.items()
        for group, size in enumerate(groups)
        for image in range(size)
    ]


def _assign(rows: Rows, config: SplitConfig = CONFIG) -> dict[str, str]:
    return assign(groups_of(pl.DataFrame(rows, schema=["sha256", "label", "component"], orient="row")), config)


def _shares(rows: Rows, splits: dict[str, str], label: str) -> list[float]:
    counts = Counter(splits[image] for image, own, _ in rows if own == label)
    return [counts[split] / counts.total() for split in SPLITS]


@st.composite
def _tables(draw: st.DrawFn) -> pl.DataFrame:
    """Kept and dropped rows: near-duplicates over observations, observations over classes, and single images.

    Each class has four kept images without any tie, so that a split exists.
    """
    labels = draw(st.lists(st.sampled_from("abcd"), min_size=2, max_size=3, unique=True))
    rows = [(_name(label, n), label, _name(label, n), None, True) for label in labels for n in range(4)]
    tied = st.tuples(st.sampled_from(labels), st.integers(0, 9), st.none() | st.integers(0, 7), st.booleans())
    for n, (label, cluster, group, kept) in enumerate(draw(st.lists(tied, max_size=25))):
        rows.append((_name(n), label, f"cluster {cluster}", None if group is None else f"observation {group}", kept))
    columns = ["sha256", "label", "cluster_id", "group_id", "kept"]
    schema = dict.fromkeys(columns, pl.String) | {"kept": pl.Boolean}
    return add_components(pl.DataFrame(rows, schema=schema, orient="row"))


@settings(max_examples=40, deadline=None)
@given(_tables(), st.integers(0, 3), st.integers(0, 99))
def test_no_cluster_observation_or_component_crosses_splits_and_every_class_is_in_each(
    table: pl.DataFrame, seed: int, shuffle: int
) -> None:
    config = SplitConfig(train=0.6, val=0.2, test=0.2, seed=seed)
    kept = table.filter("kept")
    splits = assign(groups_of(kept), config)
    assert splits.keys() == set(kept["sha256"])
    # A dropped row lies where its component lies: what it is tied to must be there too.
    sides = dict(zip(kept["component"], kept["sha256"].replace_strict(splits), strict=True))
    placed = table.filter(pl.col("component").is_in(list(sides))).with_columns(
        pl.col("component").replace_strict(sides).alias("split")
    )
    assert dict(zip(kept["sha256"], kept["component"].replace_strict(sides), strict=True)) == splits
    for column in ("component", "cluster_id", "group_id"):
        crossing = (
            placed.drop_nulls(column).group_by(column).agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
        )
        assert crossing.is_empty()
    present = kept.select("label", pl.col("sha256").replace_strict(splits).alias("split")).unique()
    assert present.height == kept["label"].n_unique() * len(SPLITS)
    assert assign(groups_of(kept.sample(fraction=1, shuffle=True, seed=shuffle)), config) == splits


@pytest.mark.parametrize(
    ("sizes", "tolerance"),
    [
        ([1] * 60, 0.01),
        ([1] * 100 + [2] * 30 + [5] * 9 + [11, 17, 23], 0.005),
        ([20] * 3 + [1] * 200, 0.005),
        ([7] * 60, 0.02),
        ([40] + [1] * 60, 0.02),
        ([2] * 7 + [3] * 7 + [4] * 7 + [5] * 7, 0.02),
    ],
)
def test_shares_of_images_come_near_the_ratios_whatever_the_sizes_of_groups(sizes: list[int], tolerance: float) -> None:
    rows = _rows({"a": sizes, "b": sizes[::2]})
    splits = _assign(rows)
    for share, wanted in zip(_shares(rows, splits, "a"), (0.7, 0.15, 0.15), strict=True):
        assert share == pytest.approx(wanted, abs=tolerance)


def test_ratios_are_followed_as_configured() -> None:
    rows = _rows({"a": [1] * 200, "b": [1] * 50})
    splits = _assign(rows, SplitConfig(train=0.5, val=0.1, test=0.4))
    assert _shares(rows, splits, "a") == [0.5, 0.1, 0.4]


@pytest.mark.parametrize("label", ["a", "b"])
def test_shares_hold_in_both_classes_of_shared_groups(label: str) -> None:
    rows = _rows({"a": [1] * 80, "b": [1] * 60})
    rows += [(_name("s", g, own), own, _name("s", g)) for g in range(40) for own in "ab"]
    for share, wanted in zip(_shares(rows, _assign(rows), label), (0.7, 0.15, 0.15), strict=True):
        assert share == pytest.approx(wanted, abs=0.02)


def test_three_groups_give_one_to_each_split_the_smallest_to_test() -> None:
    rows = _rows({"a": [1, 9, 2], "b": [1, 1, 1]})
    splits = _assign(rows)
    assert Counter(splits[image] for image, label, _ in rows if label == "a") == {"train": 9, "val": 2, "test": 1}
    assert Counter(splits[image] for image, label, _ in rows if label == "b") == {"train": 1, "val": 1, "test": 1}


def test_another_seed_makes_another_split_of_the_same_sizes() -> None:
    rows = _rows({"a": [1] * 50, "b": [2] * 20})
    first, second = _assign(rows), _assign(rows, SplitConfig(seed=7))
    assert first != second
    assert Counter(first.values()) == Counter(second.values())


def test_a_few_new_groups_move_few_old_ones() -> None:
    before = _assign(_rows({"a": [1] * 400, "b": [1] * 100}))
    after = _assign(_rows({"a": [1] * 420, "b": [1] * 100}))
    assert sum(after[image] != split for image, split in before.items()) < 40


def test_the_global_random_generator_is_left_as_it_was_and_has_no_say() -> None:
    rows = _rows({"a": [1] * 9, "b": [1] * 9})
    random.seed(1)
    state = random.getstate()
    first = _assign(rows)
    assert random.getstate() == state
    random.seed(2)
    assert _assign(rows) == first


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _assign(_rows({"a": [1] * 9, "b": [2] * 9}))
    assert list(tmp_path.iterdir()) == []


def test_a_class_whose_groups_others_need_on_one_side_is_named() -> None:
    """c has only two groups, and they go where a and b need them."""
    available = {(("a", 1), ("b", 1), ("c", 1)): 2, (("a", 1), ("b", 1)): 1, (("c", 1),): 0}
    with pytest.raises(DataError, match="Class c cannot be split"):
        plan_counts(available, CONFIG)
