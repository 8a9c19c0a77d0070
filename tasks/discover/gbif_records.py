"""How an occurrence of GBIF is understood: its pictures, its class, what belongs together. Reads and writes nothing.

iNaturalist's observations make a large part of GBIF's pictures; they keep the identity they have there.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from tasks.core.inaturalist import PHOTO, observation_group, sized
from tasks.discover.config import GbifSource
from tasks.discover.fields import ADDRESS, RANKS, LabelRule
from tasks.discover.licences import accepted, slug

_INATURALIST = "50c9509d-22c7-4a22-a47d-8c48425ef4a7"  # key of the data set "iNaturalist Research-grade Observations"
_OTHER_FORMAT = re.compile(r"^(text|audio|video|application)/(?!octet-stream)", re.IGNORECASE)

Row = dict[str, Any]


class Medium(BaseModel):
    """One item of a record's `media`. All of it is free text of the publisher."""

    model_config = ConfigDict(alias_generator=to_camel)

    identifier: str | None = None
    type: str | None = None
    format: str | None = None
    license: str | None = None
    creator: str | None = None
    rights_holder: str | None = None


class Record(BaseModel):
    """An occurrence. Fields that are not named here are kept too: a class may be told by any."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    key: int
    dataset_key: str | None = None
    references: str | None = None
    occurrence_id: str | None = Field(None, alias="occurrenceID")
    catalog_number: str | None = None
    scientific_name: str | None = None
    event_date: str | None = None
    decimal_latitude: float | None = None
    decimal_longitude: float | None = None
    recorded_by: str | None = None
    media: list[Medium] = []

    @property
    def fields(self) -> dict[str, Any]:
        """What the record says, by GBIF's names."""
        return self.model_dump(by_alias=True, exclude={"media"}, exclude_none=True)

    @property
    def lineage(self) -> Iterator[str]:
        """Its scientific name and the taxa above it, the narrowest first."""
        told = self.model_extra or {}
        names = (told.get("acceptedScientificName"), self.scientific_name, *(told.get(rank) for rank in RANKS))
        return (name for name in names if isinstance(name, str))

    @property
    def keys(self) -> Iterator[int]:
        """GBIF's keys of the same taxa."""
        told = self.model_extra or {}
        return (told[f"{name}Key"] for name in ("acceptedTaxon", "taxon", *RANKS) if f"{name}Key" in told)

    @property
    def taxon(self) -> str | None:
        """The name of the narrowest taxon, without its author where GBIF has it so."""
        told = self.model_extra or {}
        return next((told[rank] for rank in RANKS if told.get(rank)), self.scientific_name)

    @property
    def group(self) -> str:
        """The observation it is: iNaturalist's where it comes from there, else GBIF's occurrence."""
        for text in (self.references, self.occurrence_id):
            if group := observation_group(text):
                return group
        if self.dataset_key == _INATURALIST and (self.catalog_number or "").isdecimal():
            return f"inaturalist:{self.catalog_number}"
        return f"gbif:{self.key}"


def rows_of(record: Record, source: GbifSource, notes: Counter[str]) -> list[Row]:
    """Return the pictures of a record that are taken as rows of candidates; count in `notes` those that are not."""
    licences = accepted(source.licences)
    rows: dict[str, Row] = {}
    for medium in record.media:
        notes["rows"] += 1
        url, licence = (medium.identifier or "").strip(), slug(medium.license)
        fault = _fault(medium)
        if fault is None and licences is not None and licence not in licences:
            fault = "licence-refused"
        elif fault is None and url in rows:
            fault = "duplicates"
        if fault:
            notes[fault] += 1
            continue
        rows[url] = _row(record, medium, source) | {"licence": licence}
        if source.photos == "first":
            break
    return list(rows.values())


def _fault(medium: Medium) -> str | None:
    """Say why a medium can be no picture; None when it may be one."""
    if (medium.type or "StillImage") != "StillImage" or _OTHER_FORMAT.match(medium.format or ""):
        return "not-an-image"
    return None if re.match(ADDRESS, (medium.identifier or "").strip()) else "not-addresses"


def _row(record: Record, medium: Medium, source: GbifSource) -> Row:
    url = (medium.identifier or "").strip()
    page = record.references if re.match(ADDRESS, record.references or "") else None
    return {
        "url": (sized(url, source.photo_size) or url) if re.match(PHOTO, url) else url,
        "label": _label(record, url, source.label),
        # As GBIF itself numbers pictures: /v1/image/cache/occurrence/<key>/media/<MD5 of the address>.
        "source_id": f"{record.key}/{hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()}",
        "group_id": record.group,
        "taxon": record.taxon,
        "creator": medium.creator or medium.rights_holder or record.recorded_by,
        "page_url": page or f"https://www.gbif.org/occurrence/{record.key}",
        "observed_on": _day(record.event_date),
        "latitude": record.decimal_latitude,
        "longitude": record.decimal_longitude,
    }


def _label(record: Record, url: str, rule: str | LabelRule | None) -> str | None:
    if rule is None:
        return None
    if isinstance(rule, str):
        return (record.model_extra or {}).get(rule)
    if rule.taxa:
        classes = {str(taxon).casefold(): name for name, taxa in rule.taxa.items() for taxon in taxa}
        names = (str(name).casefold() for name in (*record.lineage, *record.keys))
        return next((classes[name] for name in names if name in classes), None)
    told = record.fields.get(rule.column) if rule.column else url
    text = "" if told is None else str(told)
    if rule.pattern is None:
        return text or None
    found = re.search(rule.pattern, text)
    return found[1] if found else None


def _day(text: str | None) -> date | None:
    """Return the day of an ISO 8601 date or time; None for a month, a year or more than one day."""
    first, _, last = (text or "").partition("/")
    try:
        day = date.fromisoformat(first[:10])
    except ValueError:
        return None
    return day if last[:10] in {"", first[:10]} else None
