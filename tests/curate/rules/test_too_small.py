from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from tasks.curate.config import Rules
from tasks.curate.rules.too_small import too_small

Rows = Callable[..., pl.DataFrame]


@pytest.mark.parametrize(
    ("width", "height", "detail"),
    [
        (63, 900, "63 x 900 px, the shorter side must have 64"),
        (900, 63, "900 x 63 px, the shorter side must have 64"),
        (64, 64, None),
        (None, 10, None),
        (10, None, None),
        (None, None, None),
        (0, 10, None),
        (-1, -1, None),
    ],
)
def test_the_shorter_side_decides_where_both_are_known(
    rows: Rows, width: int | None, height: int | None, detail: str | None
) -> None:
    assert too_small(rows({"width": width, "height": height}), Rules(min_side=64)).to_list() == [detail]


def test_nothing_is_too_small_by_default(rows: Rows) -> None:
    assert too_small(rows({"width": 1, "height": 1}), Rules()).to_list() == [None]
