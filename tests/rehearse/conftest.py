"""One painted, stocked and running photo site for all tests of this folder."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tasks.core.files import write_json
from tasks.rehearse.plan import PORT, Address, Plan, load
from tasks.rehearse.stage import Rehearsal, rehearse, serving

RECIPE = """
name: insects
classes:
  moths:
    - {source: inaturalist, taxon: Attacus atlas, photos: all, licences: [cc0, cc-by],
       quality_grade: [research, needs_id]}
    - {source: url_list, path: moths.txt}
  beetles:
    - {source: inaturalist, taxon: [47208, Lucanus cervus], place_id: 7}
    - {source: url_list, path: beetles.txt}
  bees:
    - {source: url_list, path: bees.txt}
ingest: {timeout: 2, attempts: 3, max_wait: 5}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def set_up(folder: Path, *, per_class: int, recipe: str = RECIPE) -> Rehearsal:
    """A rehearsal at a port of its own: test runs side by side must not meet."""
    site = folder / "site"
    if not (site / PORT).exists():
        write_json(site / PORT, {"port": free_port()})
    path = folder / "insects.yaml"
    path.write_text(recipe, encoding="utf-8")
    return rehearse(path, site, photos=None, observations=None, per_class=per_class, seed=3)


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    return set_up(tmp_path_factory.mktemp("rehearsal"), per_class=120)


@pytest.fixture(scope="session")
def plan(rehearsal: Rehearsal) -> Plan:
    return load(rehearsal.site)


@pytest.fixture(scope="session")
def client(rehearsal: Rehearsal) -> Iterator[httpx.Client]:
    with serving(rehearsal), httpx.Client(base_url=rehearsal.base_url, timeout=3, trust_env=False) as client:
        yield client


def opened(path: Path) -> Image.Image:
    """The picture with its file closed: a warning about an open one would fail some other test."""
    with Image.open(path) as image:
        image.load()
        return image


def of_kind(plan: Plan, kind: str) -> list[Address]:
    found = [address for address in plan.addresses if address.kind == kind]
    assert found, f"the plan has no address of the kind {kind}"
    return found
