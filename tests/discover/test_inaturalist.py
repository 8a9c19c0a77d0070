from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from pydantic import ValidationError

from tasks.core.errors import BlockedAddressError, SourceError, SourceUnavailableError
from tasks.core.network import NetworkPolicy
from tasks.core.tables import CANDIDATES
from tasks.discover import inaturalist
from tasks.discover.config import INaturalistSource
from tasks.discover.fields import GRADES, OPEN_LICENCES
from tasks.discover.found import Ask, Page
from tasks.discover.gather import gather

NETWORK = NetworkPolicy(user_agent="harvestman-test", apis={"inaturalist": "http://127.0.0.1:1/v1"})
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
Json = dict[str, Any]
Handler = Callable[[httpx.Request], httpx.Response]


def photo(number: int, licence: str | None = "cc-by", **changes: object) -> Json:
    return {"id": number, "license_code": licence, "url": f"https://x.org/photos/{number}/square.jpeg?17", **changes}


def observation(number: int, *photos: Json, **changes: object) -> Json:
    return {
        "id": number,
        "quality_grade": "research",
        "photos": list(photos),
        "taxon": {"id": 3, "name": "Argiope aurantia"},
        "user": {"login": "ann"},
        "uri": f"https://inat.org/observations/{number}",
        "observed_on": "2024-05-06",
        "location": "38.5,-9.1",
        **changes,
    }


class Api:
    """A small iNaturalist: answers `/observations` by taxon and `id_above`, names with what it is given."""

    def __init__(self, *observations: Json, taxa: tuple[Json, ...] = (), places: tuple[Json, ...] = ()) -> None:
        self.observations, self.taxa, self.places, self.asked = list(observations), taxa, places, list[httpx.URL]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        query = request.url.params
        if request.url.path.endswith("/taxa"):
            return httpx.Response(200, json={"results": list(self.taxa)})
        if request.url.path.endswith("/places/autocomplete"):
            return httpx.Response(200, json={"results": list(self.places)})
        taxa, above = set(query["taxon_id"].split(",")), int(query.get("id_above", 0))
        found = [item for item in self.observations if item["id"] > above and self._is(item, taxa)]
        results = found[: int(query["per_page"])]
        return httpx.Response(200, json={"total_results": len(found), "results": results})

    @staticmethod
    def _is(item: Json, taxa: set[str]) -> bool:
        return not item["taxon"] or str(item["taxon"]["id"]) in taxa

    @property
    def above(self) -> list[str]:
        return [f"{url.params['taxon_id']}>{url.params['id_above']}" for url in self.asked if "id_above" in url.params]


def asking(handler: Handler, *, since: datetime | None = None, **fields: object) -> Ask[INaturalistSource]:
    source = INaturalistSource.model_validate({"source": "inaturalist", "taxon": 3, **fields})
    return Ask(source, "spider", NETWORK, since=since, transport=httpx.MockTransport(handler))


def told(handler: Handler, **fields: object) -> tuple[pl.DataFrame, Counter[str]]:
    answer = list(inaturalist.pages(asking(handler, since=None, **fields)))
    return pl.concat([page.candidates for page in answer]), sum((page.notes for page in answer), Counter())


def ids(handler: Handler, **fields: object) -> list[str]:
    return told(handler, **fields)[0]["source_id"].to_list()


def test_a_photo_becomes_a_candidate_with_all_that_credits_and_splits_need() -> None:
    found, notes = told(Api(observation(57, photo(9))))
    assert dict(found.schema) == CANDIDATES
    assert found.to_dicts() == [{
        "url": "https://x.org/photos/9/medium.jpeg?17", "label": None, "source": None, "source_id": "9",
        "group_id": "inaturalist:57", "taxon": "Argiope aurantia", "licence": "cc-by", "creator": "ann",
        "page_url": "https://inat.org/observations/57", "observed_on": date(2024, 5, 6),
        "latitude": 38.5, "longitude": -9.1,
    }]  # fmt: skip
    assert notes == {"rows": 1}


def test_the_query_carries_what_the_recipe_says() -> None:
    api = Api()
    told(
        api, taxon=(3, "48", 3), quality_grade=("research", "needs_id"), place_id=7, licences=("cc0", "CC BY 4.0"),
        bbox=(36.9, -9.6, 42.2, -6.1), observed=(date(2020, 1, 2), None),
    )  # fmt: skip
    [url] = api.asked
    assert dict(url.params) == {
        "taxon_id": "3,48", "quality_grade": "research,needs_id", "place_id": "7", "photo_license": "cc0,cc-by",
        "photos": "true", "swlat": "36.9", "swlng": "-9.6", "nelat": "42.2", "nelng": "-6.1", "d1": "2020-01-02",
        "order_by": "id", "order": "asc", "per_page": "200", "id_above": "0",
    }  # fmt: skip
    assert url.path == "/v1/observations"


def test_pages_follow_the_last_id_until_nothing_is_left() -> None:
    api = Api(*(observation(n * 10, photo(n)) for n in range(1, 451)))
    answer = list(inaturalist.pages(asking(api)))
    assert sum(page.candidates.height for page in answer) == 450
    assert api.above == ["3>0", "3>2000", "3>4000"]
    assert [(page.total, page.items) for page in answer] == [(450, 200), (450, 200), (450, 50)]


def test_an_empty_page_ends_it_whatever_the_total_says() -> None:
    def more_than_there_are(request: httpx.Request) -> httpx.Response:
        results = [observation(1, photo(1))] if request.url.params["id_above"] == "0" else []
        return httpx.Response(200, json={"total_results": 9, "results": results})

    assert ids(more_than_there_are) == ["1"]


def test_a_page_is_not_asked_before_it_is_wanted() -> None:
    api = Api(*(observation(n, photo(n)) for n in range(1, 451)))
    next(inaturalist.pages(asking(api)))
    assert api.above == ["3>0"]


def test_a_cursor_goes_on_where_it_stood_without_asking_names_again() -> None:
    taxa = ({"id": 5, "name": "Argiope", "rank": "genus"},)
    api = Api(*(observation(n, photo(n), taxon={"id": 5, "name": "Argiope"}) for n in range(1, 451)), taxa=taxa)
    first = next(inaturalist.pages(asking(api, taxon="Argiope")))
    cursor = json.loads(json.dumps(first.cursor))
    api.asked.clear()
    source = INaturalistSource(source="inaturalist", taxon="Argiope")
    ask = Ask(source, "spider", NETWORK, cursor=cursor, transport=httpx.MockTransport(api))
    rest = list(inaturalist.pages(ask))
    assert api.above == ["5>200", "5>400"]
    assert len(api.asked) == 2
    assert sum(page.candidates.height for page in rest) == 250
    assert {page.total for page in rest} == {450}
    done = Ask(source, "spider", NETWORK, cursor=rest[-1].cursor, transport=httpx.MockTransport(api))
    assert list(inaturalist.pages(done)) == []


def test_spread_over_taxa_asks_a_page_of_each_by_turns() -> None:
    many = [observation(n, photo(n)) for n in range(1, 601)]
    few = [observation(n, photo(n), taxon={"id": 48, "name": "B"}) for n in range(1001, 1251)]
    api = Api(*many, *few)
    answer = list(inaturalist.pages(asking(api, taxon=(3, 48), spread="taxa")))
    assert api.above == ["3>0", "48>0", "3>200", "48>1200", "3>400"]
    assert {page.total for page in answer} == {850}
    assert sum(page.items for page in answer) == 850
    assert api.asked[0].params["per_page"] == "1"


def test_without_spread_several_taxa_are_one_query() -> None:
    api = Api(observation(1, photo(1)), observation(2, photo(2), taxon={"id": 48, "name": "B"}))
    assert ids(api, taxon=(3, 48)) == ["1", "2"]
    assert api.above == ["3,48>0"]


def test_each_photo_is_judged_by_its_own_licence() -> None:
    api = Api(
        observation(1, photo(1, None), photo(2, "cc-by-nc"), photo(3, "cc0"), photo(4, "CC0"), license_code="cc0")
    )
    first, notes = told(api, licences=("cc0",))
    assert first["source_id"].to_list() == ["3"]
    assert notes == {"rows": 3, "licence-refused": 2}
    assert ids(api, licences=("cc0",), photos="all") == ["3", "4"]
    assert ids(api, licences=("cc0", "null", "")) == ["3"]


def test_photos_without_a_licence_are_taken_only_where_the_recipe_says_so() -> None:
    api = Api(observation(1, photo(1, None), photo(2, "cc-by-nc"), photo(3, "gfdl")))
    found, _ = told(api, licences=("all-rights-reserved", "cc-by-nc"), photos="all")
    assert found["licence"].to_list() == ["all-rights-reserved", "cc-by-nc"]
    assert "photo_license" not in api.asked[0].params  # the API's filter does not know it


def test_only_the_size_word_of_an_address_changes() -> None:
    odd = photo(1, url="https://static.x.org/photos/square/1/square.JPG")
    found, _ = told(Api(observation(1, odd)), photo_size="original")
    assert found["url"].to_list() == ["https://static.x.org/photos/square/1/original.JPG"]


def test_hidden_photos_and_missing_fields_cost_nothing_but_themselves() -> None:
    bare = observation(2, photo(2), taxon=None, user=None, observed_on=None, location=None, quality_grade=None)
    hidden = photo(3, url="https://www.inaturalist.org/assets/copyright-infringement-square.png")
    found, notes = told(Api(observation(1, photo(1, url=None), hidden), bare))
    [row] = found.to_dicts()
    assert (row["taxon"], row["creator"], row["observed_on"], row["latitude"]) == (None, None, None, None)
    assert notes == {"rows": 3, "hidden": 2}


def test_an_observation_found_twice_is_one(tmp_path: Path) -> None:
    api = Api(observation(1, photo(5)), observation(2, photo(5)), observation(3, photo(6), taxon=None))
    gathered = gather(
        asking(api, taxon=(3, 48), spread="taxa"), inaturalist, tmp_path / "a.parquet", now=NOW
    )  # no taxon: the test's API offers it for either
    assert sorted(pl.read_parquet(tmp_path / "a.parquet")["source_id"]) == ["5", "6"]
    assert gathered.notes == {"rows": 4, "duplicates": 2, "candidates": 2}


def test_the_limit_holds_within_an_observation_and_ends_the_asking(tmp_path: Path) -> None:
    api = Api(*(observation(n, photo(n * 10), photo(n * 10 + 1)) for n in range(1, 451)))
    gather(asking(api, limit=3, photos="all"), inaturalist, tmp_path / "a.parquet", now=NOW)
    assert pl.read_parquet(tmp_path / "a.parquet")["source_id"].to_list() == ["10", "11", "20"]
    assert len(api.asked) == 1


def test_a_run_that_was_killed_goes_on_behind_its_last_page(tmp_path: Path) -> None:
    api = Api(*(observation(n, photo(n)) for n in range(1, 451)))

    class KilledError(Exception):
        pass

    def killed_after_one_page(found: int, _expected: int | None) -> None:
        assert found == 200
        raise KilledError

    with pytest.raises(KilledError):
        gather(asking(api), inaturalist, tmp_path / "a.parquet", now=NOW, on_page=killed_after_one_page)
    gather(asking(api), inaturalist, tmp_path / "a.parquet", now=NOW)
    assert api.above == ["3>0", "3>200", "3>400"]
    assert pl.read_parquet(tmp_path / "a.parquet").height == 450


def test_changes_replace_what_was_said_and_what_offers_nothing_any_more_goes(tmp_path: Path) -> None:
    shard = tmp_path / "a.parquet"
    api = Api(*(observation(n, photo(n * 10), photo(n * 10 + 1)) for n in range(1, 6)))
    gather(asking(api, photos="all"), inaturalist, shard, now=NOW)
    assert pl.read_parquet(shard).height == 10
    api.observations = [
        observation(1, photo(10, None), photo(11, "cc-by-nc-nd"), photo(12)),  # another photo, a licence withdrawn
        observation(2, photo(20, None), photo(21, None)),  # all licences withdrawn
        observation(3),  # photos deleted
        observation(4, photo(40), photo(41), quality_grade="casual"),
        observation(6, photo(60)),
    ]
    api.asked.clear()
    later = gather(asking(api, photos="all"), inaturalist, shard, now=NOW + timedelta(days=5))
    assert sorted(pl.read_parquet(shard)["source_id"]) == ["11", "12", "50", "51", "60"]
    assert later.notes == {"rows": 8, "licence-refused": 3, "other-grade": 2, "candidates": 5}
    query = api.asked[0].params
    assert query["updated_since"] == "2026-04-30T12:00:00+00:00"
    assert not {"photo_license", "quality_grade", "photos"} & set(query)  # they would hide what has to go


def test_what_has_gone_is_not_forgotten_when_the_run_is_killed_behind_it(tmp_path: Path) -> None:
    shard = tmp_path / "a.parquet"
    api = Api(*(observation(n, photo(n)) for n in range(1, 301)))
    gather(asking(api), inaturalist, shard, now=NOW)
    api.observations[0] = observation(1, photo(1, None))

    def killed(_found: int, _expected: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather(asking(api), inaturalist, shard, now=NOW + timedelta(days=1), on_page=killed)
    api.asked.clear()
    gather(asking(api), inaturalist, shard, now=NOW + timedelta(days=1))
    assert api.above == ["3>200"]
    assert sorted(map(int, pl.read_parquet(shard)["source_id"])) == list(range(2, 301))


def test_a_first_answer_tells_nothing_as_gone() -> None:
    [page] = inaturalist.pages(asking(Api(observation(1, photo(1, None)))))
    assert page.gone == ()
    assert page.candidates.is_empty()


def test_a_name_is_resolved_to_the_one_taxon_that_has_it() -> None:
    taxa = ({"id": 8, "name": "Argiope bruennichi", "rank": "species"}, {"id": 5, "name": "Argiope", "rank": "genus"})
    api = Api(observation(1, photo(1)), taxa=taxa)
    told(api, taxon=" argiope ")
    assert api.asked[0].params["q"] == "argiope"
    assert api.asked[1].params["taxon_id"] == "5"


def test_a_name_that_fits_none_or_several_is_refused_with_what_was_offered() -> None:
    none = Api(taxa=({"id": 8, "name": "Argiope bruennichi", "rank": "species"},))
    with pytest.raises(SourceError, match=r"no taxon named 'Argiop'(.|\n)*Argiope bruennichi \(species, id 8\)"):
        told(none, taxon="Argiop")
    several = Api(taxa=({"id": 1, "name": "Morus", "rank": "genus"}, {"id": 2, "name": "Morus", "rank": "genus"}))
    with pytest.raises(SourceError, match=r"several taxa named 'Morus'(.|\n)*id 1\); Morus \(genus, id 2"):
        told(several, taxon="Morus")
    with pytest.raises(SourceError, match="Nothing similar either"):
        told(Api(), taxon="Xyz")


GEORGIA = ({"id": 23, "name": "Georgia", "display_name": "Georgia, US"},
           {"id": 8402, "name": "Georgia", "display_name": "Georgia"},
           {"id": 9, "name": "Georgetown", "display_name": "Georgetown, GY"})  # fmt: skip


@pytest.mark.parametrize(("written", "number"), [("georgia", "8402"), ("Georgia, US", "23"), ("Georgetown", "9")])
def test_a_place_is_the_one_shown_under_its_name_else_the_one_called_so(written: str, number: str) -> None:
    api = Api(places=GEORGIA)
    told(api, place=written)
    assert api.asked[0].params["q"] == written
    assert api.asked[1].params["place_id"] == number


def test_a_place_that_fits_none_or_several_is_refused_with_what_was_offered() -> None:
    with pytest.raises(SourceError, match=r"no place named 'Georg'(.|\n)*Georgia, US \(id 23\); Georgia \(id 8402\)"):
        told(Api(places=GEORGIA), place="Georg")
    twins = (GEORGIA[0], {"id": 24, "name": "Georgia", "display_name": "Georgia, TX, US"})
    with pytest.raises(SourceError, match=r"several places named 'Georgia'(.|\n)*id 23(.|\n)*id 24(.|\n)*place_id"):
        told(Api(places=twins), place="Georgia")


def test_no_taxon_at_all_is_a_problem_known_before_anything_is_asked() -> None:
    with pytest.raises(ValidationError, match="the list is empty"):
        asking(Api(), taxon=())
    assert list(inaturalist.problems(asking(Api()))) == []


@pytest.mark.parametrize(
    "fields",
    [{"place": "Portugal", "place_id": 7122}, {"bbox": (42.2, -9.6, 36.9, -6.1)}, {"bbox": (0, 0, 91, 1)},
     {"observed": (date(2021, 1, 1), date(2020, 1, 1))}],
)  # fmt: skip
def test_a_place_twice_and_boxes_and_days_in_the_wrong_order_are_refused(fields: Json) -> None:
    with pytest.raises(ValidationError):
        INaturalistSource.model_validate({"source": "inaturalist", "taxon": 3, **fields})


def test_a_429_is_waited_out_as_long_as_it_asks() -> None:
    answers = iter([httpx.Response(status, headers={"Retry-After": "0"}) for status in (429, 503)])
    api = Api(observation(1, photo(1)))
    assert ids(lambda request: next(answers, None) or api(request)) == ["1"]


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(429, headers={"Retry-After": "9999"}), httpx.Response(500, headers={"Retry-After": "0"})],
)
def test_an_api_that_stays_busy_is_unavailable(answer: httpx.Response) -> None:
    with pytest.raises(SourceUnavailableError, match=r"observations (does not answer|asks to be left alone)"):
        told(lambda _: httpx.Response(answer.status_code, headers=answer.headers))


def test_silence_names_the_address() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("no answer", request=request)

    with pytest.raises(SourceUnavailableError, match=r"http://127\.0\.0\.1:1/v1/observations does not answer"):
        list(inaturalist.pages(replace(asking(silent), attempts=1)))


def test_a_query_that_is_refused_says_with_what_words_and_which_fields_to_check() -> None:
    with pytest.raises(SourceError, match=r"Unknown taxon_id(.|\n)*`taxon:`, `place:`"):
        told(lambda _: httpx.Response(422, json={"error": "Unknown taxon_id 3"}))


@pytest.mark.parametrize(
    ("body", "fault"),
    [(b"<html>", "Invalid JSON"), (b"[]", "body"), (b'{"total_results": 0}', "results: Field required"),
     (json.dumps({"total_results": 1, "results": [{"id": "x", "photos": []}]}).encode(), r"results\.0\.id"),
     (json.dumps({"total_results": 1, "results": [{"id": 1, "photos": [{"url": None}]}]}).encode(),
      r"results\.0\.photos\.0\.id")],
)  # fmt: skip
def test_an_answer_of_another_shape_is_refused_naming_the_field(body: bytes, fault: str) -> None:
    with pytest.raises(SourceError, match=rf"another shape(.|\n)*{fault}"):
        told(lambda _: httpx.Response(200, content=body))


def test_an_answer_that_repeats_itself_does_not_loop_for_ever() -> None:
    with pytest.raises(SourceError, match="does not go forward"):
        told(lambda _: httpx.Response(200, json={"total_results": 9, "results": [observation(1, photo(1))]}))


def test_an_api_at_a_private_address_is_blocked_unless_allowed() -> None:
    def first(network: NetworkPolicy) -> Iterator[Page]:
        return inaturalist.pages(Ask(INaturalistSource(source="inaturalist", taxon=3), "x", network, attempts=1))

    with pytest.raises(BlockedAddressError):
        next(first(NETWORK))
    with pytest.raises(SourceUnavailableError, match="does not answer"):
        next(first(NETWORK.model_copy(update={"allowed_hosts": ("127.0.0.1:1",)})))


@pytest.mark.real
def test_recorded_answers_of_the_real_api_are_understood(real_data: Path) -> None:
    folder = real_data / "fixtures" / "inaturalist_api" / "v1"

    def recorded(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/taxa"):
            return httpx.Response(200, content=(folder / "get_taxa.json").read_bytes())
        if request.url.path.endswith("/places/autocomplete"):
            return httpx.Response(200, content=(folder / "get_places_autocomplete.json").read_bytes())
        page = {"0": "2", "57707611": "1"}.get(request.url.params["id_above"])
        if page is None:
            return httpx.Response(200, json={"total_results": 0, "results": []})
        return httpx.Response(200, content=(folder / f"get_observations_page{page}.json").read_bytes())

    found, notes = told(recorded, taxon="nicrophorus vespilloides", place="Springbok", licences=("cc-by-nc", "cc-by"))
    [row] = found.to_dicts()
    assert row["group_id"] == "inaturalist:57754375"
    assert (row["source_id"], row["licence"], row["creator"]) == ("92152429", "cc-by-nc", "samroom")
    assert row["url"] == "https://static.inaturalist.org/photos/92152429/medium.jpg?1598551272"
    assert (row["observed_on"], row["latitude"]) == (date(2020, 8, 27), 50.0949055)
    assert notes == {"rows": 2, "licence-refused": 1}  # the other observation's photo is all rights reserved
    with pytest.raises(SourceError, match="no taxon named 'Nothing of the kind'"):
        told(recorded, taxon="Nothing of the kind")


@pytest.mark.real
# The other recorded observations were written down again by pyinaturalist: dates and places are not as sent.
@pytest.mark.parametrize("name", ["get_observations_by_id", "get_observation", "get_observation_with_ofvs"])
def test_no_photo_of_a_recorded_observation_is_lost(real_data: Path, name: str) -> None:
    content = json.loads((real_data / "fixtures" / "inaturalist_api" / "v1" / f"{name}.json").read_text())
    found, notes = told(
        lambda _: httpx.Response(200, json=content), photos="all", quality_grade=GRADES,
        licences=("all-rights-reserved", *OPEN_LICENCES),
    )  # fmt: skip
    offered = [str(item["id"]) for observed in content["results"] for item in observed["photos"]]
    assert found["source_id"].to_list() == offered
    assert notes["rows"] == len(offered)
