from __future__ import annotations

import re

import pytest

from tasks.core.errors import RecipeError
from tasks.rehearse.labels import Rule, rule_of


def test_a_rule_is_read_however_it_is_written() -> None:
    assert rule_of(None) is None
    assert rule_of("taxon_family_name") == Rule(column="taxon_family_name")
    assert rule_of({"taxa": {"widows": "Latrodectus", "others": ["Araneus", 5]}}) == Rule(
        taxa={"widows": ("Latrodectus",), "others": ("Araneus", "5")}
    )


@pytest.mark.parametrize(
    ("column", "rank"), [("family", "family"), ("taxon_genus_name", "genus"), ("name", None), (None, None)]
)
def test_a_column_of_a_rank_is_known(column: str | None, rank: str | None) -> None:
    assert Rule(column=column).rank == rank


@pytest.mark.parametrize(
    "pattern",
    [r"^([a-z]+)/", r"^([a-z]+)_\d+", r"_([a-z]+)\.jpg$", r"images/([a-z]+)/", r"^([a-z]+) \S+$", r"([^/]+)/[^/]+$"],
)
def test_a_text_is_found_in_which_the_pattern_finds_the_class(pattern: str) -> None:
    found = re.search(pattern, Rule(pattern=pattern).written("perch", "0007"))
    assert found
    assert found[1] == "perch"


def test_a_pattern_that_cannot_be_met_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"finds the class 'perch'"):
        Rule(pattern="^([0-9]{3})$").written("perch")
