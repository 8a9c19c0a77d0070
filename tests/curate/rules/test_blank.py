from __future__ import annotations

import math
from collections.abc import Callable

import polars as pl

from tasks.curate.config import Rules
from tasks.curate.rules.blank import blank

Rows = Callable[..., pl.DataFrame]


def test_an_image_with_less_contrast_than_asked_for_is_blank(rows: Rows) -> None:
    told = blank(rows(*({"contrast": contrast} for contrast in (2.345, 2.5, 60.0))), Rules(min_contrast=2.5))
    assert told.to_list() == ["contrast 2.35, at least 2.5 is asked for", None, None]


def test_an_unknown_contrast_is_not_held_against_an_image(rows: Rows) -> None:
    assert blank(rows({"contrast": None}, {"contrast": math.nan}), Rules(min_contrast=9)).null_count() == 2


def test_nothing_is_blank_by_default(rows: Rows) -> None:
    assert blank(rows({"contrast": 0.0}), Rules()).to_list() == [None]
