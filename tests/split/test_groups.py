from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, get_args

import polars as pl
import pytest

from tasks.core.errors import DataError
from tasks.core.tables import SPLITS, conform
from tasks.split.config import GroupColumn, SplitConfig
from tasks.split.groups import GROUP_BY, check_names, check_sizes, is_kept, tie

LABELS = ("bee", "wasp")
CONFIG = SplitConfig()

Row = Callable[..., dict[str, Any]]
Verdicts = Callable[..., pl.DataFrame]


def _kept(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["sha256", "label", "component"], orient="row")


def _check(kept: pl.DataFrame, labels: tuple[str, ...], reasons: Any = dict, config: SplitConfig = CONFIG) -> None:  # noqa: ANN401
    check_sizes(kept, labels, config=config, set_aside=reasons)


def _parts(rows: pl.DataFrame, *group_by: str) -> list[str]:
    """Return which rows are tied, as a letter a row: equal letters, one component."""
    config = SplitConfig.model_validate({"group_by": group_by})
    components = tie(rows, config, conform(pl.DataFrame(), SPLITS))["component"].to_list()
    order = list(dict.fromkeys(components))
    return ["abcdefgh"[order.index(component)] for component in components]


def test_without_group_by_only_what_curation_tied_is_tied(row: Row, verdicts: Verdicts) -> None:
    shared = {"creator": "ann", "page_url": "http://p.example/1", "source": "list", "taxon": "Apis"}
    rows = [row("bee", 0, **shared), row("bee", 1, **shared), row("bee", 2, group_id="o"), row("wasp", 3, group_id="o")]
    assert _parts(verdicts(rows)) == ["a", "b", "c", "c"]


def test_every_column_a_recipe_may_name_can_tie() -> None:
    assert set(GROUP_BY) == set(get_args(GroupColumn))


@pytest.mark.parametrize(
    ("column", "values", "parts"),
    [
        ("creator", ["Ann Lee", " ann lee ", "Bob", "", None], "aabcd"),
        ("page_url", ["https://www.p.example/1#top", "http://p.example/1", "http://p.example/2", "", None], "aabcd"),
        ("observed_on", [date(2024, 5, 1), date(2024, 5, 1), date(2024, 5, 2), None, None], "aabcd"),
        ("source", ["gbif", "gbif", "list", "", None], "aabcd"),
        ("taxon", ["Apis mellifera", "apis mellifera", "Apis", "", None], "aabcd"),
    ],
)
def test_equal_values_tie_and_unknown_ones_do_not(
    row: Row, verdicts: Verdicts, column: str, values: list[object], parts: str
) -> None:
    rows = verdicts([row("bee", n, **{column: value}) for n, value in enumerate(values)])
    assert _parts(rows, column) == list(parts)


def test_one_host_is_one_group_and_a_file_has_none(row: Row, verdicts: Verdicts) -> None:
    urls = ["http://a.example/1", "https://www.A.example:443/x?y", "http://b.example/1", "file:///x/1", "file:///x/2"]
    rows = verdicts([row("bee", n, url=url) for n, url in enumerate(urls)])
    assert _parts(rows, "host") == list("aabcd")


def test_one_place_is_a_square_of_a_hundredth_of_a_degree(row: Row, verdicts: Verdicts) -> None:
    places = [
        (38.71, -9.14), (38.7199, -9.1301), (38.72, -9.14),  # the third lies north of the first two
        (0.29, 7.5), (0.2999, 7.5),  # 0.29 * 100 is a little less than 29
        (-0.001, 180.0), (-0.009, -180.0),  # one meridian
        (None, 1.0), (float("nan"), 1.0),
    ]  # fmt: skip
    rows = verdicts([row("bee", n, latitude=north, longitude=east) for n, (north, east) in enumerate(places)])
    assert _parts(rows, "place") == list("aabccddef")


def test_ties_of_several_columns_chain_also_through_rows_that_are_not_kept(row: Row, verdicts: Verdicts) -> None:
    rows = verdicts(
        [
            row("bee", 0, creator="ann"),
            row("bee", 1, creator="ann", verdict="rejected", group_id="o"),
            row("wasp", 2, group_id="o", verdict="near-duplicate", page_url="http://p.example/1"),
            row("wasp", 3, page_url="http://p.example/1"),
            row("wasp", 4, creator="bob"),
        ]
    )
    assert _parts(rows, "creator", "page_url") == list("aaaab")
    assert _parts(rows, "creator") == list("aaabc")


def test_all_rows_of_one_image_tie_whatever_their_address(row: Row, verdicts: Verdicts) -> None:
    same = row("bee", 0)["sha256"]
    rows = [
        row("bee", 0, creator="ann"),
        row("bee", 1, sha256=same, component=same, creator="bob", verdict="duplicate-bytes"),
        row("bee", 2, creator="bob"),
    ]
    assert _parts(verdicts(rows), "creator") == list("aaa")


def test_only_kept_rows_of_the_recipes_classes_are_split() -> None:
    verdicts = pl.DataFrame(
        {"sha256": list("cba"), "label": ["bee", "hornet", "bee"], "verdict": ["kept", "kept", "near-duplicate"]}
    )
    assert verdicts.filter(is_kept(LABELS))["sha256"].to_list() == ["c"]


def test_three_groups_a_class_suffice_and_reasons_are_not_asked_for() -> None:
    kept = _kept(*[(f"{label}{n}", label, f"{label}{n}") for label in LABELS for n in range(3)])
    _check(kept, LABELS, lambda: pytest.fail("asked for reasons"))


def test_every_class_that_is_too_small_is_named_with_figures_and_reasons() -> None:
    kept = _kept(
        ("1", "bee", "x"), ("2", "bee", "x"), ("3", "bee", "y"), *[(f"w{n}", "wasp", f"w{n}") for n in range(3)]
    )
    reasons = {"bee": {"not-found": 7, "html": 2}, "wasp": {"html": 9}}
    with pytest.raises(DataError) as caught:
        _check(kept, ("bee", "hornet", "moth", "wasp"), lambda: reasons)
    assert caught.value.what == "3 of 4 classes cannot be split into train, val and test."
    assert caught.value.received.splitlines() == [
        "  bee: 3 images in 2 groups, at least 3 groups are needed; its other addresses: 2 html, 7 not-found",
        "  hornet: no image, at least 3 groups are needed; no other address is known",
        "  moth: no image, at least 3 groups are needed; no other address is known",
    ]
    assert "sources" in caught.value.hint


def test_one_image_and_many_images_of_one_cluster_are_told_apart() -> None:
    kept = _kept(("1", "bee", "x"), *[(f"w{n}", "wasp", "w") for n in range(40)])
    with pytest.raises(DataError) as caught:
        _check(kept, LABELS)
    one, cluster = caught.value.received.splitlines()
    assert one.startswith("  bee: 1 image in 1 group, at least 3 groups are needed")
    assert cluster.startswith("  wasp: 40 images in 1 group, at least 3 groups are needed")
    assert "one observation or one near-duplicate cluster form one group" in caught.value.hint


@pytest.mark.parametrize(
    ("config", "needed", "into"),
    [
        (SplitConfig(train=0.8, val=0, test=0.2), 2, "train and test"),
        (SplitConfig(folds=5), 6, "test and 5 folds"),
    ],
)
def test_how_many_groups_are_needed_depends_on_splits_and_folds(config: SplitConfig, needed: int, into: str) -> None:
    kept = _kept(*[(f"{label}{n}", label, f"{label}{n}") for label in LABELS for n in range(needed)])
    _check(kept, LABELS, config=config)
    with pytest.raises(DataError) as caught:
        _check(kept[1:], LABELS, config=config)
    assert caught.value.what == f"1 of 2 classes cannot be split into {into}."
    assert f"at least {needed} groups are needed" in caught.value.received


def test_what_ties_is_told_where_a_class_falls_into_too_few_groups() -> None:
    with pytest.raises(DataError) as caught:
        _check(_kept(("1", "bee", "x")), LABELS, config=SplitConfig(group_by=("creator", "place")))
    assert "one observation, one near-duplicate cluster, one creator or one place form one group" in caught.value.hint


def test_one_class_is_no_classifier() -> None:
    with pytest.raises(DataError, match="at least 2 classes"):
        _check(_kept(*[(str(n), "bee", str(n)) for n in range(9)]), ("bee",))


def test_names_that_no_folder_can_have_are_refused_whoever_gave_them() -> None:
    with pytest.raises(DataError, match=r"\.\./wasp"):
        check_names(("bee", "../wasp"))
    with pytest.raises(DataError, match="upper and lower case"):
        check_names(("bee", "Bee"))
    check_names(("Bee", "гусеница"))
