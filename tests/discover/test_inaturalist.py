from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks.core.errors import BlockedAddressError, SourceError, SourceUnavailableError
from tasks.core.network import NetworkPolicy
from tasks.core.tables import CANDIDATES
from tasks.discover.api import PACERS, Pacer
from tasks.discover.config import INaturalistSource
from tasks.discover.found import Discovered
from tasks.discover.inaturalist import discover_inaturalist

NETWORK = NetworkPolicy(user_agent="harvestman-test", inaturalist_api="http://127.0.0.1:1/v1")
Json = dict[str, Any]


def photo(number: int, licence: str | None = "cc-by", **changes: object) -> Json:
    return {"id": number, "license_code": licence, "url": f"https://x.org/photos/{number}/square.jpeg?17", **changes}


def observation(number: int, *photos: Json, **changes: object) -> Json:
    return {
        "id": number,
        "photos": list(photos),
        "taxon": {"id": 3, "name": "Argiope aurantia"},
        "user": {"login": "ann"},
        "uri": f"https://inat.org/observations/{number}",
        "observed_on": "2024-05-06",
        "location": "38.5,-9.1",
        **changes,
    }


class Api:
    """A small iNaturalist: answers `/observations` by `id_above`, `/taxa` with what it is given."""

    def __init__(self, *observations: Json, taxa: tuple[Json, ...] = ()) -> None:
        self.observations, self.taxa, self.asked = observations, taxa, list[httpx.URL]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        if request.url.path.endswith("/taxa"):
            return httpx.Response(200, json={"results": list(self.taxa)})
        above, size = int(request.url.params["id_above"]), int(request.url.params["per_page"])
        page = [item for item in self.observations if item["id"] > above][:size]
        return httpx.Response(200, json={"total_results": len(self.observations), "results": page})


def ask(handler: Callable[[httpx.Request], httpx.Response], **fields: object) -> Discovered:
    source = INaturalistSource.model_validate({"source": "inaturalist", "taxon": 3, **fields})
    return discover_inaturalist(source, label="spider", network=NETWORK, transport=httpx.MockTransport(handler))


def test_a_photo_becomes_a_candidate_with_all_that_credits_and_splits_need() -> None:
    found = ask(Api(observation(57, photo(9))))
    assert dict(found.candidates.schema) == CANDIDATES
    assert found.candidates.to_dicts() == [{
        "url": "https://x.org/photos/9/medium.jpeg?17", "label": "spider", "source": "inaturalist", "source_id": "9",
        "group_id": "inaturalist:57", "taxon": "Argiope aurantia", "licence": "cc-by", "creator": "ann",
        "page_url": "https://inat.org/observations/57", "observed_on": date(2024, 5, 6),
        "latitude": 38.5, "longitude": -9.1,
    }]  # fmt: skip
    assert found.notes == {"rows": 1, "observations": 1, "candidates": 1}


def test_the_query_carries_what_the_recipe_says() -> None:
    api = Api()
    ask(api, taxon=(3, "48"), quality_grade=("research", "needs_id"), place_id=7, licences=("cc0", "cc-by"))
    [url] = api.asked
    assert dict(url.params) == {
        "taxon_id": "3,48", "quality_grade": "research,needs_id", "place_id": "7", "photo_license": "cc0,cc-by",
        "photos": "true",
        "order_by": "id", "order": "asc", "per_page": "200", "id_above": "0",
    }  # fmt: skip
    assert url.path == "/v1/observations"


def test_pages_follow_the_last_id_until_an_empty_one() -> None:
    api = Api(*(observation(n * 10, photo(n)) for n in range(1, 451)))
    found = ask(api)
    assert found.candidates.height == 450
    assert [url.params["id_above"] for url in api.asked] == ["0", "2000", "4000", "4500"]


def test_no_more_photos_than_the_limit_are_taken_and_no_more_pages_asked() -> None:
    api = Api(*(observation(n, photo(n)) for n in range(1, 451)))
    found = ask(api, limit=150)
    assert sorted(map(int, found.candidates["source_id"])) == list(range(1, 151))
    assert len(api.asked) == 1


def test_the_limit_holds_within_an_observation() -> None:
    api = Api(*(observation(n, photo(n * 10), photo(n * 10 + 1)) for n in range(1, 5)))
    assert sorted(ask(api, limit=3, photos="all").candidates["source_id"]) == ["10", "11", "20"]


def test_each_photo_is_judged_by_its_own_licence() -> None:
    api = Api(
        observation(1, photo(1, None), photo(2, "cc-by-nc"), photo(3, "cc0"), photo(4, "CC0"), license_code="cc0")
    )
    first = ask(api, licences=("cc0",))
    assert first.candidates["source_id"].to_list() == ["3"]
    assert first.notes["licence-refused"] == 2
    assert ask(api, licences=("cc0",), photos="all").candidates["source_id"].to_list() == ["3", "4"]
    assert ask(api, licences=("cc0", "null", "")).candidates["source_id"].to_list() == ["3"]


def test_only_the_size_word_of_an_address_changes() -> None:
    odd = photo(1, url="https://static.x.org/photos/square/1/square.JPG")
    assert ask(Api(observation(1, odd)), photo_size="original").candidates["url"].to_list() == [
        "https://static.x.org/photos/square/1/original.JPG"
    ]


def test_hidden_photos_and_missing_fields_cost_nothing_but_themselves() -> None:
    bare = observation(2, photo(2), taxon=None, user=None, observed_on=None, location=None)
    found = ask(Api(observation(1, photo(1, url=None)), bare))
    [row] = found.candidates.to_dicts()
    assert (row["taxon"], row["creator"], row["observed_on"], row["latitude"]) == (None, None, None, None)
    assert found.notes["hidden"] == 1


def test_a_photo_of_two_observations_is_one_candidate() -> None:
    found = ask(Api(observation(1, photo(5)), observation(2, photo(5))))
    assert found.candidates.height == 1
    assert found.notes["duplicates"] == 1


def test_a_name_is_resolved_to_the_one_taxon_that_has_it() -> None:
    taxa = ({"id": 8, "name": "Argiope bruennichi", "rank": "species"}, {"id": 5, "name": "Argiope", "rank": "genus"})
    api = Api(observation(1, photo(1)), taxa=taxa)
    ask(api, taxon="argiope")
    assert api.asked[0].params["q"] == "argiope"
    assert api.asked[1].params["taxon_id"] == "5"


def test_a_name_that_fits_none_or_several_is_refused_with_what_was_offered() -> None:
    none = Api(taxa=({"id": 8, "name": "Argiope bruennichi", "rank": "species"},))
    with pytest.raises(SourceError, match=r"no taxon named 'Argiop'(.|\n)*Argiope bruennichi \(species, id 8\)"):
        ask(none, taxon="Argiop")
    several = Api(taxa=({"id": 1, "name": "Morus", "rank": "genus"}, {"id": 2, "name": "Morus", "rank": "genus"}))
    with pytest.raises(SourceError, match=r"several taxa named 'Morus'(.|\n)*id 1\); Morus \(genus, id 2"):
        ask(several, taxon="Morus")


def test_a_429_is_waited_out_as_long_as_it_asks() -> None:
    answers = iter([httpx.Response(status, headers={"Retry-After": "0"}) for status in (429, 503)])
    api = Api(observation(1, photo(1)))
    found = ask(lambda request: next(answers, None) or api(request))
    assert found.candidates.height == 1


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(429, headers={"Retry-After": "9999"}), httpx.Response(500, headers={"Retry-After": "0"})],
)
def test_an_api_that_stays_busy_is_unavailable(answer: httpx.Response) -> None:
    with pytest.raises(SourceUnavailableError, match="observations does not answer"):
        ask(lambda _: httpx.Response(answer.status_code, headers=answer.headers))


def test_silence_names_the_address() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("no answer", request=request)

    with pytest.raises(SourceUnavailableError, match=r"http://127\.0\.0\.1:1/v1/observations does not answer"):
        ask(silent)


def test_a_query_that_is_refused_says_with_what_words() -> None:
    with pytest.raises(SourceError, match="Unknown taxon_id"):
        ask(lambda _: httpx.Response(422, json={"error": "Unknown taxon_id 3"}))


@pytest.mark.parametrize(
    ("body", "fault"),
    [(b"<html>", "<html>"), (b"[]", r"\[\]"), (b'{"total": 0}', "total"),
     (json.dumps({"results": [{"id": "x", "photos": []}]}).encode(), r"results\.0\.id"),
     (json.dumps({"results": [{"id": 1, "photos": [{"url": None}]}]}).encode(), r"results\.0\.photos\.0\.id")],
)  # fmt: skip
def test_an_answer_of_another_shape_is_refused_naming_the_field(body: bytes, fault: str) -> None:
    with pytest.raises(SourceError, match=rf"another shape(.|\n)*{fault}"):
        ask(lambda _: httpx.Response(200, content=body))


def test_an_answer_that_repeats_itself_does_not_loop_for_ever() -> None:
    with pytest.raises(SourceError, match="does not go forward"):
        ask(lambda _: httpx.Response(200, json={"results": [observation(1, photo(1))]}))


def test_an_api_at_a_private_address_is_blocked_unless_allowed() -> None:
    with pytest.raises(BlockedAddressError):
        discover_inaturalist(INaturalistSource(source="inaturalist", taxon=3), label="x", network=NETWORK)
    allowed = NETWORK.model_copy(update={"allowed_hosts": ("127.0.0.1:1",)})
    with pytest.raises(SourceUnavailableError, match="does not answer"):
        discover_inaturalist(INaturalistSource(source="inaturalist", taxon=3), label="x", network=allowed)


def test_the_real_host_is_asked_at_most_55_times_a_minute_and_no_other_host_is_slowed() -> None:
    assert list(PACERS) == ["api.inaturalist.org"]
    assert PACERS["api.inaturalist.org"].per_minute == 55
    pacer = Pacer(55)
    delays = [pacer.delay() for _ in range(56)]
    assert delays[0] == 0
    assert delays[55] == pytest.approx(60, abs=1)


@pytest.mark.real
def test_recorded_answers_of_the_real_api_are_understood(real_data: Path) -> None:
    folder = real_data / "fixtures" / "inaturalist_api" / "v1"

    def recorded(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/taxa"):
            return httpx.Response(200, content=(folder / "get_taxa.json").read_bytes())
        if request.url.params["id_above"] != "0":
            return httpx.Response(200, json={"results": []})
        return httpx.Response(200, content=(folder / "get_observations_page1.json").read_bytes())

    found = ask(recorded)
    row = found.candidates.to_dicts()[0]
    assert row["group_id"] == "inaturalist:57754375"
    assert (row["source_id"], row["licence"], row["creator"]) == ("92152429", "cc-by-nc", "samroom")
    assert row["url"] == "https://static.inaturalist.org/photos/92152429/medium.jpg?1598551272"
    assert (row["observed_on"], row["latitude"]) == (date(2020, 8, 27), 50.0949055)
    with pytest.raises(SourceError, match="no taxon named 'Nothing of the kind'"):
        ask(recorded, taxon="Nothing of the kind")
