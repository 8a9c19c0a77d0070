from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from tasks.core.errors import RecipeError
from tasks.discover.config import AnySource, Source
from tasks.discover.fields import OPEN_LICENCES
from tasks.ingest.config import IngestConfig
from tasks.rehearse.sources import DEFAULTS, HOSTED, KNOWN, LOCAL, OBSERVED, OPEN, door_of, slots_of

NEEDED = {"taxon": "Araneus", "path": "x.csv", "query": "spider"}
SOURCES = [model.model_fields["source"].annotation for model in get_args(AnySource)]


@pytest.mark.parametrize("name", [get_args(source)[0] for source in SOURCES])
def test_the_defaults_are_those_of_the_stages(name: str) -> None:
    fields = next(m for m in get_args(AnySource) if get_args(m.model_fields["source"].annotation)[0] == name)
    given = {field: value for field, value in NEEDED.items() if fields.model_fields.get(field)}
    source = TypeAdapter[Any](Source).validate_python({"source": name, **given})
    assert DEFAULTS[name] == {field: getattr(source, field) for field in DEFAULTS[name]} | {
        field: fields.model_fields[field].default for field in DEFAULTS[name] if field in given
    }


def test_every_source_can_be_played() -> None:
    assert {get_args(source)[0] for source in SOURCES} == set(KNOWN) == {*OBSERVED, *HOSTED, *LOCAL}
    assert DEFAULTS["ingest"] == {name: getattr(IngestConfig(), name) for name in DEFAULTS["ingest"]}
    assert OPEN == OPEN_LICENCES


def test_sources_are_numbered_within_their_class() -> None:
    recipe = {"classes": {"a": [{"source": "url_list", "path": "x"}, {"source": "inaturalist", "taxon": 5}], "b": []}}
    assert [(slot.label, slot.number, slot.source, slot.taxa) for slot in slots_of(recipe)] == [
        ("a", 0, "url_list", ()),
        ("a", 1, "inaturalist", (5,)),
    ]


def told(recipe: dict[str, Any], folders: list[str] | None = None) -> list[tuple[str, int, str | None]]:
    return [(slot.label, slot.number, slot.raw) for slot in slots_of(recipe, folders)]


FOLDER = {"source": "folder", "path": "x"}


def test_a_source_of_several_classes_is_a_slot_in_each() -> None:
    recipe = {"classes": {"Perch": [FOLDER]}, "sources": [FOLDER]}
    assert told(recipe, ["perch", "chub", "eel"]) == [("Perch", 0, None), ("chub", 0, "chub"), ("eel", 0, "eel")]
    assert len({slot.label for slot in slots_of({"sources": [FOLDER]})}) == 4


def test_its_classes_are_those_of_its_rule_merged_and_without_the_dropped() -> None:
    labels = {"merge": {"minnows": ["chub", "dace"]}, "drop": ["eel"]}
    assert told({"sources": [FOLDER], "labels": labels}, ["chub", "dace", "eel", "pike"]) == [
        ("minnows", 0, "chub"),
        ("minnows", 1, "dace"),
        ("pike", 0, "pike"),
    ]
    rule = {"taxa": {"widows": ["Latrodectus"], "eel": ["Anguilla"], "chub": ["Squalius"]}}
    gbif = {"source": "gbif", "taxon": "Animalia", "label": rule}
    assert told({"sources": [gbif, gbif], "labels": labels}) == [
        ("widows", 0, "widows"),
        ("minnows", 0, "chub"),
        ("widows", 1, "widows"),
        ("minnows", 1, "chub"),
    ]


def test_painted_classes_are_those_of_merge() -> None:
    labels = {"merge": {"minnows": ["chub", "dace"], "others": ["pike"]}}
    assert [raw for _, _, raw in told({"sources": [FOLDER], "labels": labels})] == ["chub", "dace", "pike"]


def test_the_recipes_own_rules_win_over_the_defaults() -> None:
    assert door_of({"ingest": {"min_side": 9}})["min_side"] == 9
    assert door_of({})["attempts"] == 4


@pytest.mark.parametrize("recipe", [{}, {"classes": ["a"]}, {"classes": {"a": "urls/a.txt"}}, {"sources": "x"}])
def test_a_recipe_without_classes_is_refused(recipe: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="no classes"):
        slots_of(recipe)


@pytest.mark.parametrize("recipe", [{"classes": {"a": [{"source": "bing"}]}}, {"sources": [{"source": "bing"}]}])
def test_an_unknown_source_is_refused_by_name(recipe: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"(Class a|Source 1 of `sources:`): .*\n.*bing"):
        slots_of(recipe)
