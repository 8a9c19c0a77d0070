"""`harvestman check` against a photo site: what it foretells, and that it stays cheap."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console

from flows.check import Checked, look, show
from flows.context import Context
from flows.recipe import load_recipe
from flows.settings import Settings
from tasks.core.tables import read_candidates
from tasks.discover.gather import gather, shard_path, utc_now
from tasks.discover.sources import SOURCES
from tasks.rehearse.stage import Rehearsal, rehearse, serving

RECIPE = """
name: outlook
classes:
  round:
    - {source: inaturalist, taxon: Coccinella septempunctata, photos: all}
    - {source: openverse, query: ladybird}
    - {source: google, query: ladybird, provider: serper}
  striped:
    - {source: gbif, taxon: Araneus diadematus, photos: all}
    - {source: url_list, path: urls/b.txt}
model: {weights: none}
"""


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    folder = tmp_path_factory.mktemp("check")
    recipe = folder / "outlook.yaml"
    recipe.write_text(RECIPE)
    return rehearse(recipe, folder / "site", photos=None, observations=None, per_class=130, seed=5)


def settings(rehearsal: Rehearsal, workspace: Path, **more: object) -> Settings:
    values = {"workspace": workspace, "allowed_hosts": rehearsal.allowed_hosts, "apis": rehearsal.apis}
    return Settings(**(values | {"serper_key": SecretStr("any")} | more))  # type: ignore[arg-type]  # read as from the environment


def checked(rehearsal: Rehearsal, known: Settings, *, offline: bool = False) -> Checked:
    return look(load_recipe(rehearsal.recipe), rehearsal.recipe, known, offline=offline)


def asked(rehearsal: Rehearsal) -> int:
    path = rehearsal.site / "requests.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return sum(row["kind"] != "health" for row in rows)


def test_the_forecast_is_what_a_collection_then_finds(rehearsal: Rehearsal, tmp_path: Path) -> None:
    known = settings(rehearsal, tmp_path)
    with serving(rehearsal):
        before = asked(rehearsal)
        found = checked(rehearsal, known)
        questions = asked(rehearsal) - before
        context = Context(load_recipe(rehearsal.recipe), rehearsal.recipe, known)
        for ask in context.asks({"serper-key": SecretStr("any")}):
            gather(ask, SOURCES[ask.source.source], shard_path(context.collection, ask), now=utc_now())
    offered = read_candidates(context.collection)
    assert found.ready, found.problems
    assert questions <= 7  # a page of each API, and a name or two
    for label in ("round", "striped"):
        expected = offered.filter(label=label).height
        assert found.outlook.images[label] == pytest.approx(expected, rel=0.35), label
    exact = {offer.source: offer.exact for offer in found.outlook.offers}
    assert exact["url_list"]
    assert not exact["openverse"]  # 20 a page
    assert set(found.outlook.offers[1].licences) <= {"cc0", "cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nd",
                                                    "cc-by-nc-sa", "cc-by-nc-nd"}  # fmt: skip
    assert found.outlook.offers[2].licences == {"unknown": sum(found.outlook.offers[2].images.values())}


def test_budgets_become_hours(rehearsal: Rehearsal, tmp_path: Path) -> None:
    budget = {"site": {"hosts": list(rehearsal.allowed_hosts), "bytes": {"hour": 1_000_000}}}
    with serving(rehearsal):
        found = checked(rehearsal, settings(rehearsal, tmp_path, budgets=budget))
    for offer in found.outlook.offers:
        assert offer.hours == pytest.approx(offer.bytes / 1_000_000)
    assert max(offer.hours for offer in found.outlook.offers) > 1


def test_a_missing_key_and_a_small_class_are_to_be_mended(rehearsal: Rehearsal, tmp_path: Path) -> None:
    text = rehearsal.recipe.read_text() + "labels: {min_images: 100000}\n"
    recipe = rehearsal.recipe.with_name("strict.yaml")
    recipe.write_text(text)
    with serving(rehearsal):
        found = look(load_recipe(recipe), recipe, settings(rehearsal, tmp_path, serper_key=None), offline=False)
    assert not found.ready
    told = [error.what for error in found.problems]
    assert any("serper-key" in what for what in told)
    assert any("striped" in what and "Too few" in what for what in told)
    assert not any("Too few" in what and "round" in what for what in told)  # one of its sources is silent yet
    assert "HARVESTMAN_SERPER_KEY" in json.dumps(found.as_json())


def test_offline_asks_nobody(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = asked(rehearsal)
    found = checked(rehearsal, settings(rehearsal, tmp_path), offline=True)
    assert asked(rehearsal) == before
    assert found.ready
    assert [offer.asked for offer in found.outlook.offers] == [False, False, False, False, True]


FISH = """url,kind,licence
https://e.org/1.jpg,bream,CC0
https://e.org/2.jpg,bream,CC0
https://e.org/3.jpg,carp,CC0
https://e.org/4.jpg,roach,CC BY-NC 4.0
https://e.org/5.jpg,,CC0
"""


def fish(folder: Path, more: str) -> Checked:
    (folder / "fish.csv").write_text(FISH)
    recipe = folder / "fish.yaml"
    source = "{source: url_list, path: fish.csv, label: kind}"
    recipe.write_text(f"name: fish\nsources:\n  - {source}\nmodel: {{weights: none}}\n{more}")
    return look(load_recipe(recipe), recipe, Settings(workspace=folder / "workspace"), offline=True)


def test_classes_that_are_all_too_small_keep_a_recipe_from_being_ready(tmp_path: Path) -> None:
    assert fish(tmp_path, "").ready
    (problem,) = fish(tmp_path, "labels: {min_images: 3}\n").problems
    assert problem.what == "No class is large enough; a classifier needs 2."
    assert problem.received == "bream: 2, carp: 1, roach: 1; labels.min_images is 3"
    (one,) = fish(tmp_path, "labels: {min_images: 2}\n").problems
    assert "Only one class" in one.what


def test_refused_licences_are_counted_and_shown(tmp_path: Path) -> None:
    found = fish(tmp_path, "ingest: {licences: [cc0]}\n")
    assert found.outlook.images == {"bream": 2, "carp": 1}
    assert found.as_json()["sources"][0]["notes"] == {"without-label": 1, "licence-refused": 1}
    with Console(width=200, record=True, file=io.StringIO()) as console:
        show(found, console)
    text = console.export_text()
    assert "left out" in text
    assert "1 without-label" in text
    assert "1 licence-refused" in text


def test_a_class_to_drop_or_merge_that_no_source_tells_is_a_slip(tmp_path: Path) -> None:
    found = fish(tmp_path, "labels: {drop: [breem], merge: {cyprinid: [carp, zander]}}\n")
    told = [error.what for error in found.problems]
    assert told == [
        "No source tells the class 'breem' of labels.drop; did you mean 'bream'?",
        "No source tells the class 'zander' of labels.merge.cyprinid.",
    ]
    assert found.problems[0].received == "classes told: bream, carp, roach"
    assert fish(tmp_path, "labels: {drop: [roach], merge: {cyprinid: [carp]}}\n").ready
