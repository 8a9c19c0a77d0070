from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tasks.split.report.classes import balance, folds, shares


def test_classes_stand_largest_first_with_what_they_had_before(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    made = scene([
        *(row(f"b{n}", split=("train", "train", "val", "test")[n]) for n in range(4)),
        row("b0x", picture="b0", verdict="duplicate-bytes"), row("b9", outcome="html", verdict=None),
        row("b8", verdict="near-duplicate"),
        row("w0", "wasp"), row("w1", "wasp", split="test"),
        row("a0", "ant"), row("a1", "ant", offered_label="wasp"),
    ])  # fmt: skip
    found = balance(made.collected, made.manifest)
    assert [(r.label, r.before, r.after) for r in found.rows] == [("bee", 5, 4), ("ant", 1, 2), ("wasp", 3, 2)]
    assert found.rows[0].offered == 7
    assert found.rows[0].splits == {"train": 2, "val": 1, "test": 1}
    assert (found.splits, found.largest) == (("train", "val", "test"), 5)
    assert (found.ratio_before, found.ratio_after) == (5.0, 2.0)


def test_shares_are_told_beside_what_was_asked(row: Callable[..., Any], scene: Callable[..., Any]) -> None:
    made = scene([row(f"u{n}", split="train" if n < 7 else "test") for n in range(10)])
    config = {"train": 0.8, "val": 0.0, "test": 0.2, "folds": 0}
    told = shares(made.manifest, config)
    assert [(s.split, s.images, s.asked, s.got) for s in told] == [("train", 7, 0.8, 0.7), ("test", 3, 0.2, 0.3)]


def test_with_folds_the_first_one_is_asked_of_val(row: Callable[..., Any], scene: Callable[..., Any]) -> None:
    rows = [row(f"u{n}", split="val" if n < 2 else "train", fold=n // 2) for n in range(8)]
    made = scene([*rows, row("t1", split="test"), row("t2", split="test")])
    told = {s.split: s.asked for s in shares(made.manifest, {"train": 0.7, "val": 0.1, "test": 0.2, "folds": 4})}
    assert told == pytest.approx({"train": 0.6, "val": 0.2, "test": 0.2})
    assert folds(made.manifest) == ((0, 2), (1, 2), (2, 2), (3, 2))
