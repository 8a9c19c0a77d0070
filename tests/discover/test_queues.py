from __future__ import annotations

from typing import Any

from tasks.core.network import Budget, NetworkPolicy
from tasks.discover.config import AnySource, FolderSource, GbifSource
from tasks.discover.found import Ask
from tasks.discover.queues import FILES, MOST, queues
from tasks.discover.searches import GoogleSource, OpenverseSource

GBIF, OPENVERSE = GbifSource(source="gbif", taxon="A"), OpenverseSource(source="openverse", query="a")
GOOGLE = {name: GoogleSource(source="google", query="a", provider=name) for name in ("serper", "serpapi")}
FOLDER = FolderSource(source="folder", path="pictures")


def asks(*sources: AnySource, **budgets: Budget) -> list[Ask[Any]]:
    policy = NetworkPolicy(user_agent="t", budgets=budgets)
    return [Ask(source, "bear", policy) for source in sources]


def test_each_api_is_asked_one_class_at_a_time_and_files_come_first() -> None:
    many = asks(*[OPENVERSE] * 8, GBIF, GOOGLE["serper"], GOOGLE["serpapi"], FOLDER, OPENVERSE)
    assert queues(many) == [[11], [0, 1, 2, 3, 4, 5, 6, 7, 12], [8], [9], [10]]


def test_files_are_spread_over_a_few_queues_and_none_is_lost() -> None:
    found = queues(asks(*[FOLDER] * 10, GBIF))
    assert len(found) == FILES + 1 <= MOST
    assert sorted(place for queue in found for place in queue) == list(range(11))


def test_apis_that_share_a_budget_share_a_queue() -> None:
    shared = Budget(hosts=("api.gbif.org", "API.openverse.org."))
    assert queues(asks(GBIF, OPENVERSE, FOLDER, shared=shared)) == [[2], [0, 1]]
