"""Answers of GBIF's API v1, in the shape of the real ones, from the plan of a photo site.

Reads a plan. Writes nothing. Source of shape and limits: https://techdocs.gbif.org/en/openapi/v1/occurrence
"""

from __future__ import annotations

import re
from typing import Any

from tasks.rehearse.plan import Observation, Photo, Taxon
from tasks.rehearse.speaking import Json, QueryError, Question, licence_url, mime_of

MOST = 300  # occurrences a page; more is silently capped
WINDOW = 100_000  # offset + limit
INATURALIST = "50c9509d-22c7-4a22-a47d-8c48425ef4a7"  # key of the data set of iNaturalist's research-grade observations
_MUSEUM = "963a6b96-4d22-4428-86e4-afee52cf4a8e"


def match(question: Question) -> Json:
    """Answer `GET /species/match?name=`."""
    words = question.query.get("name", "").casefold().strip()
    found = next((taxon for taxon in question.plan.taxa if taxon.name.casefold() == words), None)
    if found is None:
        return {"confidence": 100, "matchType": "NONE", "synonym": False}
    return _usage(found) | {"confidence": 99, "matchType": "EXACT", "synonym": False}


def species(question: Question) -> Json:
    """Answer `GET /species/<key>`."""
    found = next((taxon for taxon in question.plan.taxa if str(taxon.id) == question.rest), None)
    if found is None:
        raise QueryError(404, f"Entity not found for uri: /species/{question.rest}")
    return _usage(found) | {"key": found.id, "taxonomicStatus": "ACCEPTED"}


def occurrences(question: Question) -> Json:
    """Answer `GET /occurrence/search`."""
    size, first = min(question.whole("limit", 20), MOST), question.whole("offset", 0)
    if first + size > WINDOW:
        words = f"Max offset of {WINDOW + 1} exceeded: {first} + {size}"
        raise QueryError(400, words, {"error": words})
    taxa = {taxon.id: taxon for taxon in question.plan.taxa}
    mine = [item for item in question.plan.observations if item.service == "gbif"]
    found = [item for item in mine if _matches(item, taxa[item.taxon_id], question)]
    results = [_record(item, taxa[item.taxon_id], question) for item in found[first : first + size]]
    return {
        "offset": first,
        "limit": size,
        "endOfRecords": first + size >= len(found),
        "count": len(found),
        "results": results,
        "facets": [],
    }


def _matches(item: Observation, taxon: Taxon, question: Question) -> bool:
    lineage = {str(higher.id) for higher in taxon.lineage}
    licences = {licence_url(photo.licence) for photo in item.photos}
    return (
        _one(question, "taxonKey", lineage)
        and _one(question, "country", {item.country})
        and _one(question, "basisOfRecord", {item.basis})
        and _one(question, "license", {_coarse(licences)})
        and _ranged(question, "decimalLatitude", item.latitude)
        and _ranged(question, "decimalLongitude", item.longitude)
        and _ranged(question, "eventDate", item.observed_on)
        and _ranged(question, "lastInterpreted", item.changed_on)
        and _inside(question, item)
        and question.query.get("mediaType", "StillImage") == "StillImage"
    )


def _one(question: Question, name: str, values: set[str]) -> bool:
    asked = question.several(name)
    return not asked or not values.isdisjoint(asked)


def _ranged(question: Question, name: str, value: float | str) -> bool:
    """Whether `value` lies in one of the ranges asked for: `from,to`, `*` = open, or a single value."""
    asked = question.several(name)
    try:
        return not asked or any(_between(text, value) for text in asked)
    except ValueError:
        raise QueryError(400, f"Invalid {name}: {asked}", {"error": f"Invalid {name}"}) from None


def _between(text: str, value: float | str) -> bool:
    first, _, last = text.partition(",")
    last = last or first
    if isinstance(value, str):
        return (first == "*" or first[:10] <= value) and (last == "*" or value <= last[:10])
    return (first == "*" or float(first) <= value) and (last == "*" or value <= float(last))


def _inside(question: Question, item: Observation) -> bool:
    """Whether it lies in the box around the polygon asked for; rectangles are all that is played here."""
    if "geometry" not in question.query:
        return True
    numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", question.query["geometry"])]
    longitudes, latitudes = numbers[::2], numbers[1::2]
    return min(longitudes) <= item.longitude <= max(longitudes) and min(latitudes) <= item.latitude <= max(latitudes)


def _coarse(licences: set[str]) -> str:
    """Return GBIF's licence of the record, which is none of the pictures'."""
    if any("-nc" in licence for licence in licences):
        return "CC_BY_NC_4_0"
    return "CC0_1_0" if any("zero" in licence for licence in licences) else "CC_BY_4_0"


def _usage(taxon: Taxon) -> Json:
    return {
        "usageKey": taxon.id,
        "scientificName": taxon.name,
        "canonicalName": taxon.name,
        "rank": taxon.rank.upper(),
        "status": "ACCEPTED",
        **_ranks(taxon),
    }


def _ranks(taxon: Taxon) -> Json:
    ranks: Json = {}
    for higher in taxon.lineage:
        ranks |= {higher.rank: higher.name, f"{higher.rank}Key": higher.id}
    return ranks


def of_inaturalist(item: Observation) -> bool:
    """Whether an occurrence is one of iNaturalist's; the others are a museum's."""
    return item.id % 2 == 0


def _record(item: Observation, taxon: Taxon, question: Question) -> Json:
    theirs = of_inaturalist(item)
    page = f"https://www.inaturalist.org/observations/{item.id}"
    told: Json = {
        "key": item.id,
        "gbifID": str(item.id),
        "datasetKey": INATURALIST if theirs else _MUSEUM,
        "basisOfRecord": item.basis,
        "occurrenceStatus": "PRESENT",
        "taxonKey": taxon.id,
        "acceptedTaxonKey": taxon.id,
        "scientificName": taxon.name,
        "acceptedScientificName": taxon.name,
        "taxonRank": taxon.rank.upper(),
        "taxonomicStatus": "ACCEPTED",
        **_ranks(taxon),
        "decimalLatitude": item.latitude,
        "decimalLongitude": item.longitude,
        "eventDate": item.observed_on,
        "lastInterpreted": f"{item.changed_on}T12:00:00.000+00:00",
        "license": "http://creativecommons.org/licenses/by-nc/4.0/legalcode",
        "countryCode": item.country,
        "recordedBy": item.user,
        "occurrenceID": page if theirs else f"urn:catalog:PAINTED:{item.id}",
        "catalogNumber": str(item.id) if theirs else f"PAINTED-{item.id}",
        "media": [_medium(photo, item, question.plan.base_url) for photo in item.photos],
        "issues": [],
    }
    return told | ({"references": page} if theirs else {})


def _medium(photo: Photo, item: Observation, base_url: str) -> dict[str, Any]:
    address = f"{base_url}/photos/{photo.id}/original.{photo.extension}"
    return {
        "type": "StillImage",
        "format": mime_of(address),
        "identifier": address,
        "license": licence_url(photo.licence) or "© all rights reserved",
        "creator": item.user,
        "rightsHolder": item.user,
    }
