"""Shapes, pages, windows and refusals of the APIs that a photo site speaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.rehearse import commons, gbif, google, inaturalist, openverse
from tasks.rehearse.plan import Address, Hit, Observation, Photo, Place, Plan, Taxon
from tasks.rehearse.speaking import Json, QueryError, Question

HIGH = Taxon(id=1, name="Araneae", rank="order")
LOW = Taxon(id=2, name="Salticidae", rank="family", above=(HIGH,))
LICENCES = ("cc-by", "cc0", None)
SERVICES = ("custom_search", "serpapi", "serper", "openverse", "wikimedia_commons")


def seen(number: int, service: str) -> Observation:
    return Observation(
        id=number,
        taxon_id=2 if number % 3 else 1,
        quality_grade="research",
        user="gwr",
        service=service,
        observed_on=f"20{10 + number % 10}-03-05",
        country="PT" if number % 2 else "ES",
        basis="HUMAN_OBSERVATION",
        place_id=7,
        latitude=40.0 + number % 5,
        longitude=-8.0,
        photos=(Photo(id=number, licence=LICENCES[number % 3], extension="jpg", width=300, height=200),),
    )


def hit(service: str, number: int) -> Hit:
    path = f"/wikipedia/commons/a/ab/Photo_{number}.jpg" if service == "wikimedia_commons" else f"/media/{number}.jpg"
    return Hit(
        service=service,
        query="Jumping spider" if number % 2 else "Category:Salticidae",
        path="" if number == 401 else path,
        licence=("cc-by", "cc0", "public-domain")[number % 3],
        width=300 + number,
        height=200,
        provider="flickr" if number % 5 else "met",
    )


PLAN = Plan(
    key="k",
    base_url="http://127.0.0.1:9",
    taxa=(HIGH, LOW),
    places=(Place(id=7, name="Beira, PT"), Place(id=8, name="Beira Alta")),
    observations=tuple(seen(n, service) for service in ("inaturalist", "gbif") for n in range(1, 401)),
    hits=tuple(hit(service, number) for service in SERVICES for number in range(402)),
    addresses=(Address(path="/a", key="/a", kind="photo", label="a", source=0, file="a", expected="kept"),),
)


def ask(speaker: Callable[[Question], Json], *pairs: tuple[str, object], **query: object) -> Json:
    every = (*pairs, *query.items())
    return speaker(Question(PLAN, tuple((name, str(value)) for name, value in every), rest="2"))


def post(headers: dict[str, str], **body: object) -> Json:
    return google.serper(Question(PLAN, (), headers=headers, body=body))


def refusal(call: Callable[[], Json]) -> tuple[int, Any]:
    with pytest.raises(QueryError) as error:
        call()
    return error.value.status, error.value.body


# iNaturalist


def test_inaturalist_tells_of_its_own_observations_of_a_taxon_and_those_below_it() -> None:
    assert ask(inaturalist.observations)["total_results"] == 400
    assert ask(inaturalist.observations, taxon_id=1)["total_results"] == 400
    assert ask(inaturalist.observations, taxon_id=2)["total_results"] == 400 - 133
    assert ask(inaturalist.observations, taxon_id="2,5", taxon_name="salticidae")["total_results"] == 400 - 133
    assert ask(inaturalist.taxa_by_id)["results"][0]["ancestor_ids"] == [48460, 1, 2]


def test_inaturalist_filters_by_day_box_and_change() -> None:
    def days(**query: str) -> set[str]:
        return {item["observed_on"] for item in ask(inaturalist.observations, per_page=200, **query)["results"]}

    assert days(d1="2013-03-05", d2="2014-12-31") == {"2013-03-05", "2014-03-05"}
    assert days(updated_since="2019-03-06T00:00:00+00:00") == {"2019-03-05"}
    assert days(updated_since="2019-03-07T00:00:00+00:00") == set()
    box = {"swlat": "41.5", "swlng": "-9", "nelat": "43.5", "nelng": "0"}
    places = {item["location"] for item in ask(inaturalist.observations, per_page=200, **box)["results"]}
    assert places == {"42.0,-8.0", "43.0,-8.0"}
    assert ask(inaturalist.observations, swlat=0, swlng=170, nelat=90, nelng=-7)["total_results"] == 400
    assert ask(inaturalist.observations, swlat=0, swlng=0, nelat=90, nelng=7)["total_results"] == 0


def test_inaturalist_offers_places_by_their_beginning() -> None:
    found = ask(inaturalist.places, q="beira")["results"]
    assert [(place["id"], place["name"], place["display_name"]) for place in found] == [
        (7, "Beira", "Beira, PT"),
        (8, "Beira Alta", "Beira Alta"),
    ]


# GBIF


def test_gbif_caps_pages_and_ends_its_window() -> None:
    first = ask(gbif.occurrences, limit=1000)
    assert (first["limit"], len(first["results"]), first["endOfRecords"], first["count"]) == (300, 300, False, 400)
    rest = ask(gbif.occurrences, limit=300, offset=300)
    assert (len(rest["results"]), rest["endOfRecords"]) == (100, True)
    assert ask(gbif.occurrences, limit=300, offset=99_700)["results"] == []
    assert refusal(lambda: ask(gbif.occurrences, limit=300, offset=99_701))[0] == 400


def test_gbif_filters_what_may_be_asked_several_times() -> None:
    def count(*pairs: tuple[str, object]) -> int:
        return int(ask(gbif.occurrences, *pairs)["count"])

    assert count(("taxonKey", 2)) == 267
    assert count(("taxonKey", 2), ("taxonKey", 1)) == 400
    assert count(("country", "PT")) == 200
    assert count(("country", "PT"), ("country", "ES")) == 400
    assert count(("basisOfRecord", "PRESERVED_SPECIMEN")) == 0
    assert count(("eventDate", "2011-01-01,2012-12-31")) == 80
    assert count(("eventDate", "*,2010-12-31")) == 40
    assert count(("lastInterpreted", "2019-03-06,*")) == 40
    assert count(("decimalLatitude", "40.5,42.5")) == 160
    assert count(("decimalLongitude", "170,180"), ("decimalLongitude", "-180,-7")) == 400
    assert count(("geometry", "POLYGON((-9 39.5,-7 39.5,-7 40.5,-9 40.5,-9 39.5))")) == 80
    assert count(("mediaType", "Sound")) == 0
    assert refusal(lambda: ask(gbif.occurrences, decimalLatitude="a,b"))[0] == 400


def test_gbif_keeps_the_licence_of_each_picture_apart_from_the_records() -> None:
    records = ask(gbif.occurrences, limit=3)["results"]
    assert [record["media"][0]["license"] for record in records] == [
        "http://creativecommons.org/publicdomain/zero/1.0/legalcode",
        "© all rights reserved",
        "http://creativecommons.org/licenses/by/4.0/legalcode",
    ]
    assert {record["license"] for record in records} == {"http://creativecommons.org/licenses/by-nc/4.0/legalcode"}
    assert ["references" in record for record in records] == [False, True, False]
    assert (records[0]["order"], records[0]["family"], records[0]["familyKey"]) == ("Araneae", "Salticidae", 2)


def test_gbif_matches_names() -> None:
    found = ask(gbif.match, name="salticidae")
    assert (found["matchType"], found["usageKey"], found["rank"]) == ("EXACT", 2, "FAMILY")
    assert ask(gbif.match, name="Draco")["matchType"] == "NONE"
    assert ask(gbif.species)["key"] == 2


# Google


CUSTOM = {"key": "k", "cx": "c", "q": "jumping  spider", "searchType": "image"}


def test_custom_search_has_pages_of_ten_and_a_window_of_a_hundred() -> None:
    first = ask(google.custom_search, **CUSTOM)
    assert len(first["items"]) == 10
    assert first["queries"]["nextPage"][0]["startIndex"] == 11
    last = ask(google.custom_search, **CUSTOM, start=91, num=9)
    assert len({item["link"] for item in (*first["items"], *last["items"])}) == 19
    for wrong in ({"start": 91}, {"start": 0}, {"num": 11}):
        assert refusal(lambda wrong=wrong: ask(google.custom_search, **CUSTOM, **wrong))[0] == 400  # type: ignore[misc]
    assert "items" not in ask(google.custom_search, **CUSTOM | {"q": "something else"})


def test_results_without_an_address_show_googles_own_copy_only() -> None:
    pages = [ask(google.serpapi, engine="google_images", api_key="k", q="Jumping spider", ijn=n) for n in range(4)]
    images = [image for page in pages for image in page.get("images_results", [])]
    assert [len(page.get("images_results", [])) for page in pages] == [100, 100, 1, 0]
    assert "hasn't returned any results" in pages[3]["error"]
    assert ["original" in image for image in images].count(False) == 1
    listed = [
        image for n in (1, 2, 3) for image in post({"X-API-KEY": "k"}, q="Jumping spider", num=900, page=n)["images"]
    ]
    assert len(listed) == 201
    assert sum(image["imageUrl"].startswith("https://encrypted-tbn0.gstatic.com/") for image in listed) == 1


@pytest.mark.parametrize("key", ["", "wrong"])
def test_a_wrong_key_is_refused_in_the_words_of_each(key: str) -> None:
    status, body = refusal(lambda: ask(google.custom_search, **CUSTOM | {"key": key}))
    assert (status, body["error"]["code"]) == ((403, 403) if key == "" else (400, 400))
    assert refusal(lambda: ask(google.custom_search, **CUSTOM | {"cx": key}))[0] == 400
    status, body = refusal(lambda: ask(google.serpapi, engine="google_images", api_key=key, q="x"))
    assert (status, "Invalid API key" in body["error"]) == (401, True)
    assert refusal(lambda: post({"X-API-KEY": key}, q="x")) == (403, {"message": "Unauthorized.", "statusCode": 403})


@pytest.mark.real
def test_custom_search_answers_in_the_shape_of_the_recorded_one(real_data: Path) -> None:
    path = real_data / "fixtures" / "google_custom_search" / "imageResponse.json"
    real = json.loads(path.read_text(encoding="utf-8"))
    ours = ask(google.custom_search, **CUSTOM)
    assert set(ours) <= set(real)
    assert set(ours["items"][0]) <= set(real["items"][0])
    assert set(ours["items"][0]["image"]) == set(real["items"][0]["image"])
    assert set(ours["queries"]["request"][0]) <= set(real["queries"]["request"][0])


@pytest.mark.real
def test_gbif_answers_in_the_shape_of_the_recorded_ones(real_data: Path) -> None:
    folder = real_data / "fixtures" / "gbif"
    real = json.loads((folder / "test_search_0.json").read_text(encoding="utf-8"))["response"]
    ours = ask(gbif.occurrences)
    assert set(ours) == set(real)
    fields = {field for record in real["results"] for field in record}
    assert set(ours["results"][1]) <= fields | {"references"}
    matched = json.loads((folder / "test_name_backbone_0.json").read_text(encoding="utf-8"))["response"]
    assert set(ask(gbif.match, name="Salticidae")) <= set(matched)


# Openverse and Commons


def test_openverse_shows_twenty_a_page_and_240_in_all() -> None:
    first = ask(openverse.images, q="jumping spider")
    assert (first["result_count"], first["page_count"], len(first["results"])) == (201, 11, 20)
    assert len(ask(openverse.images, q="jumping spider", page=11)["results"]) == 1
    assert refusal(lambda: ask(openverse.images, q="x", page_size=21))[0] == 401
    assert refusal(lambda: ask(openverse.images, q="x", page=13))[0] == 401


def test_openverse_filters_by_licence_and_collection() -> None:
    codes = {item["license"] for item in ask(openverse.images, q="jumping spider", license="by,pdm")["results"]}
    assert codes == {"by", "pdm"}
    assert {item["source"] for item in ask(openverse.images, q="jumping spider", source="met")["results"]} == {"met"}


def test_commons_goes_on_behind_a_page_of_a_search_or_a_category() -> None:
    for generator, asked in (
        ("search", {"gsrsearch": "Jumping spider filetype:bitmap", "gsrlimit": "50"}),
        ("categorymembers", {"gcmtitle": "Category:Salticidae", "gcmlimit": "50"}),
    ):
        titles: list[str] = []
        onward: Json = {}
        for _ in range(9):
            answer = ask(commons.answer, action="query", generator=generator, iiurlwidth=330, **asked, **onward)
            titles += [page["title"] for page in answer["query"]["pages"]]
            if "continue" not in answer:
                break
            onward = answer["continue"]
        assert len(titles) == len(set(titles)) == 201
    assert ask(commons.answer, action="query", generator="search", gsrsearch="nothing") == {"batchcomplete": True}
    assert ask(commons.answer, action="parse")["error"]["code"] == "badvalue"


def test_commons_scales_down_what_is_wider_only() -> None:
    answer = ask(commons.answer, action="query", generator="search", gsrsearch="Jumping spider", iiurlwidth=330)
    infos = [page["imageinfo"][0] for page in answer["query"]["pages"]]
    assert all((info["width"] > 330) == ("/thumb/" in info["thumburl"]) for info in infos)
    assert {info["thumburl"] == info["url"] for info in infos} >= {True}
    wide = ask(commons.answer, action="query", generator="search", gsrsearch="Jumping spider", gsroffset=150,
               iiurlwidth=330)["query"]["pages"][0]["imageinfo"][0]  # fmt: skip
    assert wide["thumburl"].rsplit("/", 1)[1].startswith("330px-Photo_")
    assert wide["extmetadata"]["License"]["value"] in {"cc-by-4.0", "cc0", "pd"}
