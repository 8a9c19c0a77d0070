"""Photos of observations, from the iNaturalist API v1.

Reads `/taxa` and `/observations`; writes nothing. How it asks is in `tasks.discover.api`.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx
from pydantic import BaseModel, TypeAdapter

from tasks.core.errors import SourceError
from tasks.core.network import NetworkPolicy
from tasks.discover.api import Api, open_api
from tasks.discover.config import INaturalistSource
from tasks.discover.found import Discovered, candidate_frame, counted

_PER_PAGE = 200  # the API's limit
_SIZE = re.compile(r"/(square|thumb|small|medium|large|original)(?=\.[^/]*$)")


class _Photo(BaseModel):
    id: int
    license_code: str | None = None
    url: str | None = None  # null when a moderator has hidden the photo


class _Taxon(BaseModel):
    id: int
    name: str
    rank: str | None = None


class _User(BaseModel):
    login: str | None = None


class _Observation(BaseModel):
    id: int
    photos: list[_Photo] = []
    taxon: _Taxon | None = None
    user: _User | None = None
    uri: str | None = None
    observed_on: date | None = None
    location: str | None = None  # "latitude,longitude"; coarse where the observer or the taxon asks for it


_OBSERVATIONS = TypeAdapter(list[_Observation])
_TAXA = TypeAdapter(list[_Taxon])

Row = dict[str, Any]


@dataclass(frozen=True)
class _Query:
    source: INaturalistSource
    label: str


def discover_inaturalist(
    source: INaturalistSource,
    *,
    label: str,
    network: NetworkPolicy,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Discovered:
    """Ask for the photos of observations, oldest observation first, until `limit` or the end.

    A photo is taken when its *own* licence is accepted: the API's filter is "at least one photo of the
    observation", and an observation's licence is another thing.

    Args:
        source: its block of the recipe.
        label: the class.
        network: who we are, and the API's address.
        transport: recorded answers instead of the network.

    Raises:
        SourceError: no taxon, or several, of that name; or the answer is not what the API promises.
        SourceUnavailableError: the API does not answer.
    """
    return asyncio.run(_collect(_Query(source, label), network, transport))


async def _collect(query: _Query, network: NetworkPolicy, transport: httpx.AsyncBaseTransport | None) -> Discovered:
    notes = Counter({"rows": 0})
    rows: dict[str, Row] = {}
    async with open_api(network, transport=transport) as api:
        taxa = await _taxon_ids(api, query.source)
        async for observation in _observations(api, query.source, taxa):
            notes["observations"] += 1
            for row in _photos(observation, query, notes):
                if row["url"] in rows:
                    notes["duplicates"] += 1
                elif len(rows) < query.source.limit:
                    rows[row["url"]] = row
            if len(rows) >= query.source.limit:
                break
    return Discovered(candidate_frame(rows.values()), counted(notes, candidates=len(rows)))


async def _taxon_ids(api: Api, source: INaturalistSource) -> list[int]:
    wanted = source.taxon if isinstance(source.taxon, tuple) else (source.taxon,)
    return [int(taxon) if str(taxon).isdigit() else await _resolve(api, str(taxon)) for taxon in wanted]


async def _resolve(api: Api, name: str) -> int:
    """Return the id of the one active taxon with this scientific name."""
    offered = await api.results("/taxa", {"q": name, "is_active": "true", "per_page": 30}, _TAXA)
    exact = [taxon for taxon in offered if taxon.name.casefold() == name.strip().casefold()]
    if len(exact) == 1:
        return exact[0].id
    listed = "; ".join(f"{taxon.name} ({taxon.rank}, id {taxon.id})" for taxon in (exact or offered)[:10])
    raise SourceError(
        f"iNaturalist has {'several taxa' if exact else 'no taxon'} named {name!r}.",
        received=f"Offered: {listed}." if listed else "Nothing similar either.",
        hint="Write the scientific name as iNaturalist has it, or the taxon's id, in `taxon:`.",
    )


async def _observations(api: Api, source: INaturalistSource, taxa: list[int]) -> AsyncIterator[_Observation]:
    """Page with `id_above`: page numbers end at 10,000 results, ids do not."""
    query: dict[str, str | int] = {
        "taxon_id": ",".join(map(str, taxa)),
        "quality_grade": ",".join(source.quality_grade),
        "photo_license": ",".join(source.licences),
        "photos": "true",
        "order_by": "id",
        "order": "asc",
        "per_page": _PER_PAGE,
    }
    if source.place_id is not None:
        query["place_id"] = source.place_id
    last = 0
    while page := await api.results("/observations", {**query, "id_above": last}, _OBSERVATIONS):
        for observation in page:
            yield observation
        highest = max(observation.id for observation in page)
        if highest <= last:
            raise SourceError(
                "iNaturalist's answer does not go forward.",
                received=f"observation {highest} again, after asking for ids above {last}",
                hint="The API may have changed; report this with the address of the API that was used.",
            )
        last = highest


def _photos(observation: _Observation, query: _Query, notes: Counter[str]) -> Iterator[Row]:
    licences = {licence.lower() for licence in query.source.licences}
    for photo in observation.photos:
        notes["rows"] += 1
        licence = (photo.license_code or "").lower()
        if not licence or licence not in licences:  # no licence is all rights reserved
            notes["licence-refused"] += 1
        elif photo.url is None or not _SIZE.search(photo.url):
            notes["hidden"] += 1
        else:
            yield _row(observation, photo, query) | {"licence": licence}
            if query.source.photos == "first":
                return


def _row(observation: _Observation, photo: _Photo, query: _Query) -> Row:
    latitude, longitude = _coordinates(observation.location)
    return {
        "url": _SIZE.sub(f"/{query.source.photo_size}", str(photo.url)),
        "label": query.label,
        "source": "inaturalist",
        "source_id": str(photo.id),
        "group_id": f"inaturalist:{observation.id}",
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
