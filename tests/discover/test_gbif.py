from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from pydantic import ValidationError

from tasks.core.errors import SourceError, SourceUnavailableError
from tasks.core.identity import photo_identity
from tasks.core.network import NetworkPolicy
from tasks.core.tables import CANDIDATES
from tasks.discover import gbif
from tasks.discover.config import GbifSource
from tasks.discover.found import Ask
from tasks.discover.gather import gather

NETWORK = NetworkPolicy(user_agent="harvestman-test", apis={"gbif": "http://127.0.0.1:1/v1"})
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
BY, NC = "http://creativecommons.org/licenses/by/4.0/", "CC BY-NC 4.0"
INATURALIST = "50c9509d-22c7-4a22-a47d-8c48425ef4a7"
Json = dict[str, Any]
Handler = Callable[[httpx.Request], httpx.Response]


def medium(name: str, licence: str | None = BY, **changes: object) -> Json:
    item = {"type": "StillImage", "format": "image/jpeg", "identifier": f"https://museum.org/{name}.jpg"}
    return item | ({"license": licence} if licence else {}) | changes


def occurrence(key: int, *media: Json, **changes: object) -> Json:
    return {
        "key": key,
        "datasetKey": "963a6b96-4d22-4428-86e4-afee52cf4a8e",
        "taxonKey": 7,
        "license": "http://creativecommons.org/publicdomain/zero/1.0/legalcode",
        "scientificName": "Argiope aurantia Lucas, 1833",
        "family": "Araneidae",
        "genus": "Argiope",
        "species": "Argiope aurantia",
        "eventDate": "2024-05-06T11:00",
        "decimalLatitude": 38.5,
        "decimalLongitude": -9.1,
        "recordedBy": "Ana",
        "media": list(media),
        **changes,
    }


class Api:
    """A small GBIF: answers `/occurrence/search` by taxon, limit and offset, `/species/match` with what it is given."""

    def __init__(self, *occurrences: Json, match: Json | None = None) -> None:
        self.occurrences, self.match, self.asked = list(occurrences), match, list[httpx.URL]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        if request.url.path.endswith("/species/match"):
            return httpx.Response(200, json=self.match)
        taxa = request.url.params.get_list("taxonKey")
        offset, limit = int(request.url.params.get("offset", 0)), int(request.url.params["limit"])
        found = [item for item in self.occurrences if str(item["taxonKey"]) in taxa]
        results, end = found[offset : offset + min(limit, 300)], offset + limit >= len(found)
        return httpx.Response(
            200, json={"offset": offset, "count": len(found), "endOfRecords": end, "results": results}
        )

    @property
    def paged(self) -> list[str]:
        asked = [url.params for url in self.asked if "offset" in url.params]
        return [f"{','.join(query.get_list('taxonKey'))}+{query['offset']}" for query in asked]


def asking(
    handler: Handler, *, rule: object = None, since: datetime | None = None, **fields: object
) -> Ask[GbifSource]:
    source = GbifSource.model_validate({"source": "gbif", "taxon": 7, "label": rule, **fields})
    label = None if rule else "spider"
    return Ask(source, label, NETWORK, since=since, transport=httpx.MockTransport(handler))


def told(handler: Handler, *, rule: object = None, **fields: object) -> tuple[pl.DataFrame, Counter[str]]:
    answer = list(gbif.pages(asking(handler, rule=rule, since=None, **fields)))
    return pl.concat([page.candidates for page in answer]), sum((page.notes for page in answer), Counter())


def one(record: Json, **fields: object) -> Json:
    [row] = told(Api(record), rule=fields.pop("rule", None), **fields)[0].to_dicts()
    return row


def test_a_picture_becomes_a_candidate_with_all_that_credits_and_splits_need() -> None:
    found, notes = told(Api(occurrence(57, medium("a", creator="Bo"))))
    assert dict(found.schema) == CANDIDATES
    assert found.to_dicts() == [{
        "url": "https://museum.org/a.jpg", "label": None, "source": None,
        "source_id": "57/1dd05fe7eed845bd04355914a9926ef8",
        "group_id": "gbif:57", "taxon": "Argiope aurantia", "licence": "cc-by", "creator": "Bo",
        "page_url": "https://www.gbif.org/occurrence/57", "observed_on": date(2024, 5, 6),
        "latitude": 38.5, "longitude": -9.1,
    }]  # fmt: skip
    assert notes == {"rows": 1}


def test_the_query_carries_what_the_recipe_says() -> None:
    api = Api()
    told(
        api, taxon=(7, "48"), country=("pt", "ES"), basis_of_record=("human_observation", "PRESERVED_SPECIMEN"),
        bbox=(36.9, -9.6, 42.2, -6.1), observed=(date(2020, 1, 2), date(2021, 3, 4)),
    )  # fmt: skip
    [url] = api.asked
    assert url.path == "/v1/occurrence/search"
    assert sorted(url.params.multi_items()) == [
        ("basisOfRecord", "HUMAN_OBSERVATION"), ("basisOfRecord", "PRESERVED_SPECIMEN"), ("country", "ES"),
        ("country", "PT"), ("decimalLatitude", "36.9,42.2"), ("decimalLongitude", "-9.6,-6.1"),
        ("eventDate", "2020-01-02,2021-03-04"), ("limit", "300"), ("mediaType", "StillImage"), ("offset", "0"),
        ("taxonKey", "48"), ("taxonKey", "7"),
    ]  # fmt: skip


def test_a_box_across_the_180th_meridian_is_two_ranges_and_open_ends_are_stars() -> None:
    api = Api()
    told(api, bbox=(-20, 170, -10, -175), observed=(None, date(2021, 3, 4)))
    assert api.asked[0].params.get_list("decimalLongitude") == ["170.0,180", "-180,-175.0"]
    assert api.asked[0].params["eventDate"] == "*,2021-03-04"


def test_pages_follow_the_offset_to_the_end_of_records() -> None:
    api = Api(*(occurrence(n, medium(str(n))) for n in range(650)))
    answer = list(gbif.pages(asking(api)))
    assert api.paged == ["7+0", "7+300", "7+600"]
    assert [(page.total, page.items, page.candidates.height) for page in answer] == [
        (650, 300, 300), (650, 300, 300), (650, 50, 50)
    ]  # fmt: skip


def test_the_window_of_the_search_ends_it_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[tuple[int, int]] = []

    def endless(request: httpx.Request) -> httpx.Response:
        offset, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        asked.append((offset, limit))
        results = [occurrence(offset + n) for n in range(limit)]
        return httpx.Response(200, json={"count": 130_000, "endOfRecords": False, "results": results})

    source = GbifSource(source="gbif", taxon=7)
    cursor = {"total": 100_000, "turns": [[[7], 99_600]]}
    ask = Ask(source, "spider", NETWORK, cursor=cursor, transport=httpx.MockTransport(endless))
    with caplog.at_level(logging.WARNING):
        answer = list(gbif.pages(ask))
    assert asked == [(99_600, 300), (99_900, 100)]
    assert answer[-1].notes["beyond-window"] == 30_000
    assert "30,000 more fit" in caplog.text
    assert "darwin_core" in caplog.text


def test_a_run_that_was_killed_goes_on_behind_its_last_page_without_asking_names_again(tmp_path: Path) -> None:
    match = {"matchType": "EXACT", "usageKey": 7, "canonicalName": "Argiope"}
    api = Api(*(occurrence(n, medium(str(n))) for n in range(650)), match=match)

    def killed(_found: int, _expected: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather(asking(api, taxon="Argiope"), gbif, tmp_path / "a.parquet", now=NOW, on_page=killed)
    gather(asking(api, taxon="Argiope"), gbif, tmp_path / "a.parquet", now=NOW)
    assert api.paged == ["7+0", "7+300", "7+600"]
    assert len(api.asked) == 4
    assert pl.read_parquet(tmp_path / "a.parquet").height == 650


def test_spread_over_taxa_and_classes_told_by_records_ask_a_page_of_each_taxon_by_turns() -> None:
    for spread, rule in (("taxa", None), ("none", "family")):
        api = Api(*(occurrence(n, medium(str(n)), taxonKey=7 + (n >= 400)) for n in range(700)))
        answer = list(gbif.pages(asking(api, taxon=(7, 8), spread=spread, rule=rule)))
        assert api.paged == ["7+0", "8+0", "7+300"]
        assert {page.total for page in answer} == {700}


def test_each_medium_is_judged_by_its_own_licence_never_by_that_of_the_occurrence() -> None:
    media = (medium("a", None), medium("b", "© Museum, all rights reserved"), medium("c", NC), medium("d"))
    api = Api(occurrence(1, *media))
    first, notes = told(api, licences=("cc-by",))
    assert first["url"].to_list() == ["https://museum.org/d.jpg"]
    assert notes == {"rows": 4, "licence-refused": 3}
    assert told(api, photos="all")[0]["licence"].to_list() == ["cc-by-nc", "cc-by"]
    every = told(api, photos="all", licences="any")[0]["licence"].to_list()
    assert every == [None, "all-rights-reserved", "cc-by-nc", "cc-by"]


def test_media_that_are_no_pictures_or_have_no_address_or_are_repeated_are_counted() -> None:
    media = (
        medium("a", type="Sound"), medium("b", format="text/html"), medium("c", format="video/mp4"),
        medium("d", identifier=None), medium("e", identifier="urn:catalog:5"),
        medium("f"), medium("f"), medium("g", type=None, format=None), medium("h", format="application/octet-stream"),
        medium("i", format="JPEG"),
    )  # fmt: skip
    found, notes = told(Api(occurrence(1, *media), occurrence(2)), photos="all")
    assert [url[-5] for url in found["url"]] == ["f", "g", "h", "i"]
    assert notes == {"rows": 10, "not-an-image": 3, "not-addresses": 2, "duplicates": 1}


def test_a_picture_of_two_occurrences_is_one(tmp_path: Path) -> None:
    api = Api(occurrence(1, medium("a")), occurrence(2, medium("a")))
    assert gather(asking(api), gbif, tmp_path / "a.parquet", now=NOW).notes["duplicates"] == 1
    assert pl.read_parquet(tmp_path / "a.parquet").height == 1


PHOTO = medium("", identifier="https://inaturalist-open-data.s3.amazonaws.com/photos/279/original.jpeg")


@pytest.mark.parametrize(
    "fields",
    [{"references": "https://www.inaturalist.org/observations/161"},
     {"references": None, "occurrenceID": "http://inaturalist.org/observations/161"},
     {"datasetKey": INATURALIST, "catalogNumber": "161"}],
)  # fmt: skip
def test_an_inaturalist_photo_keeps_its_observation_and_its_identity(fields: Json) -> None:
    row = one(occurrence(5, PHOTO, **fields))
    assert row["group_id"] == "inaturalist:161"
    assert row["url"] == "https://inaturalist-open-data.s3.amazonaws.com/photos/279/medium.jpeg"
    same = pl.Series([row["url"], "https://static.inaturalist.org/photos/279/large.jpg?1"])
    assert pl.select(photo_identity(pl.lit(same)))[:, 0].to_list() == ["inaturalist:279"] * 2


def test_other_data_sets_keep_their_own_occurrences_and_sizes() -> None:
    record = occurrence(5, medium("original"), catalogNumber="161", references="https://museum.org/161")
    row = one(record)
    assert (row["group_id"], row["page_url"]) == ("gbif:5", "https://museum.org/161")
    assert row["url"] == "https://museum.org/original.jpg"


@pytest.mark.parametrize(
    ("text", "day"),
    [("2024-05-06", date(2024, 5, 6)), ("2024-05", None), ("2024", None), (None, None), ("2024-05-06/2024-05-09", None),
     ("2024-05-06T10:00/2024-05-06T11:00", date(2024, 5, 6)), ("long ago", None)],
)  # fmt: skip
def test_only_a_whole_day_is_a_date(text: str | None, day: date | None) -> None:
    assert one(occurrence(1, medium("a"), eventDate=text))["observed_on"] == day


def test_missing_fields_cost_nothing_but_themselves() -> None:
    row = one({"key": 1, "taxonKey": 7, "media": [medium("a")], "somethingNew": {"x": 1}})
    assert (row["taxon"], row["creator"], row["observed_on"], row["latitude"]) == (None, None, None, None)
    assert one(occurrence(1, medium("a"), species=None))["taxon"] == "Argiope"


@pytest.mark.parametrize(
    ("rule", "label"),
    [("family", "Araneidae"), ("class", "Arachnida"), ("order", None), ({"column": "lifeStage"}, "Adult"),
     ({"column": "scientificName", "pattern": "^(\\w+) aur"}, "Argiope"), ({"pattern": "org/(\\w)"}, "a"),
     ({"column": "lifeStage", "pattern": "(Juv)"}, None),
     ({"taxa": {"orb": ["araneidae"], "gold": ["Argiope aurantia"]}}, "gold"),
     ({"taxa": {"orb": ["Theridiidae"]}}, None)],
)  # fmt: skip
def test_the_class_is_told_by_a_rank_a_field_a_pattern_or_a_map_of_taxa(rule: object, label: str | None) -> None:
    record = occurrence(1, medium("a"), lifeStage="Adult", **{"class": "Arachnida"})
    assert one(record, rule=rule)["label"] == label


def test_a_field_that_no_record_has_is_named_with_those_present() -> None:
    api = Api(occurrence(1, medium("a"), sex="MALE"))
    with pytest.raises(SourceError, match=r"has a field 'sexx'(.|\n)*Fields: .*genus.*, sex, "):
        told(api, rule={"column": "sexx"})


def test_changes_replace_what_was_said_and_what_offers_nothing_any_more_goes(tmp_path: Path) -> None:
    shard = tmp_path / "a.parquet"
    api = Api(*(occurrence(n, medium(f"{n}")) for n in range(1, 5)))
    gather(asking(api), gbif, shard, now=NOW)
    api.occurrences = [occurrence(1, medium("1b")), occurrence(2, medium("2", None)), occurrence(5, medium("5"))]
    api.asked.clear()
    gather(asking(api), gbif, shard, now=NOW + timedelta(days=5))
    assert api.asked[0].params["lastInterpreted"] == "2026-04-30,*"
    assert "mediaType" not in api.asked[0].params  # would hide the records that have lost their pictures
    assert sorted(url[19:-4] for url in pl.read_parquet(shard)["url"]) == ["1b", "3", "4", "5"]


MORUS = {
    "matchType": "NONE", "confidence": 100, "note": "Multiple equal matches for Morus", "synonym": False,
    "alternatives": [
        {"usageKey": 2984544, "canonicalName": "Morus", "rank": "GENUS", "matchType": "EXACT", "kingdom": "Plantae",
         "family": "Moraceae", "status": "ACCEPTED"},
        {"usageKey": 2480959, "canonicalName": "Morus", "rank": "GENUS", "matchType": "EXACT", "kingdom": "Animalia",
         "family": "Sulidae", "status": "ACCEPTED"},
        {"usageKey": 1, "canonicalName": "Mora", "rank": "GENUS", "matchType": "FUZZY", "status": "ACCEPTED"},
    ],
}  # fmt: skip


def test_a_name_is_resolved_to_the_accepted_taxon() -> None:
    synonym = {"matchType": "EXACT", "usageKey": 3, "acceptedUsageKey": 7, "status": "SYNONYM", "canonicalName": "Old"}
    api = Api(occurrence(1, medium("a")), match=synonym)
    assert told(api, taxon="Old name")[0].height == 1
    assert dict(api.asked[0].params) == {"name": "Old name", "strict": "true", "verbose": "true"}
    assert api.paged == ["7+0"]


@pytest.mark.parametrize(
    ("match", "words"),
    [(MORUS, r"several taxa named 'X'(.|\n)*Moraceae, key 2984544\); Morus \(GENUS, Animalia, Sulidae, .*\d\)\."),
     ({"matchType": "NONE", "confidence": 100}, r"no taxon named 'X'(.|\n)*Nothing similar"),
     ({"matchType": "FUZZY", "usageKey": 5, "canonicalName": "Argiope", "rank": "GENUS", "kingdom": "Animalia"},
      r"no taxon named 'X'(.|\n)*Argiope \(GENUS, Animalia, key 5\)"),
     ({"matchType": "HIGHERRANK", "usageKey": 1, "canonicalName": "Animalia", "rank": "KINGDOM"}, "no taxon named"),
     ({**MORUS["alternatives"][0], "alternatives": [MORUS["alternatives"][1]]},
      r"several taxa(.|\n)*29845(.|\n)*24809")],
)  # fmt: skip
def test_a_name_that_fits_none_or_several_is_refused_with_what_was_offered(match: Json, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        told(Api(match=match), taxon="X")


def test_no_taxon_at_all_is_a_problem_known_before_anything_is_asked() -> None:
    with pytest.raises(ValidationError, match="it is blank"):
        asking(Api(), taxon=(" ",))
    assert list(gbif.problems(asking(Api()))) == []


def test_a_refused_query_and_a_busy_api_are_told_apart() -> None:
    with pytest.raises(SourceError, match=r"Invalid country(.|\n)*two letters"):
        told(lambda _: httpx.Response(400, text="Invalid country code"))
    with pytest.raises(SourceUnavailableError):
        told(lambda _: httpx.Response(503, headers={"Retry-After": "9999"}))


@pytest.mark.parametrize(
    ("body", "fault"),
    [({"results": []}, "count"), ({"count": 1, "endOfRecords": True, "results": [{"media": []}]}, r"results\.0\.key"),
     ({"count": 1, "endOfRecords": True, "results": [{"key": 1, "media": [{"identifier": 5}]}]}, r"media\.0\.ident")],
)  # fmt: skip
def test_an_answer_of_another_shape_is_refused_naming_the_field(body: Json, fault: str) -> None:
    with pytest.raises(SourceError, match=rf"another shape(.|\n)*{fault}"):
        told(lambda _: httpx.Response(200, json=body))


@pytest.mark.real
def test_the_recorded_answer_of_the_real_api_is_understood(real_data: Path) -> None:
    recorded = json.loads((real_data / "fixtures" / "gbif" / "test_search_0.json").read_text())["response"]
    empty = recorded | {"results": [], "endOfRecords": True}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=recorded if request.url.params["offset"] == "0" else empty)

    found, notes = told(answer, photos="all")
    media = [item for record in recorded["results"] for item in record["media"]]
    assert notes["rows"] == len(media) == 487
    assert found["licence"].value_counts(sort=True).rows() == [("cc-by", 462), ("cc-by-nc", 10)]
    assert notes["licence-refused"] == 15  # "All rights reserved", though the occurrences say CC BY
    assert found["url"].to_list() == [item["identifier"] for item in media if "All" not in item["license"]]
    assert found["taxon"].unique().to_list() == ["Amanita muscaria"]  # asked by a synonym
    assert found["observed_on"].null_count() == 0
    genera, _ = told(answer, photos="all", licences="any", rule="genus")
    assert genera["label"].unique().to_list() == ["Amanita"]


@pytest.mark.real
def test_recorded_observations_of_inaturalist_are_recognised(real_data: Path) -> None:
    path = real_data / "fixtures" / "gbif" / "test_search_identified_by_id_0.json"
    recorded = json.loads(path.read_text())["response"] | {"endOfRecords": True}
    found, notes = told(lambda _: httpx.Response(200, json=recorded))
    [row] = found.to_dicts()
    assert notes == {"rows": 3, "licence-refused": 2}  # media without a licence; the occurrences have one
    assert row["group_id"] == "inaturalist:161458381"
    assert row["url"] == "https://inaturalist-open-data.s3.amazonaws.com/photos/279076960/medium.jpeg"
    assert row["page_url"] == "https://www.inaturalist.org/observations/161458381"


@pytest.mark.real
def test_the_recorded_match_of_a_name_is_taken(real_data: Path) -> None:
    match = json.loads((real_data / "fixtures" / "gbif" / "test_name_backbone_0.json").read_text())["response"]
    api = Api(match=match)
    told(api, taxon="Helianthus annuus")
    assert api.paged == ["9206251+0"]
