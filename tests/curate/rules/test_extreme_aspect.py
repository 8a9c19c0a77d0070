from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from tasks.curate.config import Rules
from tasks.curate.rules.extreme_aspect import extreme_aspect

Rows = Callable[..., pl.DataFrame]


@pytest.mark.parametrize(
    ("width", "height", "detail"),
    [
        (40, 300, "40 x 300 px: 7.5 : 1"),
        (300, 40, "300 x 40 px: 7.5 : 1"),
        (404, 100, "404 x 100 px: 4.04 : 1"),
        (400, 100, None),
        (100, 400, None),
        (None, 300, None),
        (300, None, None),
        (0, 300, None),
    ],
)
def test_the_longer_side_is_compared_with_the_shorter_one(
    rows: Rows, width: int | None, height: int | None, detail: str | None
) -> None:
    assert extreme_aspect(rows({"width": width, "height": height}), Rules(max_aspect=4)).to_list() == [detail]


def test_a_fraction_at_the_limit_stays(rows: Rows) -> None:
    sides = [{"width": 11 * size, "height": 5 * size} for size in range(1, 200)]
    assert extreme_aspect(rows(*sides), Rules(max_aspect=2.2)).null_count() == len(sides)


def test_nothing_is_drawn_out_by_default(rows: Rows) -> None:
    assert extreme_aspect(rows({"width": 1, "height": 9000}), Rules()).to_list() == [None]
