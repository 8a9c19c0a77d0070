"""Photos of observations, from the iNaturalist API v1, each with its own licence.

Reads `/taxa`, `/places/autocomplete` and `/observations`; writes nothing. How it asks is in `tasks.discover.api`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date
from functools import partial
from typing import Any

from pydantic import BaseModel, TypeAdapter

from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.inaturalist import sized
from tasks.discover.api import Api, open_api
from tasks.discover.config import INaturalistSource
from tasks.discover.found import Ask, Cursor, Page, candidate_frame
from tasks.discover.licences import accepted, slug
from tasks.discover.taxa import by_turns, listed, not_one, turns

_PER_PAGE = 200  # the API's limit
_RESERVED = "all-rights-reserved"  # what a photo without a licence is
_ADVICE = "Check `taxon:`, `place:`, `bbox:` and `observed:` in the recipe."


class _Photo(BaseModel):
    id: int
    license_code: str | None = None
    url: str | None = None  # null when a moderator has hidden the photo


class _Taxon(BaseModel):
    id: int
    name: str
    rank: str | None = None


class _Place(BaseModel):
    id: int
    name: str
    display_name: str | None = None


class _User(BaseModel):
    login: str | None = None


class _Observation(BaseModel):
    id: int
    quality_grade: str | None = None
    photos: list[_Photo] = []
    taxon: _Taxon | None = None
    user: _User | None = None
    uri: str | None = None
    observed_on: date | None = None
    location: str | None = None  # "latitude,longitude"; coarse where the observer or the taxon asks for it

    @property
    def group(self) -> str:
        return f"inaturalist:{self.id}"


class _Observations(BaseModel):
    total_results: int
    results: list[_Observation]


class _Taxa(BaseModel):
    results: list[_Taxon]


class _Places(BaseModel):
    results: list[_Place]


_OBSERVATIONS, _TAXA, _PLACES = TypeAdapter(_Observations), TypeAdapter(_Taxa), TypeAdapter(_Places)

Row = dict[str, Any]
Query = dict[str, str | int | float]


def problems(ask: Ask[INaturalistSource]) -> Iterable[HarvestmanError]:  # noqa: ARG001 - as SourceModule has it
    """Yield nothing: without asking, nothing can be known."""
    return ()


def pages(ask: Ask[INaturalistSource]) -> Iterator[Page]:
    """Yield the photos of observations, oldest observation first; with `spread: taxa`, a page of each taxon by turns.

    A photo is taken when its *own* licence is accepted: the API's filter is "at least one photo of the
    observation", and an observation's licence is another thing.

    Asked for changes, observations are looked at whatever their photos' licences and their quality now are, so that
    one that offers nothing any more is told as gone.

    Raises:
        SourceError: no taxon or place, or several, of that name; or the answer is not what the API promises.
        SourceUnavailableError: the API does not answer.
    """
    with open_api(ask, "inaturalist", advice=_ADVICE) as api:
        yield from by_turns(ask.cursor or _start(api, ask), partial(_page, api, ask))


def _start(api: Api, ask: Ask[INaturalistSource]) -> Cursor:
    source = ask.source
    taxa = [name if isinstance(name, int) else _taxon(api, name) for name in listed(source.taxon)]
    place = source.place_id if source.place is None else _place(api, source.place)
    queries = turns(list(dict.fromkeys(taxa)), apart=source.spread == "taxa")
    total = None
    if len(queries) > 1:  # how many there are in all is not the sum: one taxon may hold another
        every: Query = {"taxon_id": ",".join(map(str, taxa)), "per_page": 1}
        total = api.get("/observations", _query(ask, place) | every, _OBSERVATIONS).total_results
    return {"place": place, "total": total, "turns": queries}


def _taxon(api: Api, name: str) -> int:
    """Return the id of the one active taxon with this scientific name."""
    offered = api.get("/taxa", {"q": name, "is_active": "true", "per_page": 30}, _TAXA).results
    exact = [taxon for taxon in offered if taxon.name.casefold() == name.casefold()]
    if len(exact) == 1:
        return exact[0].id
    raise not_one(
        f"iNaturalist has {'several taxa' if exact else 'no taxon'} named {name!r}.",
        [f"{taxon.name} ({taxon.rank}, id {taxon.id})" for taxon in exact or offered],
        hint="Write the scientific name as iNaturalist has it, or the taxon's id, in `taxon:`.",
    )


def _place(api: Api, name: str) -> int:
    """Return the id of the one place shown under this name, else of the one place called so."""
    offered = api.get("/places/autocomplete", {"q": name}, _PLACES).results
    wanted = " ".join(name.split()).casefold()
    shown = [place for place in offered if (place.display_name or place.name).casefold() == wanted]
    fitting = shown or [place for place in offered if place.name.casefold() == wanted]
    if len(fitting) == 1:
        return fitting[0].id
    raise not_one(
        f"iNaturalist has {'several places' if fitting else 'no place'} named {name!r}.",
        [f"{place.display_name or place.name} (id {place.id})" for place in fitting or offered],
        hint="Write the place as it is offered in `place:`, or its id in `place_id:`.",
    )


def _query(ask: Ask[INaturalistSource], place: int | None) -> Query:
    source = ask.source
    query: Query = {}
    if ask.since is None:
        licences = list(dict.fromkeys(slug(licence) or licence.lower() for licence in source.licences))
        query = {"quality_grade": ",".join(source.quality_grade), "photos": "true"}
        if _RESERVED not in licences:
            query["photo_license"] = ",".join(licences)
    else:
        query["updated_since"] = ask.since.astimezone(UTC).isoformat(timespec="seconds")
    if place is not None:
        query["place_id"] = place
    if source.bbox is not None:
        query |= dict(zip(("swlat", "swlng", "nelat", "nelng"), source.bbox, strict=True))
    days = zip(("d1", "d2"), source.observed, strict=True)
    return query | {name: day.isoformat() for name, day in days if day is not None}


def _page(api: Api, ask: Ask[INaturalistSource], cursor: Cursor) -> Page:
    """Ask the first query in turn, with `id_above`: page numbers end at 10,000 results, ids do not."""
    (taxa, above), *rest = cursor["turns"]
    query: Query = {
        "taxon_id": ",".join(map(str, taxa)),
        "order_by": "id",
        "order": "asc",
        "per_page": _PER_PAGE,
        "id_above": above,
    }
    answer = api.get("/observations", _query(ask, cursor["place"]) | query, _OBSERVATIONS)
    over = not answer.results or answer.total_results <= len(answer.results)
    queries = rest if over else [*rest, [taxa, _highest(answer.results, above)]]
    notes = Counter({"rows": 0})
    rows: list[Row] = []
    gone: list[str] = []
    for observation in answer.results:
        taken = list(_photos(observation, ask.source, notes))
        rows += taken
        if ask.since is not None and not taken:
            gone.append(observation.group)
    total = answer.total_results if cursor["total"] is None else cursor["total"]
    following = {"place": cursor["place"], "total": total, "turns": queries}
    return Page(candidate_frame(rows), notes, following, total, len(answer.results), tuple(gone))


def _highest(found: list[_Observation], above: int) -> int:
    highest = max(observation.id for observation in found)
    if highest <= above:
        raise SourceError(
            "iNaturalist's answer does not go forward.",
            received=f"observation {highest} again, after asking for ids above {above}",
            hint="The API may have changed; report this with the address of the API that was used.",
        )
    return highest


def _photos(observation: _Observation, source: INaturalistSource, notes: Counter[str]) -> Iterator[Row]:
    if observation.quality_grade is not None and observation.quality_grade not in source.quality_grade:
        notes["rows"] += len(observation.photos)
        notes["other-grade"] += len(observation.photos)
        return
    licences = accepted(source.licences) or set()
    for photo in observation.photos:
        notes["rows"] += 1
        licence = slug(photo.license_code) if photo.license_code else _RESERVED
        url = sized(photo.url or "", source.photo_size)
        if licence not in licences:
            notes["licence-refused"] += 1
        elif url is None:
            notes["hidden"] += 1
        else:
            yield _row(observation) | {"url": url, "source_id": str(photo.id), "licence": licence}
            if source.photos == "first":
                return


def _row(observation: _Observation) -> Row:
    latitude, longitude = _coordinates(observation.location)
    return {
        "group_id": observation.group,
        "taxon": observation.taxon.name if observation.taxon else None,
        "creator": observation.user.login if observation.user else None,
        "page_url": observation.uri or f"https://www.inaturalist.org/observations/{observation.id}",
        "observed_on": observation.observed_on,
        "latitude": latitude,
        "longitude": longitude,
    }


def _coordinates(location: str | None) -> tuple[float | None, float | None]:
    try:
        latitude, longitude = (float(part) for part in (location or "").split(","))
    except ValueError:
        return None, None
    return latitude, longitude
