from __future__ import annotations

import math
from collections.abc import Callable

import polars as pl
import pytest

from tasks.curate.config import Rules
from tasks.curate.rules.gray import GRAY_BELOW, gray

Rows = Callable[..., pl.DataFrame]
REFUSE = Rules(gray="refuse")


def test_an_image_without_colour_is_gray(rows: Rows) -> None:
    told = gray(rows(*({"colour": colour} for colour in (0.0, 0.694, GRAY_BELOW + 0.01, 30.0))), REFUSE)
    assert told.to_list() == ["colour 0.0, below 0.9 is gray", "colour 0.69, below 0.9 is gray", None, None]


def test_an_unknown_colour_is_not_held_against_an_image(rows: Rows) -> None:
    assert gray(rows({"colour": None}, {"colour": math.nan}), REFUSE).null_count() == 2


def test_gray_images_stay_by_default_measured_or_not(rows: Rows) -> None:
    assert gray(rows({"colour": 0.0}), Rules()).to_list() == [None]
    assert gray(rows({}).drop("colour"), Rules()).to_list() == [None]


def test_refusing_gray_images_without_measuring_is_an_error(rows: Rows) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="colour"):
        gray(rows({}).drop("colour"), REFUSE)
