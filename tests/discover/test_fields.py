"""What YAML makes of words: true and false are never taken for 1 and 0."""

from __future__ import annotations

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from tasks.discover.config import Source

SOURCE: TypeAdapter[Source] = TypeAdapter(Source)
TABLES = ("{source: url_list, path: x.csv, %s}", "{source: inaturalist_export, path: x.csv, %s}",
          "{source: darwin_core, path: x.zip, %s}", "{source: archive, path: x.zip, table: x.csv, %s}")  # fmt: skip


@pytest.mark.parametrize("block", TABLES)
def test_true_and_false_are_words_where_rows_are_chosen(block: str) -> None:
    raw = yaml.safe_load(block % "where: {captive: false, seen: [yes, 1, 'no'], age: 0}")
    source = SOURCE.validate_python(raw)
    assert source.model_dump()["where"] == {"captive": "false", "seen": ("true", 1, "no"), "age": 0}
    assert SOURCE.validate_json(source.model_dump_json()) == source


@pytest.mark.parametrize(
    "block",
    [
        "{source: inaturalist, taxon: no}",
        "{source: inaturalist, taxon: [Apis, on]}",
        "{source: gbif, taxon: true}",
        "{source: inaturalist_export, path: x.csv, taxon: [false]}",
        "{source: darwin_core, path: x.zip, label: {taxa: {bee: [Apis, off]}}}",
    ],
)
def test_they_are_refused_as_taxa(block: str) -> None:
    with pytest.raises(ValidationError, match="put it in quotes"):
        SOURCE.validate_python(yaml.safe_load(block))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("{source: url_list, path: []}", "the list is empty: give at least one"),
        ("{source: inaturalist_export, path: []}", "the list is empty: give at least one"),
        ("{source: google, query: []}", "the list is empty: give at least one"),
        ("{source: openverse, query: ''}", "it is blank"),
        ("{source: openverse, query: [bee, ' ']}", "it is blank"),
        ("{source: wikimedia_commons, query: ''}", "it is blank"),
        ("{source: wikimedia_commons, category: [' ']}", "it is blank"),
        ("{source: wikimedia_commons, query: [], category: []}", "give a query or a category"),
        ("{source: inaturalist, taxon: []}", "the list is empty: give at least one"),
        ("{source: inaturalist, taxon: ' '}", "it is blank"),
        ("{source: gbif, taxon: []}", "the list is empty: give at least one"),
        ("{source: inaturalist_open_data, path: x, taxon: []}", "the list is empty: give at least one"),
        ("{source: gbif, taxon: Apis, country: [PRT]}", "give the two letters of a country, e.g. PT"),
        ("{source: gbif, taxon: Apis, country: [NO]}", "put it in quotes"),
        ("{source: google, query: bee, country: Portugal}", "give the two letters of a country, e.g. PT"),
        ("{source: google, query: bee, languages: [english]}", "give the two letters of a language, e.g. pt or pt-BR"),
        ("{source: google, query: bee, languages: [no]}", "put it in quotes"),
    ],
)
def test_what_asks_for_nothing_is_refused_in_one_plain_sentence(block: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SOURCE.validate_python(yaml.safe_load(block))
    (fault,) = caught.value.errors()
    assert message in fault["msg"]


@pytest.mark.parametrize(
    "block",
    [
        "{source: google, query: bee, languages: [pt, zh-CN, 'no'], country: pt}",
        "{source: gbif, taxon: 1, country: [PT, 'NO']}",
        "{source: darwin_core, path: x.zip, taxon: []}",
        "{source: wikimedia_commons, query: [], category: Apis}",
    ],
)
def test_codes_and_lists_that_may_be_empty_pass(block: str) -> None:
    assert SOURCE.validate_python(yaml.safe_load(block)).source in block
