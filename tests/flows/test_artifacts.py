"""What a collection leaves on its Prefect page, read back from a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from flows.artifacts import HOSTS
from tasks.core.tables import CANDIDATES, LEDGER, conform, write_table
from tasks.core.workspace import Workspace

if TYPE_CHECKING:
    from tests.flows.conftest import RunningStack

RECIPE = """
name: {name}
classes: {{wren: [{{source: url_list, path: a.txt}}], rook: [{{source: url_list, path: a.txt}}]}}
"""
# In a process of its own: Prefect leaves sockets of its clients to the garbage collector.
LEAVE = """
import sys
from prefect import flow
from flows.artifacts import hosts_artifact
from flows.context import open_context

@flow
def collection() -> None:
    for path in sys.argv[1:]:
        hosts_artifact(open_context(path))

collection()
"""


@pytest.fixture
def recipes(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "Many_hosts.yaml", tmp_path / "nothing.yaml"]
    for path in paths:
        path.write_text(RECIPE.format(name=path.stem))
    return paths


def collected(collection: Path, rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame([{"label": "wren", "fetched_at": datetime(2026, 3, 1, tzinfo=UTC), **row} for row in rows])
    asked = frame.drop_nulls("outcome")
    write_table(conform(frame, CANDIDATES), collection / "candidates" / "a.parquet")
    write_table(conform(asked, LEDGER), collection / "ledger" / "a.parquet")


def test_the_hosts_with_most_addresses_are_a_table_on_the_page(
    recipes: list[Path], running_stack: RunningStack, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = [{"url": f"http://host{n}.org/a", "outcome": None} for n in range(HOSTS)]
    told = {"seconds": 0.5, "received": 2_500_000}
    rows += [{"url": f"http://big.org/{n}", "outcome": ("kept", "damaged")[n % 2], **told} for n in range(4)]
    collected(Workspace(tmp_path / "workspace").collection("Many_hosts"), rows)
    environment = os.environ | {
        "HARVESTMAN_WORKSPACE": str(tmp_path / "workspace"),
        "PREFECT_API_URL": running_stack.stack.prefect_api_url,
    }
    subprocess.run([sys.executable, "-c", LEAVE, *map(str, recipes)], env=environment, check=True, timeout=120)
    left = running_stack.api.get("/artifacts/hosts-many-hosts/latest").raise_for_status().json()
    table = json.loads(left["data"])
    assert len(table) == HOSTS
    assert table[0] == {
        "host": "big.org", "addresses": 4, "kept": 2, "refused": 2, "refusal": "damaged", "median seconds": 0.5,
        "MB received": 10.0,
    }  # fmt: skip
    assert f"{HOSTS} of {HOSTS + 1}" in left["description"]
    empty = running_stack.api.get("/artifacts/hosts-nothing/latest").raise_for_status().json()
    assert json.loads(empty["data"]) == []
