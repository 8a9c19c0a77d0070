from __future__ import annotations

import hashlib
import random
from collections import Counter

import polars as pl
import pytest

from tasks.core.errors import DataError
from tasks.split.assign import assign, deal
from tasks.split.config import SplitConfig
from tasks.split.sides import sides_of

CONFIG = SplitConfig()


def _name(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _rows(sizes: dict[str, list[int]]) -> pl.DataFrame:
    """Class to the sizes of its groups."""
    rows = [
        (label, _name(label, group))
        for label, groups in sizes.items()
        for group, size in enumerate(groups)
        for _ in range(size)
    ]
    return pl.DataFrame(rows, schema=["label", "component"], orient="row")


def _sides(rows: pl.DataFrame, config: SplitConfig = CONFIG) -> dict[str, int]:
    return dict(assign(rows, config).iter_rows())


def _images(rows: pl.DataFrame, sides: dict[str, int], label: str) -> list[int]:
    counts = Counter(sides[component] for own, component in rows.iter_rows() if own == label)
    return [counts[side] for side in sorted(counts)]


def test_every_component_has_one_side_and_ratios_are_followed_as_configured() -> None:
    rows = _rows({"a": [1] * 200, "b": [1] * 50, "c": [2] * 100})
    sides = _sides(rows, SplitConfig(train=0.5, val=0.1, test=0.4))
    assert sides.keys() == set(rows["component"])
    assert _images(rows, sides, "a") == [80, 20, 100]
    assert _images(rows, sides, "b") == [20, 5, 25]
    assert _images(rows, sides, "c") == [80, 20, 100]


def test_the_order_of_rows_does_not_count() -> None:
    rows = _rows({"a": [1] * 40 + [3] * 9, "b": [2] * 20})
    assert _sides(rows.sample(fraction=1, shuffle=True, seed=3)) == _sides(rows)


def test_another_seed_makes_another_split_of_the_same_sizes() -> None:
    rows = _rows({"a": [1] * 50, "b": [2] * 20})
    first, second = _sides(rows), _sides(rows, SplitConfig(seed=7))
    assert first != second
    assert Counter(first.values()) == Counter(second.values())


def test_what_is_dealt_where_says_nothing_of_the_names_of_components() -> None:
    """Components are SHA-256, so any of them must be as likely on any side: dealt by a keyed hash."""
    rows = _rows({"a": [1] * 2000, "b": [1] * 2000})
    sides = _sides(rows)
    low = [side for component, side in sides.items() if component < "8"]
    assert Counter(low)[2] / len(low) == pytest.approx(0.7, abs=0.03)


def test_the_global_random_generator_is_left_alone_and_has_no_say() -> None:
    rows = _rows({"a": [1] * 9, "b": [1] * 9})
    random.seed(1)
    state = random.getstate()
    first = _sides(rows)
    assert random.getstate() == state
    random.seed(2)
    assert _sides(rows) == first


def test_split_folders_cuts_a_list_into_parts_of_the_sizes_asked_for() -> None:
    assert deal(list("abcdef"), [1, 0, 3, 2]) == [["a"], [], ["b", "c", "d"], ["e", "f"]]
    assert deal([], [0, 0]) == [[], []]


def test_folds_are_balanced_by_images_and_every_class_is_in_each() -> None:
    config = SplitConfig(train=0.8, val=0, test=0.2, folds=5)
    rows = _rows({"a": [1] * 203, "b": [3] * 20 + [1] * 40, "c": [1] * 6})
    sides = _sides(rows, config)
    assert _images(rows, sides, "a") == [41, 33, 33, 32, 32, 32]
    assert _images(rows, sides, "b") == [20, 16, 16, 16, 16, 16]
    assert _images(rows, sides, "c") == [1] * 6
    assert len(sides_of(config)) == 6


def test_nothing_to_deal_is_dealt_where_all_is_held() -> None:
    assert assign(_rows({}).cast(pl.String), CONFIG, {"a": [1, 1, 1]}).is_empty()


def test_held_images_and_too_few_groups_are_told() -> None:
    with pytest.raises(DataError, match="Class a cannot be split"):
        assign(_rows({"a": [1]}), CONFIG, {"a": [0, 0, 9]})
