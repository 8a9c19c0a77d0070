"""Answers of the iNaturalist API v1, in the shape of the real ones, from the plan of a photo site.

Reads a plan. Writes nothing. Source of shape and limits: https://api.inaturalist.org/v1/docs/
"""

from __future__ import annotations

import datetime as dt
import uuid

from tasks.rehearse.plan import Observation, Photo, Plan, Taxon
from tasks.rehearse.speaking import Json, QueryError, Question, integers

MOST = 200  # observations a page
WINDOW = 10_000  # results that can be paged through with `page`
LEVELS = {"kingdom": 70, "phylum": 60, "class": 50, "order": 40, "family": 30, "genus": 20, "species": 10}
_LIFE = 48_460  # id of the taxon above all others


def observations(question: Question) -> Json:
    """Answer `GET /v1/observations`."""
    plan = question.plan
    taxa = {taxon.id: taxon for taxon in plan.taxa}
    mine = [item for item in plan.observations if item.service == "inaturalist"]
    found = [item for item in mine if _matches(item, taxa[item.taxon_id], question)]
    found.sort(key=lambda item: item.id, reverse=question.query.get("order", "desc") == "desc")
    page, size = max(question.whole("page", 1), 1), min(question.whole("per_page", 30), MOST)
    if page * size > WINDOW:
        raise QueryError(403, f"Result window is too large, page x per_page must be at most {WINDOW}")
    results = [
        _observation(item, taxa[item.taxon_id], plan.base_url) for item in found[(page - 1) * size : page * size]
    ]
    return {"total_results": len(found), "page": page, "per_page": size, "results": results}


def taxa(question: Question) -> Json:
    """Answer `GET /v1/taxa?q=`: names that contain the words, the exact one first."""
    plan, words = question.plan, question.query.get("q", "").casefold().strip()
    found = [taxon for taxon in plan.taxa if words in taxon.name.casefold()]
    found.sort(key=lambda taxon: (taxon.name.casefold() != words, taxon.name))
    size = min(question.whole("per_page", 30), MOST)
    results = [_taxon(taxon, plan) | {"matched_term": taxon.name} for taxon in found[:size]]
    return {"total_results": len(found), "page": 1, "per_page": size, "results": results}


def taxa_by_id(question: Question) -> Json:
    """Answer `GET /v1/taxa/<id>[,<id>…]`."""
    wanted = set(integers("id", question.rest))
    found = [_taxon(taxon, question.plan) for taxon in question.plan.taxa if taxon.id in wanted]
    return {"total_results": len(found), "page": 1, "per_page": 30, "results": found}


def places(question: Question) -> Json:
    """Answer `GET /v1/places/autocomplete?q=`: places whose name begins with the words."""
    words = question.query.get("q", "").casefold().strip()
    found = [place for place in question.plan.places if place.name.casefold().startswith(words)]
    results = [
        {
            "id": place.id,
            "name": place.name.partition(",")[0],
            "display_name": place.name,
            "slug": place.name.casefold().replace(" ", "-"),
            "admin_level": None,
            "place_type": 12,
            "bbox_area": 1.0,
            "ancestor_place_ids": [place.id],
            "location": "0.0,0.0",
            "bounding_box_geojson": None,
            "geometry_geojson": None,
        }
        for place in found
    ]
    return {"total_results": len(found), "page": 1, "per_page": len(found), "results": results}


def _matches(item: Observation, taxon: Taxon, question: Question) -> bool:
    query, lineage = question.query, taxon.lineage
    wanted = query.get("taxon_name", taxon.name).casefold()
    licences = {photo.licence for photo in item.photos}
    return (
        any(higher.name.casefold() == wanted for higher in lineage)
        and _among(question, "taxon_id", {higher.id for higher in lineage})
        and (query.get("place_id") == "any" or _among(question, "place_id", {item.place_id}))
        and ("quality_grade" not in query or item.quality_grade in question.values("quality_grade"))
        and ("photo_license" not in query or not licences.isdisjoint(question.values("photo_license")))
        and _among(question, "id", {item.id})
        and ("id_above" not in query or item.id > question.whole("id_above", 0))
        and ("id_below" not in query or item.id < question.whole("id_below", 0))
        and _seen_then(item, question)
        and _seen_there(item, question)
    )


def _among(question: Question, name: str, numbers: set[int]) -> bool:
    return name not in question.query or not numbers.isdisjoint(integers(name, question.query[name]))


def _seen_then(item: Observation, question: Question) -> bool:
    query = question.query
    return query.get("d1", "")[:10] <= item.observed_on <= query.get("d2", "9")[:10] and (
        query.get("updated_since", "")[:10] <= item.changed_on
    )


def _seen_there(item: Observation, question: Question) -> bool:
    south, west, north, east = (question.number(name) for name in ("swlat", "swlng", "nelat", "nelng"))
    if south is None or west is None or north is None or east is None:
        return True
    across = west > east  # the 180th meridian
    inside = (item.longitude >= west or item.longitude <= east) if across else west <= item.longitude <= east
    return south <= item.latitude <= north and inside


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
        "created_at": f"{item.observed_on}T18:00:00+00:00",
        "updated_at": f"{item.changed_on}T12:00:00+00:00",
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
    parents = [_LIFE, *(higher.id for higher in taxon.above)]
    return {
        "id": taxon.id,
        "name": taxon.name,
        "rank": taxon.rank,
        "rank_level": LEVELS[taxon.rank],
        "is_active": True,
        "extinct": False,
        "ancestor_ids": [*parents, taxon.id],
        "parent_id": parents[-1],
        "iconic_taxon_name": "Animalia",
        "default_photo": None,
        "preferred_common_name": None,
    }


def _taxon(taxon: Taxon, plan: Plan) -> Json:
    return _named(taxon) | {"observations_count": sum(item.taxon_id == taxon.id for item in plan.observations)}
