from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks.core.errors import TryAgainError
from tasks.core.network import Budget, NetworkPolicy, Requests
from tasks.discover.config import AnySource, GbifSource, LabelsConfig, UrlListSource
from tasks.discover.forecast import Forecast, Offer, forecast
from tasks.discover.found import Ask
from tasks.discover.searches import OpenverseSource

Handler = Callable[[httpx.Request], httpx.Response]
HOUR = {"mine": Budget(hosts=("api.openverse.org",), requests=Requests(hour=1))}
GBIF = GbifSource(source="gbif", taxon="A", label="family", limit=100)


def openverse(_: httpx.Request) -> httpx.Response:
    hits = [{"id": str(n), "url": f"https://e.org/{n}.jpg", "license": "by"} for n in range(20)]
    return httpx.Response(200, json={"result_count": 40, "page_count": 2, "results": hits})


def gbif(request: httpx.Request) -> httpx.Response:
    if "match" in request.url.path:
        return httpx.Response(200, json={"matchType": "EXACT", "usageKey": 1, "canonicalName": "A"})
    start, number = int(request.url.params.get("offset", 0)), int(request.url.params["limit"])
    results = [
        {
            "key": place,
            "family": f"F{place % 3}",
            "media": [{"type": "StillImage", "identifier": f"https://e.org/{place}.jpg", "license": "CC0"}],
        }
        for place in range(start, start + number)
    ]
    return httpx.Response(200, json={"count": 60_000, "endOfRecords": False, "results": results})


def ask(source: AnySource, handler: Handler, network: NetworkPolicy, label: str | None = "bear") -> Ask[Any]:
    return Ask(source, label, network, transport=httpx.MockTransport(handler))


def test_a_used_up_budget_is_told_at_once_and_keeps_no_file_waiting(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("https://e.org/1.jpg\n")
    network = NetworkPolicy(user_agent="t", budgets=HOUR, spent=tmp_path / "spent.db")
    source = OpenverseSource(source="openverse", query="bear")
    asks = [*(ask(source, openverse, network) for _ in range(10)),
            ask(UrlListSource(source="url_list", path=tmp_path / "a.txt"), openverse, network)]  # fmt: skip
    began = time.monotonic()
    found = forecast(asks, labels=LabelsConfig())
    assert time.monotonic() - began < 10
    assert found.offers[0].images == {"bear": 40}
    for offer in found.offers[1:10]:
        (problem,) = offer.problems
        assert isinstance(problem, TryAgainError)
        assert "mine is used up" in problem.what
        assert "goes on at" in problem.received
    assert found.offers[10].images == {"bear": 1}


def test_the_limit_of_a_source_of_several_classes_is_one_of_each_class() -> None:
    network = NetworkPolicy(user_agent="t", budgets={"gbif": Budget(hosts=("api.gbif.org",))})
    (offer,) = forecast([ask(GBIF, gbif, network, None)], labels=LabelsConfig()).offers
    assert offer.images == {"F0": 100, "F1": 100, "F2": 100}
    assert offer.licences == {"cc0": 300}
    assert offer.bytes == 300 * 80_000  # of a medium photo


def test_hours_add_up_within_a_budget_and_not_over_several() -> None:
    offers = (
        Offer("a", asking={"x": 2.0}, fetching={"photos": 1.0}),
        Offer("b", asking={"x": 3.0}, fetching={"photos": 0.5, "museum": 4.0}),
        Offer("c", asking={"y": 4.0}),
    )
    whole = Forecast(offers, {}, (), {})
    assert [offer.hours for offer in offers] == [3.0, 7.0, 4.0]
    assert whole.hours == pytest.approx(5.0 + 4.0)


TABLE = """url,kind,licence
https://e.org/1.jpg,bream,CC0
https://e.org/2.jpg,bream,CC BY-NC 4.0
https://e.org/3.jpg,bream,
https://e.org/4.jpg,breme,CC0
https://e.org/5.jpg,carp,CC BY-NC 4.0
https://e.org/6.jpg,,CC0
"""


def table(folder: Path, label: str | None = None) -> Ask[Any]:
    (folder / "fish.csv").write_text(TABLE)
    named = {} if label else {"label": "kind"}
    source = UrlListSource.model_validate({"source": "url_list", "path": folder / "fish.csv", **named})
    return ask(source, openverse, NetworkPolicy(user_agent="t"), label)


def test_photos_whose_licence_the_recipe_refuses_are_counted_apart(tmp_path: Path) -> None:
    (every,) = forecast([table(tmp_path)], labels=LabelsConfig()).offers
    assert every.images == {"bream": 3, "breme": 1, "carp": 1}
    found = forecast([table(tmp_path)], labels=LabelsConfig(), licences=["CC0", "cc-by"])
    (offer,) = found.offers
    assert offer.images == {"bream": 1, "breme": 1, "carp": 0}  # one that states no licence is refused too
    assert offer.licences == {"cc0": 2}
    assert offer.notes == {"licence-refused": 3, "without-label": 1}
    assert offer.bytes == every.bytes * 2 / 5
    assert found.left_out == {"carp": 0}
    small = forecast([table(tmp_path, "fish")], labels=LabelsConfig(min_images=4), licences=["cc0"])
    assert small.small == ("fish",)


def test_what_is_reckoned_is_reckoned_of_refused_photos_too() -> None:
    network = NetworkPolicy(user_agent="t")
    (offer,) = forecast(
        [ask(OpenverseSource(source="openverse", query="bear"), openverse, network)],
        labels=LabelsConfig(),
        licences=["cc0"],
    ).offers
    assert offer.images == {"bear": 0}
    assert offer.notes == {"licence-refused": 40}


def test_the_classes_told_are_those_before_any_is_merged(tmp_path: Path) -> None:
    labels = LabelsConfig(merge={"fish": ("bream", "carp")}, drop=("breme",))
    (offer,) = forecast([replace(table(tmp_path), labels=labels)], labels=labels).offers
    assert offer.told == ("bream", "breme", "carp")
    assert offer.images == {"fish": 4}
    assert offer.notes == {"label-dropped": 1, "without-label": 1}


def test_what_is_no_address_is_counted_apart_and_breaks_nothing(tmp_path: Path) -> None:
    bad = ["http://127.0.0.1:99999/x.jpg", "http://e.org:0/x.jpg", "http://[::1/x.jpg", "ftp://e.org/x.jpg",
           "file://e.org/x.jpg", "http://xn--zzzz.org/x.jpg"]  # fmt: skip
    odd = ["http://me[@e.org/x.jpg", "HTTP://E.ORG:8080/x.jpg"]  # the first is one that urllib does not read
    (tmp_path / "a.txt").write_text("\n".join(["https://e.org/1.jpg", *odd, *bad]))
    source = UrlListSource(source="url_list", path=tmp_path / "a.txt")
    (offer,) = forecast([ask(source, openverse, NetworkPolicy(user_agent="t"))], labels=LabelsConfig()).offers
    assert offer.images == {"bear": 3}
    assert offer.notes == {"invalid-address": len(bad)}
    assert offer.bytes == 3 * 250_000
    assert not offer.problems
    refused = forecast([ask(source, openverse, NetworkPolicy(user_agent="t"))], labels=LabelsConfig(), licences=["cc0"])
    assert refused.offers[0].notes["licence-refused"] == 3 + len(bad)
    assert "invalid-address" not in refused.offers[0].notes
