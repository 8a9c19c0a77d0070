from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import DataError
from tasks.split.config import SplitConfig
from tasks.split.plan import Signature, plan_counts
from tasks.split.sides import Side, sides_of

SIDES = sides_of(SplitConfig())


def _kind(size: int, label: str = "a") -> Signature:
    return ((label, size),)


def _of(sizes: list[int], label: str = "a") -> Counter[Signature]:
    return Counter(_kind(size, label) for size in sizes)


def _images(plan: dict[Signature, list[int]], sides: tuple[Side, ...] = SIDES, label: str = "a") -> list[int]:
    images = [0] * len(sides)
    for signature, counts in plan.items():
        for side, groups in enumerate(counts):
            images[side] += groups * dict(signature).get(label, 0)
    return images


@pytest.mark.parametrize(
    ("sizes", "images"),
    [
        ([1] * 1000, [150, 150, 700]),
        ([1] * 1_000_000, [150_000, 150_000, 700_000]),
        ([1] * 20, [3, 3, 14]),
        ([1] * 21, [3, 3, 15]),
        ([2] * 100, [30, 30, 140]),
        ([40] + [1] * 60, [15, 15, 70]),
        ([100, 35] + [1] * 65, [30, 30, 140]),
        ([1] * 100 + [2] * 30 + [5] * 9 + [11, 17, 23], [39, 38, 179]),
    ],
)
def test_images_come_as_near_to_the_ratios_as_whole_groups_allow(sizes: list[int], images: list[int]) -> None:
    assert _images(plan_counts(_of(sizes), SIDES)) == images


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 9), min_size=3, max_size=60),
    st.integers(0, 200),
    st.sampled_from([SplitConfig(), SplitConfig(train=0.8, val=0, test=0.2), SplitConfig(folds=3)]),
)
def test_every_group_is_planned_once_and_single_images_even_out_what_others_left(
    sizes: list[int], singles: int, config: SplitConfig
) -> None:
    sides = sides_of(config)
    available = _of(sizes + [1] * (singles + len(sides)))
    plan = plan_counts(available, sides)
    assert {signature: sum(counts) for signature, counts in plan.items()} == available
    images, total = _images(plan, sides), sum(_images(plan, sides))
    assert min(images) > 0
    if singles >= 10 * len(sides):  # more than any side can be behind after the largest group
        assert all(abs(got - side.share * total) <= 1 for got, side in zip(images, sides, strict=True))


def test_what_stands_already_steers_where_new_groups_go() -> None:
    assert _images(plan_counts(_of([1] * 100), SIDES, {"a": [0, 0, 100]})) == [30, 30, 40]


def test_a_side_that_holds_too_much_already_gets_nothing_more() -> None:
    assert _images(plan_counts(_of([1] * 30), SIDES, {"a": [50, 3, 20]})) == [
        0,
        5,
        25,
    ]  # of 103, val lacks 12 and train 52


def test_a_class_whose_sides_are_all_held_needs_no_new_group() -> None:
    assert plan_counts({}, SIDES, {"a": [1, 1, 5]}) == {}


def test_three_groups_give_one_to_each_side_the_smallest_to_test() -> None:
    plan = plan_counts(_of([1, 9, 2]), SIDES)
    assert _images(plan) == [1, 2, 9]


def test_large_groups_are_spread_over_the_sides_where_small_ones_can_even_them_out() -> None:
    plan = plan_counts(_of([10] * 20 + [1] * 200), SIDES)
    assert plan[_kind(10)] == [3, 3, 14]


def test_a_side_that_got_a_large_group_gets_fewer_of_the_middling_ones() -> None:
    plan = plan_counts(_of([100] + [10] * 5 + [1] * 50), SIDES)
    assert plan[_kind(10)] == [2, 2, 1]
    assert _images(plan) == [30, 30, 140]


@pytest.mark.parametrize("label", ["a", "b"])
def test_shares_hold_in_both_classes_of_shared_groups(label: str) -> None:
    available = _of([1] * 80) + _of([1] * 60, "b") + Counter({(("a", 1), ("b", 1)): 40})
    images = _images(plan_counts(available, SIDES), label=label)
    for got, side in zip(images, SIDES, strict=True):
        assert got / sum(images) == pytest.approx(side.share, abs=0.01)


def test_a_class_whose_groups_others_need_on_one_side_is_named() -> None:
    """c has only two groups, and they go where a and b need them."""
    available = {(("a", 1), ("b", 1), ("c", 1)): 2, (("a", 1), ("b", 1)): 1, (("c", 1),): 0}
    with pytest.raises(DataError, match="Class c cannot be split: no group of it is left for train") as caught:
        plan_counts(available, SIDES)
    assert "1 in test, 1 in val, 0 in train" in caught.value.received


def test_a_class_that_lost_its_test_images_says_so() -> None:
    with pytest.raises(DataError, match="Class a cannot be split: no group of it is left for test") as caught:
        plan_counts({}, SIDES, {"a": [0, 2, 5]})
    assert "earlier version" in caught.value.received
    assert "seed" in caught.value.hint
