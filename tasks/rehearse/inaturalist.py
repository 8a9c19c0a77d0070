"""Answers of the iNaturalist API v1, in the shape of the real ones, from the plan of a photo site.

Reads a plan. Writes nothing. Source of shape and limits: https://api.inaturalist.org/v1/docs/
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

from tasks.rehearse.plan import Observation, Photo, Plan, Taxon

MOST = 200  # observations a page
WINDOW = 10_000  # results that can be paged through with `page`

Json = dict[str, Any]


class QueryError(Exception):
    """A query the API does not answer: HTTP status and message."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the two apart for the answer."""
        super().__init__(message)
        self.status, self.message = status, message


def observations(plan: Plan, query: Mapping[str, str]) -> Json:
    """Answer `GET /v1/observations`."""
    found = [item for item in plan.observations if _matches(item, plan, query)]
    found.sort(key=lambda item: item.id, reverse=query.get("order", "desc") == "desc")
    page, size = max(_whole(query, "page", 1), 1), min(_whole(query, "per_page", 30), MOST)
    if page * size > WINDOW:
        raise QueryError(403, f"Result window is too large, page x per_page must be at most {WINDOW}")
    names = {taxon.id: taxon for taxon in plan.taxa}
    results = [
        _observation(item, names[item.taxon_id], plan.base_url) for item in found[(page - 1) * size : page * size]
    ]
    return {"total_results": len(found), "page": page, "per_page": size, "results": results}


def taxa(plan: Plan, query: Mapping[str, str]) -> Json:
    """Answer `GET /v1/taxa?q=`: names that contain the words, the exact one first."""
    words = query.get("q", "").casefold().strip()
    found = [taxon for taxon in plan.taxa if words in taxon.name.casefold()]
    found.sort(key=lambda taxon: (taxon.name.casefold() != words, taxon.name))
    size = min(_whole(query, "per_page", 30), MOST)
    results = [_taxon(taxon, plan) | {"matched_term": taxon.name} for taxon in found[:size]]
    return {"total_results": len(found), "page": 1, "per_page": size, "results": results}


def taxa_by_id(plan: Plan, ids: str) -> Json:
    """Answer `GET /v1/taxa/<id>[,<id>…]`."""
    wanted = set(_integers("id", ids))
    found = [_taxon(taxon, plan) for taxon in plan.taxa if taxon.id in wanted]
    return {"total_results": len(found), "page": 1, "per_page": 30, "results": found}


def _integers(name: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise QueryError(422, f"Invalid {name}: {text}") from None


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    return _integers(name, query[name])[0] if name in query else default


def _matches(item: Observation, plan: Plan, query: Mapping[str, str]) -> bool:
    if "taxon_name" in query:
        wanted = query["taxon_name"].casefold()
        if item.taxon_id not in {taxon.id for taxon in plan.taxa if taxon.name.casefold() == wanted}:
            return False
    licences = {photo.licence for photo in item.photos}
    return (
        ("taxon_id" not in query or item.taxon_id in _integers("taxon_id", query["taxon_id"]))
        and (
            "place_id" not in query
            or query["place_id"] == "any"
            or item.place_id in _integers("place_id", query["place_id"])
        )
        and ("quality_grade" not in query or item.quality_grade in query["quality_grade"].split(","))
        and ("photo_license" not in query or not licences.isdisjoint(query["photo_license"].lower().split(",")))
        and ("id" not in query or item.id in _integers("id", query["id"]))
        and ("id_above" not in query or item.id > _whole(query, "id_above", 0))
        and ("id_below" not in query or item.id < _whole(query, "id_below", 0))
    )


def _observation(item: Observation, taxon: Taxon, base_url: str) -> Json:
    day = dt.date.fromisoformat(item.observed_on)
    photos = [_photo(photo, item.user, base_url) for photo in item.photos]
    return {
        "id": item.id,
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{base_url}/observations/{item.id}")),
        "quality_grade": item.quality_grade,
        "observed_on": item.observed_on,
        "observed_on_details": {"date": item.observed_on, "year": day.year, "month": day.month, "day": day.day},
        "time_observed_at": None,
        "species_guess": taxon.name,
        "license_code": item.photos[0].licence,
        "description": None,
        "captive": False,
        "spam": False,
        "flags": [],
        "tags": [],
        "sounds": [],
        "place_ids": [1, item.place_id],
        "place_guess": "Somewhere painted",
        "location": f"{item.latitude},{item.longitude}",
        "geojson": {"type": "Point", "coordinates": [item.longitude, item.latitude]},
        "positional_accuracy": 25,
        "obscured": False,
        "geoprivacy": None,
        "uri": f"{base_url}/observations/{item.id}",
        "user": {"id": sum(item.user.encode()), "login": item.user, "name": item.user.capitalize(), "spam": False},
        "taxon": _named(taxon),
        "community_taxon_id": taxon.id,
        "identifications_count": 2,
        "photos": photos,
        "observation_photos": [
            {"id": photo["id"] + 1, "position": rank, "photo": photo} for rank, photo in enumerate(photos)
        ],
    }


def _photo(photo: Photo, user: str, base_url: str) -> Json:
    rights = f"some rights reserved ({photo.licence.upper()})" if photo.licence else "all rights reserved"
    return {
        "id": photo.id,
        "license_code": photo.licence,
        "attribution": f"(c) {user}, {rights}",
        "url": f"{base_url}/photos/{photo.id}/square.{photo.extension}",
        "original_dimensions": {"width": photo.width, "height": photo.height},
        "flags": [],
    }


def _named(taxon: Taxon) -> Json:
    rank, level = ("species", 10) if " " in taxon.name else ("genus", 20)
    return {
        "id": taxon.id,
        "name": taxon.name,
        "rank": rank,
        "rank_level": level,
        "is_active": True,
        "extinct": False,
        "ancestor_ids": [48460, taxon.id],
        "parent_id": 48460,
        "iconic_taxon_name": "Animalia",
        "default_photo": None,
        "preferred_common_name": None,
    }


def _taxon(taxon: Taxon, plan: Plan) -> Json:
    return _named(taxon) | {"observations_count": sum(item.taxon_id == taxon.id for item in plan.observations)}
