"""Each page of docs/sources holds one recipe, and it works: rehearsed and gathered, every class gets candidates."""

from __future__ import annotations

import re
import socket
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from flows.recipe import load_recipe
from tasks.core.files import write_json
from tasks.core.network import NetworkPolicy
from tasks.discover.found import Ask
from tasks.discover.gather import gather
from tasks.discover.keys import NEEDED
from tasks.discover.sources import SOURCES
from tasks.rehearse.plan import PORT
from tasks.rehearse.stage import rehearse, serving

DOCS = Path(__file__).resolve().parents[2] / "docs" / "sources"
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KEYS = {name: SecretStr("a key") for names in NEEDED.values() for name in names}


def recipe_of(source: str, folder: Path) -> Path:
    page = DOCS / f"{source}.md"
    assert page.is_file(), f"{source} has no page docs/sources/{source}.md"
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert len(blocks) == 1, f"{page.name} must hold exactly one ```yaml block, it has {len(blocks)}"
    path = folder / f"{source}.yaml"
    path.write_text(blocks[0], encoding="utf-8")
    return path


@pytest.mark.parametrize("source", SOURCES)
def test_the_recipe_of_a_page_finds_pictures_for_every_class(source: str, tmp_path: Path) -> None:
    path = recipe_of(source, tmp_path)
    assert any(asked.source == source for _, asked in load_recipe(path).asked), "the page's recipe has another source"
    site = tmp_path / "site"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        write_json(site / PORT, {"port": probe.getsockname()[1]})
    rehearsal = rehearse(path, site, photos=None, observations=None, per_class=8, seed=2)
    recipe = load_recipe(rehearsal.recipe)
    network = NetworkPolicy(user_agent="harvestman-test", allowed_hosts=rehearsal.allowed_hosts, apis=rehearsal.apis)
    found = Counter[str]()
    with serving(rehearsal):
        for place, (label, asked) in enumerate(recipe.asked):
            shard = tmp_path / f"{place}.parquet"
            ask = Ask(asked, label, network, recipe.labels, KEYS)
            gathered = gather(ask, SOURCES[asked.source], shard, now=datetime(2026, 5, 1, tzinfo=UTC))
            assert gathered.notes["candidates"] > 0, f"{asked.source} of {label or 'all classes'}: {gathered.notes}"
            found.update(pl.read_parquet(shard)["label"])
    assert set(recipe.classes) <= set(found)
    assert len(found) >= 2


def test_every_page_is_of_a_source() -> None:
    assert {page.stem for page in DOCS.glob("*.md")} - {"README"} == set(SOURCES)
