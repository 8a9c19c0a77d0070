from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from tasks.core.tables import PREDICTIONS, conform
from tasks.evaluate.metrics import class_table, confusion, confusion_table, mistakes, per_class, split_metrics

LABELS = ["ant", "bee", "wasp"]


def table(pairs: list[tuple[str, str]], split: str = "test", confidence: float = 0.8) -> pl.DataFrame:
    rest = (1 - confidence) / 2
    return conform(
        pl.DataFrame([
            {"sha256": f"{place:064x}", "split": split, "label": true, "predicted": predicted, "confidence": confidence,
             "probabilities": [confidence if name == predicted else rest for name in LABELS]}
            for place, (true, predicted) in enumerate(pairs)
        ]),
        PREDICTIONS,
    )  # fmt: skip


# ant: 2 of 3 found, given 3 times; bee: 1 of 1, given 3 times; wasp: 0 of 2, never given
PAIRS = [("ant", "ant"), ("ant", "ant"), ("ant", "bee"), ("bee", "bee"), ("wasp", "ant"), ("wasp", "bee")]


def test_figures_agree_with_a_count_by_hand() -> None:
    figures = split_metrics(table(PAIRS), LABELS)["test"]
    assert figures["n"] == 6
    assert figures["accuracy"] == pytest.approx(3 / 6)
    assert figures["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert figures["log_loss"] == pytest.approx(-(3 * math.log(0.8) + 3 * math.log(0.1)) / 6, abs=1e-6)


def test_classes_agree_with_a_count_by_hand() -> None:
    rows = {row["label"]: row for row in per_class(table(PAIRS), LABELS).iter_rows(named=True)}
    assert rows["ant"]["precision"] == pytest.approx(2 / 3)
    assert rows["ant"]["recall"] == pytest.approx(2 / 3)
    assert rows["ant"]["specificity"] == pytest.approx(2 / 3)
    assert rows["bee"]["precision"] == pytest.approx(1 / 3)
    assert rows["bee"]["specificity"] == pytest.approx(3 / 5)
    assert rows["wasp"]["precision"] == rows["wasp"]["recall"] == rows["wasp"]["f1"] == 0
    assert rows["wasp"]["specificity"] == 1
    assert [rows[name]["predicted"] for name in LABELS] == [3, 3, 0]


def test_a_class_absent_from_a_split_does_not_pull_its_means_down() -> None:
    figures = split_metrics(table([("ant", "ant"), ("bee", "bee")]), LABELS)["test"]
    assert figures["macro_f1"] == figures["balanced_accuracy"] == 1


def test_a_class_only_predicted_lowers_macro_f1() -> None:
    figures = split_metrics(table([("ant", "ant"), ("bee", "wasp")]), LABELS)["test"]
    assert figures["macro_f1"] == pytest.approx(1 / 3)


def test_splits_are_kept_apart_and_ordered() -> None:
    both = pl.concat([table([("ant", "bee")], "test"), table([("ant", "ant")], "train")])
    figures = split_metrics(both, LABELS)
    assert list(figures) == ["train", "test"]
    assert figures["train"]["accuracy"] == 1
    assert figures["test"]["accuracy"] == 0
    assert class_table(both, LABELS)["split"].to_list() == ["train"] * 3 + ["test"] * 3


def test_confusion_rows_are_true_classes() -> None:
    counts = confusion(table(PAIRS), LABELS)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 0], [1, 1, 0]]
    rows = confusion_table(counts, LABELS)
    assert rows.height == 9
    assert rows.filter((pl.col("true") == "wasp") & (pl.col("predicted") == "bee"))["count"].item() == 1
    assert rows["count"].sum() == 6


def test_mistakes_are_the_most_confident_of_the_test_split() -> None:
    rows = pl.concat([
        table([("ant", "bee")], "train", 0.99), table([("ant", "bee"), ("bee", "bee")], "test", 0.7),
        table([("wasp", "bee")], "test", 0.9),
    ])  # fmt: skip
    found = mistakes(rows, 5)
    assert found["confidence"].to_list() == pytest.approx([0.9, 0.7])
    assert found["label"].to_list() == ["wasp", "ant"]
    assert mistakes(rows, 1).height == 1
    assert mistakes(rows, 0).is_empty()


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40), st.randoms())
def test_means_agree_with_scikit_learn_and_not_with_the_order_of_rows(
    pairs: list[tuple[str, str]], random: np.random.Generator
) -> None:
    true, predicted = zip(*pairs, strict=True)
    figures = split_metrics(table(pairs), LABELS)["test"]
    assert figures["macro_f1"] == pytest.approx(f1_score(true, predicted, average="macro", zero_division=0))
    if len(set(true)) > 1 and set(predicted) <= set(true):  # scikit-learn warns otherwise
        assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))
    shuffled = list(pairs)
    random.shuffle(shuffled)
    again = split_metrics(table(shuffled), LABELS)["test"]
    assert again == pytest.approx(figures)
