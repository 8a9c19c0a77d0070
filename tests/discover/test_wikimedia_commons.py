"""Wikimedia Commons: searches and categories, licences as file pages tell them, answers that ask for patience."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from tasks.core.errors import SourceError, SourceUnavailableError
from tasks.core.network import NetworkPolicy
from tasks.discover import wikimedia_commons
from tasks.discover.config import WikimediaCommonsSource
from tasks.discover.found import Ask, Page
from tasks.discover.wikimedia_commons import plain_text

Json = dict[str, Any]
Handler = Callable[[httpx.Request], httpx.Response]
FREE = {"License": "cc-by-sa-4.0", "LicenseShortName": "CC BY-SA 4.0"}


def info(number: int, told: Json | None = None, **changes: object) -> Json:
    return {
        "url": f"https://upload.wikimedia.org/{number}.jpg",
        "descriptionurl": f"https://commons.wikimedia.org/wiki/File:{number}.jpg",
        "thumburl": f"https://upload.wikimedia.org/thumb/{number}.jpg/960px-{number}.jpg",
        "thumbwidth": 960,
        "width": 4000,
        "height": 3000,
        "mime": "image/jpeg",
        "extmetadata": {name: {"value": value, "source": "commons"} for name, value in (told or FREE).items()},
    } | changes


def file(number: int, told: Json | None = None, **changes: object) -> Json:
    return {"pageid": number, "ns": 6, "title": f"File:{number}.jpg", "imageinfo": [info(number, told, **changes)]}


class Commons:
    """A small MediaWiki: answers each search and each category with its files; remembers what it was asked."""

    def __init__(self, **files: list[Json]) -> None:
        self.files, self.asked = files, list[httpx.QueryParams]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        self.asked.append(asked)
        found = self.files[asked.get("gsrsearch") or asked["gcmtitle"].removeprefix("Category:")]
        start, name = int(asked.get("offset", 0)), "offset"
        body: Json = {"query": {"pages": found[start : start + 50]}} if found else {"batchcomplete": True}
        if start + 50 < len(found):
            body["continue"] = {name: start + 50, "continue": "||"}
        return httpx.Response(200, json=body)


def pages(handler: Handler, **fields: Any) -> list[Page]:  # noqa: ANN401 - any field of the source
    source = WikimediaCommonsSource.model_validate({"source": "wikimedia_commons"} | (fields or {"query": "spider"}))
    network = NetworkPolicy(user_agent="test", apis={"wikimedia_commons": "http://127.0.0.1:1/w/api.php"})
    ask = Ask(source, "spiders", network, transport=httpx.MockTransport(handler))
    assert list(wikimedia_commons.problems(ask)) == []
    return list(wikimedia_commons.pages(ask))


def only(told: Json | None = None, **changes: object) -> Json:
    """Return the candidate of the one file."""
    (page,) = pages(Commons(spider=[file(5, told, **changes)]))
    (row,) = page.candidates.to_dicts()
    return row


def test_a_file_becomes_a_candidate() -> None:
    told = {"Artist": '<a href="//x.org/Ann" title="Ann">Ann B.</a>', "GPSLatitude": 38.5, "GPSLongitude": "-9.25"}
    assert {name: value for name, value in only(FREE | told).items() if value is not None} == {
        "url": "https://upload.wikimedia.org/thumb/5.jpg/960px-5.jpg",
        "source_id": "5",
        "licence": "cc-by-sa",
        "creator": "Ann B.",
        "page_url": "https://commons.wikimedia.org/wiki/File:5.jpg",
        "latitude": 38.5,
        "longitude": -9.25,
    }


def test_only_what_is_wider_than_asked_is_fetched_scaled_down() -> None:
    site = Commons(spider=[file(1, width=1281), file(2, width=1280), file(3, thumburl=None)])
    (page,) = pages(site, query="spider", width=1280)
    assert [url.rsplit("/", 1)[1] for url in page.candidates["url"]] == ["960px-1.jpg", "2.jpg", "3.jpg"]
    assert site.asked[0]["iiurlwidth"] == "1280"


def test_widths_that_commons_does_not_make_are_refused_in_the_recipe() -> None:
    with pytest.raises(ValidationError, match="250, 330, 500, 960, 1280, 1920 or 3840"):
        WikimediaCommonsSource.model_validate({"source": "wikimedia_commons", "query": "x", "width": 1024})


def test_queries_and_categories_are_asked_each_to_its_end() -> None:
    site = Commons(spider=[file(number) for number in range(70)], Araneae=[file(number) for number in range(100, 103)])
    found = pages(site, query="spider", category=("Category:Araneae", "Araneae"))
    assert [page.candidates.height for page in found] == [50, 20, 3, 3]
    search, _, category, _ = site.asked
    assert (search["generator"], search["gsrnamespace"], search["formatversion"]) == ("search", "6", "2")
    assert (category["generator"], category["gcmtitle"], category["gcmtype"]) == (
        "categorymembers", "Category:Araneae", "file",
    )  # fmt: skip
    assert [query.get("continue") for query in site.asked] == [None, "||", None, None]
    assert all(query["maxlag"] == "5" for query in site.asked)


def test_results_of_a_search_keep_its_order() -> None:
    files = [file(number) | {"index": place} for place, number in ((2, 10), (1, 30), (3, 20))]
    (page,) = pages(Commons(spider=files))
    assert page.candidates["source_id"].to_list() == ["30", "10", "20"]


@pytest.mark.parametrize(
    ("told", "licence"),
    [
        ({"License": "cc0", "LicenseShortName": "CC0"}, "cc0"),
        ({"License": "pd", "LicenseShortName": "Public domain"}, "public-domain"),
        ({"LicenseShortName": "CC BY 2.0 de"}, "cc-by"),
        ({"UsageTerms": "Creative Commons Attribution-Share Alike 3.0"}, "cc-by-sa"),
        ({"LicenseUrl": "https://creativecommons.org/publicdomain/mark/1.0/"}, "public-domain"),
        ({"LicenseShortName": "No restrictions", "UsageTerms": "No known copyright restrictions"}, "public-domain"),
    ],
)
def test_the_licence_is_read_wherever_the_page_tells_it(told: Json, licence: str) -> None:
    assert only(told)["licence"] == licence


@pytest.mark.parametrize(
    "told", [{"LicenseShortName": "GFDL"}, {"LicenseShortName": "Attribution"}, {"UsageTerms": "Free Art License"}]
)
def test_a_licence_we_have_no_name_for_is_not_taken_for_another(told: Json) -> None:
    (page,) = pages(Commons(spider=[file(1, told), file(2)]))
    assert page.candidates["source_id"].to_list() == ["2"]
    assert page.notes == Counter({"rows": 2, "licence-refused": 1})


def test_what_is_no_picture_of_pixels_is_left_out_and_counted() -> None:
    other = ("image/svg+xml", "application/pdf", "video/webm", "image/vnd.djvu")
    files = [file(1), *(file(number, mime=mime) for number, mime in enumerate(other, 2)), file(9, url=None)]
    (page,) = pages(Commons(spider=[*files, {"pageid": 10, "missing": True}]))
    assert page.candidates["source_id"].to_list() == ["1"]
    assert page.notes == Counter({"rows": 6, "not-an-image": 4, "hidden": 1})


def test_files_that_an_answer_leaves_to_the_next_are_taken_from_there() -> None:
    bare = [{"pageid": number, "ns": 6} for number in (1, 2)]
    answers = [
        {"query": {"pages": [file(1), bare[1]]}, "continue": {"iistart": "2", "continue": "||"}},
        {"query": {"pages": [bare[0], file(2)]}},
    ]
    found = pages(lambda _: httpx.Response(200, json=answers.pop(0)))
    assert [page.candidates["source_id"].to_list() for page in found] == [["1"], ["2"]]
    assert sum((page.notes for page in found), Counter()) == Counter(rows=2)


def test_metadata_may_be_an_empty_list_and_coordinates_nonsense() -> None:
    (page,) = pages(Commons(spider=[file(1, extmetadata=[])]))
    assert page.notes == Counter({"rows": 1, "licence-refused": 1})
    row = only(FREE | {"GPSLatitude": "38.5", "GPSLongitude": "west"})
    assert (row["latitude"], row["longitude"]) == (None, None)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Ann", "Ann"),
        ('<span class="fn"><a href="/x">Ann</a>\n <b>B.</b></span>', "Ann B."),
        ('Ann &amp; Bob<br/>Lisbon<img src="x">', "Ann & Bob Lisbon"),
        ('<p>Unknown<span style="display: none;">Unknown <br>author</span></p> maker', "Unknown maker"),
        ("", ""),
    ],
)
def test_html_becomes_the_text_one_sees(html: str, text: str) -> None:
    assert plain_text(html) == text


@pytest.mark.parametrize("wrap", [lambda error: {"error": error}, lambda error: {"errors": [error]}])
def test_a_lagging_site_is_waited_for_and_a_wrong_query_is_not(wrap: Callable[[Json], Json]) -> None:
    lagging = {"code": "maxlag", "info": "Waiting for db1: 0.01 seconds lagged.", "lag": 0.01}
    answers = [wrap(lagging), wrap(lagging), {"query": {"pages": [file(1)]}}]
    (page,) = pages(lambda _: httpx.Response(200, json=answers.pop(0)))
    assert page.candidates.height == 1
    asked: list[httpx.Request] = []

    def busy(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=wrap(lagging))

    with pytest.raises(SourceUnavailableError, match="db1"):
        pages(busy)
    assert len(asked) == 5
    wrong = {"code": "cirrussearch-too-deep", "text": "Too deep."}
    with pytest.raises(SourceError, match="cirrussearch-too-deep: Too deep"):
        pages(lambda _: httpx.Response(200, json=wrap(wrong)))


def test_a_category_without_a_file_is_an_error_and_one_whose_files_are_not_taken_is_none() -> None:
    with pytest.raises(SourceError, match="no files in Category:Typo") as caught:
        pages(Commons(Typo=[]), category="Typo")
    assert "sub-categories" in caught.value.hint
    (page,) = pages(Commons(Drawings=[file(1, mime="image/svg+xml")]), category="Drawings")
    assert page.notes == Counter({"rows": 1, "not-an-image": 1})


def test_nothing_found_is_no_error_and_another_shape_is() -> None:
    (page,) = pages(Commons(spider=[]))
    assert page.candidates.is_empty()
    with pytest.raises(SourceError, match="another shape"):
        pages(lambda _: httpx.Response(200, json={"query": {"pages": {"1": {}}}}))
    with pytest.raises(SourceError, match="another shape"):
        pages(lambda _: httpx.Response(200, json=["spider", []]))


@pytest.mark.parametrize("body", [{}, {"status": "ok"}, {"warnings": {}}])
def test_an_answer_that_says_nothing_of_a_query_is_no_empty_result(body: Json) -> None:
    with pytest.raises(SourceError, match="another shape") as caught:
        pages(lambda _: httpx.Response(200, json=body))
    assert "none of query, batchcomplete, continue" in str(caught.value.received)
