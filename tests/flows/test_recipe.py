from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.recipe import Recipe, load_recipe, parse_recipe
from tasks.core.errors import RecipeError

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = """
name: two
classes:
  a: [{source: url_list, path: urls/a.txt}]
  b: [{source: inaturalist, taxon: Araneus diadematus}]
"""


def parsed(text: str) -> Recipe:
    return parse_recipe(yaml.safe_load(text), Path("/r/recipe.yaml"))


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_of_the_house_is_valid(path: Path) -> None:
    assert load_recipe(path).name == path.stem
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


def test_every_field_of_the_schema_is_described() -> None:
    def undescribed(model: object, path: str) -> list[str]:
        fields = getattr(model, "model_fields", {})
        found = [f"{path}.{name}" for name, field in fields.items() if not field.description and name != "source"]
        for name, field in fields.items():
            found += undescribed(field.annotation, f"{path}.{name}")
        return found

    assert undescribed(Recipe, "recipe") == []


def test_relative_paths_start_at_the_recipe() -> None:
    recipe = parsed(MINIMAL + "model: {weights: w.h5}")
    assert str(recipe.classes["a"][0].path) == "/r/urls/a.txt"  # type: ignore[union-attr]
    assert recipe.model.weights == "/r/w.h5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "trian: {}", "trian: unknown field; did you mean train?"),
        (MINIMAL + "model: {hed: {}}", "model.hed: unknown field; did you mean head?"),
        (MINIMAL + "model: {backbone: xceptoin}", "no backbone of this name; nearest: xception (received 'xceptoin')"),
        (MINIMAL + "model: {backbone: xception, image_size: 64}", "needs an image_size of at least 71, here it is 64"),
        (
            MINIMAL + "train: {early_stopping: {monitr: x}}",
            "early_stopping.monitr: unknown field; did you mean monitor?",
        ),
        (MINIMAL + "split: {train: 0.9}", "train + val + test must be 1, here they are 1.2"),
        (MINIMAL + "ingest: {rate: .inf}", "ingest.rate: Input should be a finite number"),
        (MINIMAL + "train: {learning_rate: .nan}", "train.learning_rate: Input should be a finite number"),
        (MINIMAL + "tune: {space: {model.head.l2: {min: 0, max: .inf}}}", "Input should be a finite number"),
        (MINIMAL + "train: {epochs: many}", "train.epochs: Input should be a valid integer"),
        (MINIMAL + "tune: {space: {model.head.dropot: {min: 0, max: 0.5}}}", "model.head.dropot is not a field"),
        (MINIMAL + "tune: {space: {model.head.dropout: {min: 0, max: 5}}}", "model.head.dropout cannot be 5"),
        (MINIMAL + "tune: {space: {ingest.min_side: {min: 1, max: 5}}}", "ingest.min_side cannot be tuned"),
        (MINIMAL + "train: {early_stopping: {monitor: val_f1}}", "Input should be 'val_loss'"),
        (MINIMAL + "model: {head: {activation: rleu}}", "Input should be 'relu'"),
        (MINIMAL + "tune: {space: {train.learning_rate: {choice: [1e-3, 0.01]}}}", "'1e-3' is str, 0.01 is float"),
        (MINIMAL.replace("taxon:", "taxn:"), "inaturalist.taxn: unknown field; did you mean taxon?"),
        (MINIMAL.replace("inaturalist", "inaturlist"), "did you mean inaturalist?"),
        ("name: x\nclasses: {a: [{source: url_list, path: u}]}", "at least 2 classes, here there are 1: a"),
        ("name: x\nclasses: {a: [], b: []}", "class 'a' has no source"),
        ("name: x\nclasses: {a/b: [{source: url_list, path: u}], c: [{source: url_list, path: u}]}", "'a/b' cannot be"),
        ("name: x\nclasses: {a: [{source: url_list, path: u}], A: [{source: url_list, path: u}]}", "only in upper and"),
        ("classes: {}", "name: missing"),
        ("[1, 2]", "is not a recipe"),
    ],
)
def test_a_wrong_recipe_names_file_field_value_and_the_right_name(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parsed(text)
    assert "/r/recipe.yaml" in caught.value.what
    assert message in str(caught.value)


def test_every_wrong_field_is_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        parsed(MINIMAL + "trian: {}\nmodel: {hed: 1}\nsplit: {seed: x}")
    assert "3 fields are wrong" in caught.value.what


def test_a_missing_file_offers_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "spiders.yaml").write_text(MINIMAL)
    with pytest.raises(RecipeError, match=r"Did you mean .*spiders\.yaml"):
        load_recipe(tmp_path / "spider.yaml")


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: [x\nclasses: {")
    with pytest.raises(RecipeError, match="line 2"):
        load_recipe(tmp_path / "r.yaml")


def test_overrides_are_validated_like_the_recipe() -> None:
    learn = parsed(MINIMAL).learn
    assert learn.override({"model.head.dense": [64], "train.learning_rate": 0.1}).model.head.dense == (64,)
    assert learn.model.head.dense == ()
    with pytest.raises(KeyError):
        learn.override({"model.head.nothing": 1})
