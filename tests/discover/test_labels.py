"""Classes: which are large enough, which are left out."""

from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.discover.config import LabelsConfig
from tasks.discover.labels import classes_of, relabelled


def offered(**counts: int) -> pl.DataFrame:
    return pl.DataFrame({"label": [name for name, count in counts.items() for _ in range(count)]})


def test_a_named_class_that_is_small_is_told_apart_from_one_that_a_source_told() -> None:
    classes = classes_of(offered(big=5, named=2, told=1), ("named", "nobody"), LabelsConfig(min_images=3))
    assert classes.counts == {"big": 5}
    assert classes.small == {"named": 2, "nobody": 0}
    assert classes.left_out == {"told": 1}


def test_a_merged_class_keeps_rows_that_had_its_name_already() -> None:
    frame, dropped = relabelled(
        offered(cats=1, lynx=2, dogs=1), LabelsConfig(merge={"cats": ("lynx",)}, drop=("dogs",))
    )
    assert sorted(frame["label"]) == ["cats"] * 3
    assert dropped == 1


def test_a_class_cannot_be_both_merged_and_dropped() -> None:
    with pytest.raises(ValidationError, match="lynx stands twice"):
        LabelsConfig(merge={"cats": ("lynx",)}, drop=("lynx",))
