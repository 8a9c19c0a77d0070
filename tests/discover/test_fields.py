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
