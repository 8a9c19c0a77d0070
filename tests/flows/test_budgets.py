"""Two processes collect into one workspace at once: together they stay within the budget of the site they ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.core.tables import read_ledger
from tasks.rehearse.stage import Rehearsal, rehearse, serving

A_SECOND = 10
RECIPE = """
name: shared
classes:
  round: [{source: inaturalist, taxon: Coccinella septempunctata, photos: all}, {source: url_list, path: urls/a.txt}]
  striped: [{source: inaturalist, taxon: Araneus diadematus, photos: all}, {source: url_list, path: urls/b.txt}]
ingest: {timeout: 1, attempts: 2, max_wait: 1}
"""
COLLECT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from flows.context import open_context
from tasks.discover.gather import gather, shard_path, utc_now
from tasks.discover.sources import SOURCES
from tasks.ingest.batch import run_batch
from tasks.ingest.plan import plan

context = open_context(sys.argv[1])
for ask in context.asks():
    gather(ask, SOURCES[ask.source.source], shard_path(context.collection, ask), now=utc_now())
for batch in plan(context.collection, context.recipe.ingest, now=datetime.now(UTC)).batches:
    run_batch(batch, workspace=context.workspace, config=context.recipe.ingest, network=context.settings.network)
"""


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    recipe = tmp_path / "shared.yaml"
    recipe.write_text(RECIPE)
    return rehearse(recipe, tmp_path / "site", photos=None, observations=None, per_class=14, seed=5)


def second_recipe(rehearsal: Rehearsal) -> Path:
    path = rehearsal.recipe.with_name("second.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(rehearsal.recipe.read_text()) | {"name": "second"}))
    return path


def requests(rehearsal: Rehearsal) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (rehearsal.site / "requests.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] != "health"]


def most_in_a_second(times: list[datetime]) -> int:
    times = sorted(times)
    return max(sum(0 <= (later - first).total_seconds() < 1 for later in times) for first in times)


def test_two_processes_stay_within_one_budget_for_questions_and_photos_together(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    budget = {"site": {"hosts": list(rehearsal.allowed_hosts), "requests": {"second": A_SECOND}}}
    environment = os.environ | {
        "HARVESTMAN_WORKSPACE": str(tmp_path / "workspace"),
        "HARVESTMAN_ALLOWED_HOSTS": json.dumps(rehearsal.allowed_hosts),
        "HARVESTMAN_APIS": json.dumps(rehearsal.apis),
        "HARVESTMAN_BUDGETS": json.dumps(budget),
    }
    recipes = [rehearsal.recipe, second_recipe(rehearsal)]
    with serving(rehearsal):
        processes = [
            subprocess.Popen([sys.executable, "-c", COLLECT, str(recipe)], env=environment) for recipe in recipes
        ]
        assert [process.wait(180) for process in processes] == [0, 0]

    times = [datetime.fromisoformat(row["time"]) for row in requests(rehearsal)]
    kept = [
        read_ledger(tmp_path / "workspace" / "collections" / name).filter(outcome="kept").height
        for name in ("shared-rehearsal", "second")
    ]
    assert kept[0] == kept[1] == rehearsal.expected["kept"]
    assert len(times) > 6 * A_SECOND  # enough of them to have gone over it
    assert A_SECOND // 2 < most_in_a_second(times) <= A_SECOND  # used, and kept
