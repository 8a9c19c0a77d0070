from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from tasks.track.names import MAX_PARAM_LENGTH, batches, flattened, metric_name


def test_plain_names_stay_as_they_are() -> None:
    assert metric_name("class", "Araneus diadematus") == "class/Araneus diadematus"
    assert metric_name("outcome", "not-found") == "outcome/not-found"
    assert metric_name("class", "ärenea 蜘蛛") == "class/ärenea 蜘蛛"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300))
def test_mlflow_takes_every_class_name(name: str) -> None:
    found = metric_name("class", name)
    _validate_metric_name(found)  # raises when it does not
    assert posixpath.normpath(found) == found


def test_names_that_become_alike_are_told_apart() -> None:
    assert (
        len({metric_name("class", name) for name in ("a(b", "a)b", "a_b", "a/b", "." + "a_b", "x" * 300, "x" * 301)})
        == 7
    )


def test_nested_configuration_becomes_dotted_parameters() -> None:
    tree = {"model": {"head": {"dropout": 0.2, "dense": [64, 32]}}, "train": {"fine_tune": None, "extra": {}}}
    assert flattened(tree) == {
        "model.head.dropout": "0.2", "model.head.dense": "64, 32", "train.fine_tune": "none", "train.extra": "none",
    }  # fmt: skip


def test_a_long_parameter_is_cut_where_mlflow_would_refuse_it() -> None:
    assert len(flattened({"path": "x" * 10_000})["path"]) == MAX_PARAM_LENGTH


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (3, [3]), (7, [3, 3, 1])])
def test_batches_lose_nothing(count: int, sizes: list[int]) -> None:
    found = list(batches(range(count), 3))
    assert [len(batch) for batch in found] == sizes
    assert [item for batch in found for item in batch] == list(range(count))
