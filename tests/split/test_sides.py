from __future__ import annotations

import pytest

from tasks.split.config import SplitConfig
from tasks.split.sides import line_of, sides_of, sides_table

CONFIG = SplitConfig()


def _told(config: SplitConfig) -> list[tuple[str, int | None, float]]:
    return [(side.split, side.fold, round(side.share, 6)) for side in sides_of(config)]


def test_the_strongest_side_is_test_and_the_weakest_train() -> None:
    assert _told(CONFIG) == [("test", None, 0.15), ("val", None, 0.15), ("train", None, 0.7)]


def test_without_validation_there_are_two_sides() -> None:
    assert _told(SplitConfig(train=0.8, val=0, test=0.2)) == [("test", None, 0.2), ("train", None, 0.8)]


def test_folds_share_all_but_the_test_images_and_the_first_is_val_whatever_val_says() -> None:
    for config in (
        SplitConfig(train=0.8, val=0, test=0.2, folds=4),
        SplitConfig(train=0.5, val=0.3, test=0.2, folds=4),
    ):
        folds = [("val", 0, 0.2), ("train", 1, 0.2), ("train", 2, 0.2), ("train", 3, 0.2)]
        assert _told(config) == [("test", None, 0.2), *folds]
    assert sides_table(config).rows()[:2] == [(0, "test", None), (1, "val", 0)]


def test_ratios_leave_the_line_as_it_is() -> None:
    assert line_of(SplitConfig(train=0.6, val=0.2, test=0.2)) == line_of(CONFIG)


@pytest.mark.parametrize(
    "other",
    [
        SplitConfig(seed=2),
        SplitConfig(folds=3),
        SplitConfig(train=0.8, val=0, test=0.2),
        SplitConfig(group_by=("creator",)),
    ],
)
def test_seed_folds_splits_and_ties_begin_a_line_of_their_own(other: SplitConfig) -> None:
    assert line_of(other) != line_of(CONFIG)


def test_the_order_of_ties_does_not_count() -> None:
    assert line_of(SplitConfig(group_by=("creator", "place"))) == line_of(SplitConfig(group_by=("place", "creator")))
