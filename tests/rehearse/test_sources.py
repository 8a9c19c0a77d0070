from __future__ import annotations

import pytest

from tasks.core.errors import RecipeError
from tasks.discover.config import OPEN_LICENCES, INaturalistSource
from tasks.ingest.config import IngestConfig
from tasks.rehearse.sources import DEFAULTS, OPEN, door_of, slots_of


def test_the_defaults_are_those_of_the_stages() -> None:
    source = INaturalistSource(source="inaturalist", taxon="Araneus")
    assert DEFAULTS["inaturalist"] == {name: getattr(source, name) for name in DEFAULTS["inaturalist"]}
    assert DEFAULTS["ingest"] == {name: getattr(IngestConfig(), name) for name in DEFAULTS["ingest"]}
    assert OPEN == OPEN_LICENCES


def test_sources_are_numbered_within_their_class() -> None:
    recipe = {"classes": {"a": [{"source": "url_list", "path": "x"}, {"source": "inaturalist", "taxon": 5}], "b": []}}
    assert [(slot.label, slot.number, slot.source, slot.taxa) for slot in slots_of(recipe)] == [
        ("a", 0, "url_list", ()),
        ("a", 1, "inaturalist", (5,)),
    ]


def test_the_recipes_own_rules_win_over_the_defaults() -> None:
    assert door_of({"ingest": {"min_side": 9}})["min_side"] == 9
    assert door_of({})["attempts"] == 4


@pytest.mark.parametrize("recipe", [{}, {"classes": ["a"]}, {"classes": {"a": "urls/a.txt"}}])
def test_a_recipe_without_classes_is_refused(recipe: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="no classes"):
        slots_of(recipe)


def test_an_unknown_source_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match=r"Class a: .*\n.*google"):
        slots_of({"classes": {"a": [{"source": "google", "query": "x"}]}})
