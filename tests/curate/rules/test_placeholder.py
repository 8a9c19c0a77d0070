from __future__ import annotations

from collections.abc import Callable

import polars as pl

from tasks.curate.config import Rules
from tasks.curate.rules.placeholder import placeholder

RULES = Rules(placeholder_addresses=10, placeholder_classes=3)
Rows = Callable[..., pl.DataFrame]


def test_a_file_under_many_addresses_goes_with_all_its_rows(rows: Rows) -> None:
    told = placeholder(rows(*[{"picture": "sorry"}] * 10, {"picture": "bee"}), RULES)
    assert told.to_list() == ["10 addresses in 1 class"] * 10 + [None]


def test_one_address_less_is_no_placeholder(rows: Rows) -> None:
    assert placeholder(rows(*[{"picture": "sorry"}] * 9), RULES).to_list() == [None] * 9


def test_one_address_counts_once_however_many_rows_it_has(rows: Rows) -> None:
    one = rows(*[{"picture": "sorry", "url": "http://a"}] * 9, {"picture": "sorry"})
    assert placeholder(one, RULES).null_count() == 10


def test_a_file_in_many_classes_goes_however_few_its_addresses(rows: Rows) -> None:
    told = placeholder(rows(*({"picture": "logo", "url": "http://a", "label": label} for label in "abc")), RULES)
    assert told.to_list() == ["1 address in 3 classes"] * 3


def test_classes_are_those_that_the_sources_offer(rows: Rows) -> None:
    offered = [{"picture": "logo", "label": "a", "offered_label": label} for label in ("a", "b", "c")]
    assert placeholder(rows(*offered), RULES).to_list() == ["3 addresses in 3 classes"] * 3
    relabelled = [{"picture": "logo", "label": label, "offered_label": "a"} for label in ("a", "b", "c")]
    assert placeholder(rows(*relabelled), RULES).null_count() == 3


def test_each_limit_can_be_left_out(rows: Rows) -> None:
    spread = rows(*({"picture": "logo", "label": str(number)} for number in range(12)))
    assert placeholder(spread, Rules(placeholder_addresses=0, placeholder_classes=0)).null_count() == 12
    assert placeholder(spread, Rules(placeholder_addresses=0, placeholder_classes=13)).null_count() == 12
    assert placeholder(spread, Rules(placeholder_addresses=12, placeholder_classes=0)).null_count() == 0


def test_files_whose_bytes_are_not_known_are_not_one_file(rows: Rows) -> None:
    assert placeholder(rows(*[{"picture": None}] * 20), RULES).null_count() == 20
