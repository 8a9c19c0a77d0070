from __future__ import annotations

from pathlib import Path

import pytest

from flows.recipe import load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.mark.parametrize("name", ["demo", "fish", "spiders"])
def test_a_recipe_of_ours_loads_and_says_how_to_run_and_rehearse_it(name: str) -> None:
    path = RECIPES / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    recipe = load_recipe(path)
    assert recipe.name == name
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    assert f"harvestman run recipes/{name}.yaml" in text
    assert f"harvestman rehearse recipes/{name}.yaml" in text
    for sources in recipe.classes.values():
        for source in sources:
            if source.source == "url_list":
                assert source.files[0].read_text(encoding="utf-8").startswith("https://example.org/")
