from __future__ import annotations

import polars as pl
import pytest

from tasks.core.errors import DataError
from tasks.split.groups import check_sizes, groups_of, kept_rows

LABELS = ("bee", "wasp")


def _kept(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["sha256", "label", "component"], orient="row")


def test_images_of_one_component_are_one_group_whatever_their_class() -> None:
    groups = groups_of(_kept(("c", "bee", "x"), ("a", "wasp", "x"), ("b", "bee", "x"), ("d", "bee", "w")))
    assert [(g.component, g.images, g.signature) for g in groups] == [
        ("w", ("d",), (("bee", 1),)),
        ("x", ("a", "b", "c"), (("bee", 2), ("wasp", 1))),
    ]


def test_only_kept_rows_of_the_recipes_classes_are_split() -> None:
    verdicts = pl.DataFrame(
        {"sha256": list("cba"), "label": ["bee", "hornet", "bee"], "verdict": ["kept", "kept", "near-duplicate"]}
    )
    assert kept_rows(verdicts, LABELS)["sha256"].to_list() == ["c"]


def test_three_groups_a_class_suffice_and_reasons_are_not_asked_for() -> None:
    kept = _kept(*[(f"{label}{n}", label, f"{label}{n}") for label in LABELS for n in range(3)])
    check_sizes(kept, LABELS, lambda: pytest.fail("asked for reasons"))


def test_every_class_that_is_too_small_is_named_with_figures_and_reasons() -> None:
    kept = _kept(
        ("1", "bee", "x"), ("2", "bee", "x"), ("3", "bee", "y"), *[(f"w{n}", "wasp", f"w{n}") for n in range(3)]
    )
    with pytest.raises(DataError) as caught:
        check_sizes(
            kept, ("bee", "hornet", "moth", "wasp"), lambda: {"bee": {"not-found": 7, "html": 2}, "wasp": {"html": 9}}
        )
    assert caught.value.what == "3 of 4 classes cannot be split into train, val and test."
    assert caught.value.received.splitlines() == [
        "  bee: 3 images in 2 groups, at least 3 groups are needed; its other addresses: 2 html, 7 not-found",
        "  hornet: no image, at least 3 groups are needed; no other address is known",
        "  moth: no image, at least 3 groups are needed; no other address is known",
    ]
    assert "sources" in caught.value.hint


def test_one_class_is_no_classifier() -> None:
    with pytest.raises(DataError, match="at least 2 classes"):
        check_sizes(_kept(*[(str(n), "bee", str(n)) for n in range(9)]), ("bee",), dict)
