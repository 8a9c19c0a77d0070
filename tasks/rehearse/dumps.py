"""Observations as files: iNaturalist's export, the tables of its open data, a Darwin Core Archive.

Reads what has been put up. Writes below `<site>/files`.
"""

from __future__ import annotations

import io
import uuid
import zipfile
import zlib
from collections.abc import Callable, Sequence
from gzip import compress
from pathlib import Path

from tasks.core.files import write_atomic
from tasks.rehearse.gbif import INATURALIST, of_inaturalist
from tasks.rehearse.inaturalist import LEVELS
from tasks.rehearse.labels import RANKS
from tasks.rehearse.observations import Seen
from tasks.rehearse.plan import Photo, Taxon
from tasks.rehearse.rows import Row, Site, cells, parted, plain, table
from tasks.rehearse.speaking import licence_url, mime_of
from tasks.rehearse.taxa import all_taxa

_EPOCH = (2020, 1, 1, 0, 0, 0)  # date of every member: the same photos give the same archive
_REPEATED = 7  # every so many rows of a Darwin Core Archive's pictures there is one twice, as in real ones
_LIFE = "48460"
_PHOTOS = ("photo_uuid", "photo_id", "observation_uuid", "observer_id", "extension", "license", "width", "height",
           "position")  # fmt: skip
_OBSERVATIONS = ("observation_uuid", "observer_id", "latitude", "longitude", "positional_accuracy", "taxon_id",
                 "quality_grade", "observed_on", "anomaly_score")  # fmt: skip
_TAXA = ("taxon_id", "ancestry", "rank_level", "rank", "name", "active")
_OBSERVERS = ("observer_id", "login", "name")
_DWC, _TERMS = "http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/"
_PICTURE = ("type", "format", "identifier", "references", "created", "creator", "license", "rightsHolder")
_META = """<?xml version="1.0" encoding="UTF-8"?>
<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">
  <core encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" ignoreHeaderLines="1"
    rowType="http://rs.tdwg.org/dwc/terms/Occurrence">
    <files><location>occurrence.txt</location></files>
    <id index="0"/>
{core}
  </core>
  <extension encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" ignoreHeaderLines="1"
    rowType="http://rs.gbif.org/terms/1.0/Multimedia">
    <files><location>multimedia.txt</location></files>
    <coreid index="0"/>
{extension}
  </extension>
</archive>
"""


def write_export(seen: Sequence[Seen], targets: Sequence[Path], site: Site) -> None:
    """Write iNaturalist's export: CSV files, or zips with one each. One photo of each observation is in it."""
    taxa = _by_id(seen, site.drop)
    rows = [_exported(item, taxa[item.observation.taxon_id], site) for item in seen]
    for target, part in zip(targets, parted(rows, len(targets)), strict=True):
        body = table(part, ".csv")
        packed = _zipped({"observations-500000.csv": body}) if target.suffix == ".zip" else body
        _write(target, packed)


def write_open_data(seen: Sequence[Seen], targets: Sequence[Path], site: Site) -> None:
    """Write the four tables of iNaturalist's open data, the two large ones gzipped."""
    users = sorted({item.observation.user for item in seen})
    higher = {taxon.id: taxon for found in _by_id(seen, site.drop).values() for taxon in found.lineage}
    photos = [
        _open_photo(item, photo, position) for item in seen for position, photo in enumerate(item.observation.photos)
    ]
    observations = [_open_observation(item) for item in seen]
    # Real names hold quotes that open no quoted field.
    names = [
        {"observer_id": _number(user), "login": user, "name": f'{user.capitalize()} "the spider'} for user in users
    ]
    taxa = [_open_taxon(higher[number]) for number in sorted(higher)]
    _write(targets[0] / "photos.csv.gz", compress(plain(photos, _PHOTOS), mtime=0))
    _write(targets[0] / "observations.csv.gz", compress(plain(observations, _OBSERVATIONS), mtime=0))
    _write(targets[0] / "taxa.csv", plain(taxa, _TAXA))
    _write(targets[0] / "observers.csv", plain(names, _OBSERVERS))


def write_darwin_core(seen: Sequence[Seen], targets: Sequence[Path], site: Site) -> None:
    """Write a Darwin Core Archive as a zip or a folder, or its table of pictures alone, as the suffix says."""
    taxa, alone = _by_id(seen, site.drop), targets[0].suffix not in {".zip", ""}
    core, pictures = [], list[Row]()
    for item in seen:
        own = cells(item.slot, item.kind, site.drop, unique=str(item.observation.id)) if _by_cells(item) else {}
        core.append(_occurrence(item, taxa[item.observation.taxon_id]) | own)
        for photo in item.observation.photos:
            pictures.append(_picture(item, photo, site.base_url) | (own if alone else {}))
            if len(pictures) % _REPEATED == 0:
                pictures.append(pictures[-1])
    own_columns = [name for name in core[0] if name != "gbifID"] if core else []
    more = [name for name in (pictures[0] if pictures else {}) if name not in {"gbifID", *_PICTURE}]
    multimedia = plain(pictures, ("gbifID", *_PICTURE, *more))
    if alone:
        _write(targets[0], multimedia)
        return
    meta = _META.format(core=_fields(own_columns, _DWC), extension=_fields(_PICTURE, _TERMS))
    bodies = {
        "meta.xml": meta.encode(),
        "occurrence.txt": plain(core, ("gbifID", *own_columns)),
        "multimedia.txt": multimedia,
    }
    if targets[0].suffix == ".zip":
        _write(targets[0], _zipped(bodies))
    else:
        for name, body in bodies.items():
            _write(targets[0] / name, body)


WRITERS: dict[str, Callable[[Sequence[Seen], Sequence[Path], Site], None]] = {
    "inaturalist_export": write_export,
    "inaturalist_open_data": write_open_data,
    "darwin_core": write_darwin_core,
}
"""Source to what writes its files from observations."""


def _by_id(seen: Sequence[Seen], drop: Sequence[str]) -> dict[int, Taxon]:
    return {taxon.id: taxon for taxon in all_taxa((item.slot for item in seen), drop)}


def _by_cells(item: Seen) -> bool:
    """Whether columns of the row, not its taxon, tell the class or are looked at by `where:`."""
    rule = item.slot.rule
    return bool(item.slot.options.get("where") or (rule and (rule.column or not rule.taxa)))


def _exported(item: Seen, taxon: Taxon, site: Site) -> Row:
    seen, photo = item.observation, item.observation.photos[0]
    row = {
        "id": str(seen.id),
        "observed_on": seen.observed_on,
        "user_login": seen.user,
        "quality_grade": seen.quality_grade,
        "license": (photo.licence or "").upper(),
        "url": f"https://www.inaturalist.org/observations/{seen.id}",
        "image_url": f"{site.base_url}/photos/{photo.id}/medium.{photo.extension}",
        "place_guess": "Somewhere, painted",
        "latitude": str(seen.latitude),
        "longitude": str(seen.longitude),
        "scientific_name": taxon.name,
        "common_name": "",
        "iconic_taxon_name": "Arachnida",
        "taxon_id": str(taxon.id),
    }
    named = {higher.rank: higher.name for higher in taxon.lineage}
    row |= {f"taxon_{rank}_name": named.get(rank, "") for rank in RANKS}
    return row | (cells(item.slot, item.kind, site.drop, unique=str(seen.id)) if _by_cells(item) else {})


def _open_photo(item: Seen, photo: Photo, position: int) -> Row:
    return {
        "photo_uuid": _uuid("photo", photo.id),
        "photo_id": str(photo.id),
        "observation_uuid": _uuid("observation", item.observation.id),
        "observer_id": _number(item.observation.user),
        "extension": photo.extension,
        "license": (photo.licence or "").upper(),
        "width": str(photo.width),
        "height": str(photo.height),
        "position": str(position),
    }


def _open_observation(item: Seen) -> Row:
    seen = item.observation
    return {
        "observation_uuid": _uuid("observation", seen.id),
        "observer_id": _number(seen.user),
        "latitude": f"{seen.latitude:.10f}",
        "longitude": f"{seen.longitude:.10f}",
        "positional_accuracy": "25",
        "taxon_id": str(seen.taxon_id),
        "quality_grade": seen.quality_grade,
        "observed_on": seen.observed_on,
        "anomaly_score": "",
    }


def _open_taxon(taxon: Taxon) -> Row:
    return {
        "taxon_id": str(taxon.id),
        "ancestry": "/".join([_LIFE, *(str(higher.id) for higher in taxon.above)]),
        "rank_level": str(LEVELS[taxon.rank]),
        "rank": taxon.rank,
        "name": taxon.name,
        "active": "true",
    }


def _occurrence(item: Seen, taxon: Taxon) -> Row:
    seen = item.observation
    theirs, page = of_inaturalist(seen), f"https://www.inaturalist.org/observations/{seen.id}"
    ranks = {higher.rank: higher for higher in taxon.lineage}
    return {
        "gbifID": str(seen.id),
        "datasetKey": INATURALIST if theirs else "963a6b96-4d22-4428-86e4-afee52cf4a8e",
        "occurrenceID": page if theirs else f"urn:catalog:PAINTED:{seen.id}",
        "catalogNumber": str(seen.id),
        "basisOfRecord": seen.basis,
        "eventDate": seen.observed_on,
        "decimalLatitude": str(seen.latitude),
        "decimalLongitude": str(seen.longitude),
        "recordedBy": seen.user,
        "taxonKey": str(taxon.id),
        "taxonID": str(taxon.id),
        "scientificName": taxon.name,
        **{rank: ranks[rank].name if rank in ranks else "" for rank in RANKS},
        **{f"{rank}Key": str(ranks[rank].id) if rank in ranks else "" for rank in RANKS},
    }


def _picture(item: Seen, photo: Photo, base_url: str) -> Row:
    seen = item.observation
    address = f"{base_url}/photos/{photo.id}/original.{photo.extension}"
    return {
        "gbifID": str(seen.id),
        "type": "StillImage",
        "format": mime_of(address),
        "identifier": address,
        "references": f"https://www.inaturalist.org/photos/{photo.id}" if of_inaturalist(seen) else "",
        "created": f"{seen.observed_on}T12:00:00Z",
        "creator": seen.user,
        "license": licence_url(photo.licence) or "© all rights reserved",
        "rightsHolder": seen.user,
    }


def _fields(names: Sequence[str], prefix: str) -> str:
    return "\n".join(f'    <field index="{place}" term="{prefix}{name}"/>' for place, name in enumerate(names, 1))


def _uuid(kind: str, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{number}"))


def _number(user: str) -> str:
    return str(zlib.crc32(user.encode()))


def _zipped(bodies: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, body in bodies.items():
            packed.writestr(zipfile.ZipInfo(name, _EPOCH), body)
    return stream.getvalue()


def _write(target: Path, body: bytes) -> None:
    write_atomic(target, lambda out: out.write(body))
