"""Openverse: licences in its own codes, pages as far as it shows them to whom it does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tasks.core.errors import SourceError, SourceUnavailableError
from tasks.core.network import BUDGETS, NetworkPolicy
from tasks.discover import openverse
from tasks.discover.config import OpenverseSource
from tasks.discover.found import Ask, Page

Json = dict[str, Any]


def image(number: int, licence: str | None = "by", **more: object) -> Json:
    return {
        "id": f"uuid-{number}",
        "title": "Spider",
        "url": f"https://live.staticflickr.com/{number}.jpg",
        "foreign_landing_url": f"https://www.flickr.com/photos/ann/{number}",
        "creator": "Ann",
        "license": licence,
        "license_version": "2.0",
        "width": 1024,
        "height": 683,
        **more,
    }


class Openverse:
    """Answers as the API does to anonymous requests; remembers what it was asked."""

    def __init__(self, *images: Json) -> None:
        self.images, self.asked = images, list[httpx.QueryParams]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        assert request.url.path == "/v1/images/"
        self.asked.append(asked)
        page, size = int(asked["page"]), int(asked["page_size"])
        if size > 20 or page * size > 240:
            return httpx.Response(401, json={"detail": "pagination depth may not exceed 240"})
        wanted = [found for found in self.images if found["license"] in {*asked["license"].split(","), None, "ruse"}]
        body = {"result_count": len(wanted), "page_count": -(-len(wanted) // size), "page_size": size, "page": page}
        return httpx.Response(200, json=body | {"results": wanted[(page - 1) * size : page * size]})


def asked(handler: Callable[[httpx.Request], httpx.Response], **fields: Any) -> Ask[OpenverseSource]:  # noqa: ANN401 - any field
    source = OpenverseSource.model_validate({"source": "openverse", "query": "spider"} | fields)
    network = NetworkPolicy(user_agent="test", apis={"openverse": "http://127.0.0.1:1/v1"})
    return Ask(source, "spiders", network, transport=httpx.MockTransport(handler))


def pages(handler: Callable[[httpx.Request], httpx.Response], **fields: Any) -> list[Page]:  # noqa: ANN401 - any field
    return list(openverse.pages(asked(handler, **fields)))


def test_a_result_becomes_a_candidate_with_its_licence_and_maker() -> None:
    (page,) = pages(Openverse(image(7, "by-nc-sa")))
    (row,) = page.candidates.drop_nulls("url").to_dicts()
    assert {name: value for name, value in row.items() if value is not None} == {
        "url": "https://live.staticflickr.com/7.jpg",
        "source_id": "uuid-7",
        "licence": "cc-by-nc-sa",
        "creator": "Ann",
        "page_url": "https://www.flickr.com/photos/ann/7",
    }
    assert (page.items, page.total) == (1, 1)


def test_pages_are_asked_to_the_end_and_twelve_at_the_most() -> None:
    few, many = Openverse(*map(image, range(45))), Openverse(*map(image, range(500)))
    assert [page.candidates.height for page in pages(few)] == [20, 20, 5]
    found = pages(many, limit=1000)
    assert sum(page.candidates.height for page in found) == 240
    assert found[0].total == 240
    assert [int(query["page"]) for query in many.asked] == list(range(1, 13))


def test_the_limit_is_one_of_each_query() -> None:
    site = Openverse(*map(image, range(100)))
    found = pages(site, query=("spider", "web"), limit=30)
    assert [page.candidates.height for page in found] == [20, 10, 20, 10]
    assert [query["q"] for query in site.asked] == ["spider", "spider", "web", "web"]


def test_licences_and_collections_are_asked_in_openverses_codes() -> None:
    site = Openverse(image(1, "cc0"))
    pages(site, licences=("cc0", "CC BY-SA 4.0", "public-domain"), providers=("flickr", "wikimedia"))
    assert (site.asked[0]["license"], site.asked[0]["source"]) == ("cc0,pdm,by-sa", "flickr,wikimedia")
    pages(site)
    assert "source" not in site.asked[1]
    assert set(site.asked[1]["license"].split(",")) == {"cc0", "by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd"}


def test_what_is_not_licensed_as_asked_is_left_out_whatever_the_filter_let_through() -> None:
    (page,) = pages(Openverse(image(1), image(2, None), image(3, "ruse"), image(4, url=None)))
    assert page.candidates["source_id"].to_list() == ["uuid-1"]
    assert page.notes == Counter({"rows": 4, "licence-refused": 2, "not-addresses": 1})


@pytest.mark.parametrize(
    ("landing", "group"),
    [
        ("https://www.inaturalist.org/observations/4321", "inaturalist:4321"),
        ("https://www.inaturalist.org/photos/4321", None),
        ("https://www.flickr.com/photos/ann/4321", None),
        (None, None),
    ],
)
def test_a_picture_of_an_observation_belongs_to_it(landing: str | None, group: str | None) -> None:
    (page,) = pages(Openverse(image(1, foreign_landing_url=landing)))
    assert page.candidates["group_id"].to_list() == [group]


def test_a_licence_that_openverse_does_not_have_is_told_before_anything_is_asked() -> None:
    (error,) = openverse.problems(asked(Openverse(), licences=("cc-by", "gfdl")))
    assert "gfdl" in error.what
    assert "cc-by-nc-nd" in error.hint
    assert list(openverse.problems(asked(Openverse()))) == []


def test_errors_say_what_was_received() -> None:
    with pytest.raises(SourceError, match=r"HTTP 400.*not a valid source") as refused:
        pages(lambda _: httpx.Response(400, json={"detail": "x is not a valid source"}))
    assert "providers:" in refused.value.hint
    with pytest.raises(SourceUnavailableError, match="Retry-After 600 s"):
        pages(lambda _: httpx.Response(429, headers={"Retry-After": "600"}))
    with pytest.raises(SourceError, match="another shape"):
        pages(lambda _: httpx.Response(200, json={"images": []}))


def test_the_budget_stays_below_what_openverse_allows_to_anonymous_requests() -> None:
    requests = BUDGETS["openverse"].requests
    assert (requests.minute or 21) <= 20
    assert (requests.day or 201) <= 200
