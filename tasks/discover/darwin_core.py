"""Pictures of a Darwin Core Archive, its folder, or a table of media from one. How they are read: `darwin_archive`.

Reads files; writes nothing. All text is the publishers' own, and much of it is free.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.inaturalist import OBSERVATION, PHOTO, all_sized
from tasks.discover.config import DarwinCoreSource
from tasks.discover.darwin_archive import KEY, WHAT, Records, read_records
from tasks.discover.fields import ADDRESS, RANKS
from tasks.discover.found import Ask, Page
from tasks.discover.licences import accepted, slugs
from tasks.discover.tabular import candidates, label, near_taxa, of_taxa, require, unreadable, where
from tasks.discover.taxa import listed

_NAMES = ("scientificName", "acceptedScientificName", *RANKS, "subfamily", "subgenus")
_IDS = tuple(f"{rank}Key" for rank in ("taxon", "acceptedTaxon", "species", "genus", "family", "order", "class"))
_OCCURRENCE = (
    *_NAMES, *_IDS, "taxonID", "occurrenceID", "references", "catalogNumber", "institutionCode",
    "recordedBy", "eventDate", "decimalLatitude", "decimalLongitude",
)  # fmt: skip
_LICENCES = ("license", "UsageTerms", "rights")  # UsageTerms is Audubon Core's
_OURS = "_of_occurrence"  # behind a column of the occurrences that the media have too
_ADDED = {KEY, "_url", "_licence", "_picture"}
_PICTURES = r"(?i)(?:^|[/#])(?:still[\s_-]?image|image|photo|photograph)s?$"
_IMAGE_FORMAT = r"(?i)^image/"
_OTHER_FORMAT = r"(?i)^(?:text|audio|video|application)/"
_UNTOLD_FORMAT = r"(?i)^application/octet-stream"


def problems(ask: Ask[DarwinCoreSource]) -> Iterable[HarvestmanError]:
    """Yield an error where the file is missing or may not be read."""
    return () if ask.source.path.is_dir() else unreadable([ask.source.path], what=WHAT)


def pages(ask: Ask[DarwinCoreSource]) -> Iterator[Page]:
    """Yield the pictures, in the order of their addresses.

    Left out and counted: `not-an-image` (sounds, films, pages), `not-addresses`, `duplicates`, `other-value`
    (`where:`), `other-taxon`, `licence-refused` (a picture's own licence counts, not its occurrence's) and
    `further-photos` of an occurrence.

    Raises:
        SourceError: the file cannot be read, a column is missing, or nothing is left.
    """
    source, name = ask.source, f"The {WHAT} {ask.source.path}"
    told = [source.label.column] if source.label and source.label.column else []
    records = read_records(source.path, _OCCURRENCE, [*source.where, *told])
    notes = Counter({"rows": records.media.height})
    rows = _chosen(_media(records, name), source, name=name, notes=notes)
    found = _candidates(rows, records, source)
    if ask.label is None and source.label is not None:
        found = found.with_columns(
            label(_theirs(rows), source.label, name, taxon_columns=_taxon_columns(rows) or _NAMES)
        )
    found = _taken(found, source, notes)
    if found.is_empty():
        raise _nothing(source, records, notes)
    yield Page(found.sort(found.columns, nulls_last=True), +notes)


def _media(records: Records, name: str) -> pl.DataFrame:
    """Return the media with what their occurrences tell, and `_url`, `_licence` and `_picture` of their own."""
    media = records.media
    addresses = [column for column in ("accessURI", "identifier") if column in media.columns]
    if not addresses:
        require(_theirs(media), ["identifier"], name, advice="It holds no addresses of pictures.")
    urls = [pl.when(pl.col(column).str.contains(ADDRESS)).then(column) for column in addresses]
    # Before the join: an occurrence has a licence and a type of its own, which are not its pictures'.
    licences = [slugs(media[column]) for column in _LICENCES if column in media.columns]
    media = media.with_columns(
        pl.coalesce(urls).alias("_url"),
        (pl.coalesce(licences) if licences else pl.lit(None, dtype=pl.String)).alias("_licence"),
        _is_picture(media).alias("_picture"),
    )
    if records.occurrences is None:
        return media
    return media.join(records.occurrences, on=KEY, how="left", suffix=_OURS, maintain_order="left")


def _chosen(rows: pl.DataFrame, source: DarwinCoreSource, *, name: str, notes: Counter[str]) -> pl.DataFrame:
    """Return the rows that are pictures, of the values and taxa that the recipe wants."""
    pictures = rows.filter("_picture")
    notes["not-an-image"] += rows.height - pictures.height
    addressed = pictures.filter(pl.col("_url").is_not_null())
    notes["not-addresses"] += pictures.height - addressed.height
    single = addressed.unique([KEY, "_url"], keep="first", maintain_order=True)
    notes["duplicates"] += addressed.height - single.height
    valued = where(single, source.where, name)
    notes["other-value"] += single.height - valued.height
    wanted = listed(source.taxon)
    if not wanted:
        return valued
    columns = _taxon_columns(valued)
    if not columns:
        require(_theirs(valued), ["scientificName"], name, advice="Give the whole archive, or leave `taxon:` out.")
    kept = valued.filter(of_taxa(valued, wanted, columns))
    notes["other-taxon"] += valued.height - kept.height
    return kept


def _is_picture(media: pl.DataFrame) -> pl.Expr:
    """Say which media are pictures: by their format, else by their type; where both are blank they may be."""
    kind, form = (_either(media, [column]).str.strip_chars() for column in ("type", "format"))
    other = form.str.contains(_OTHER_FORMAT) & ~form.str.contains(_UNTOLD_FORMAT)
    by_type = kind.str.contains(_PICTURES).fill_null(value=True)
    return form.str.contains(_IMAGE_FORMAT).fill_null(value=False) | (by_type & ~other.fill_null(value=False))


def _candidates(rows: pl.DataFrame, records: Records, source: DarwinCoreSource) -> pl.DataFrame:
    photo = pl.col("_url").str.extract(PHOTO, 1)
    sized = all_sized(pl.col("_url"), source.photo_size)
    binomial = RANKS if "species" in rows.columns else ()  # GBIF's, without the author
    texts = rows.select(
        pl.when(photo.is_not_null()).then(sized).otherwise("_url").alias("url"),
        pl.coalesce(photo, pl.col("_url").map_batches(_digests, return_dtype=pl.String)).alias("source_id"),
        _group(rows, records, source.path).alias("group_id"),
        _either(rows, [*binomial, "scientificName"]).alias("taxon"),
        pl.col("_licence").alias("licence"),
        _either(rows, ["creator", "rightsHolder", "Owner", "recordedBy"]).alias("creator"),
        _page(rows, records).alias("page_url"),
        _either(rows, ["eventDate"]).alias("observed_on"),
        _either(rows, ["decimalLatitude"]).alias("latitude"),
        _either(rows, ["decimalLongitude"]).alias("longitude"),
    )
    return candidates(texts, {}, aliases={column: (column,) for column in texts.columns})


def _group(rows: pl.DataFrame, records: Records, path: Path) -> pl.Expr:
    """Return the observation: iNaturalist's where it comes from there, else GBIF's occurrence, else the archive's."""
    told = ["references" + _OURS, "references", "occurrenceID" + _OURS, "occurrenceID"]
    numbers = [pl.col(column).str.extract(OBSERVATION, 1) for column in told if column in rows.columns]
    if {"institutionCode", "catalogNumber"} <= set(rows.columns):
        theirs = (pl.col("institutionCode") == "iNaturalist") & pl.col("catalogNumber").str.contains(r"^\d+$")
        numbers.append(pl.when(theirs).then("catalogNumber"))
    number = pl.coalesce(numbers) if numbers else pl.lit(None, dtype=pl.String)
    if records.key == "gbifID":
        own = "gbif:" + pl.col(KEY)
    else:
        own = pl.coalesce("occurrence:" + _either(rows, ["occurrenceID"]), f"{path.stem}:" + pl.col(KEY))
    return pl.coalesce("inaturalist:" + number, own)


def _page(rows: pl.DataFrame, records: Records) -> pl.Expr:
    columns = ["references" + _OURS, "references", "furtherInformationURL", "occurrenceID"]
    told = [pl.col(column) for column in columns if column in rows.columns]
    gbif = "https://www.gbif.org/occurrence/" + pl.col(KEY)
    pages_told = [pl.when(column.str.contains(ADDRESS)).then(column) for column in told]
    return pl.coalesce(*pages_told, gbif if records.key == "gbifID" else pl.lit(None, dtype=pl.String))


def _either(rows: pl.DataFrame, columns: Sequence[str]) -> pl.Expr:
    """Return the first of `columns` that tells something."""
    present = [column for column in columns if column in rows.columns]
    return pl.coalesce(present) if present else pl.lit(None, dtype=pl.String)


def _digests(urls: pl.Series) -> pl.Series:
    """Return what GBIF numbers pictures by in its cache: the MD5 of the address."""
    return pl.Series([hashlib.md5(url.encode(), usedforsecurity=False).hexdigest() for url in urls], dtype=pl.String)


def _theirs(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the columns that the publisher gave, without ours."""
    return rows.drop([column for column in rows.columns if column in _ADDED or column.endswith(_OURS)])


def _taxon_columns(rows: pl.DataFrame) -> list[str]:
    return [column for column in (*_NAMES, *_IDS, "taxonID") if column in rows.columns]


def _taken(found: pl.DataFrame, source: DarwinCoreSource, notes: Counter[str]) -> pl.DataFrame:
    """Return the pictures whose licence is taken, and of each occurrence as many as the recipe wants."""
    wanted = accepted(source.licences)
    licensed = found if wanted is None else found.filter(pl.col("licence").is_in(sorted(wanted)))
    notes["licence-refused"] += found.height - licensed.height
    if source.photos == "all":
        return licensed
    first = licensed.unique("group_id", keep="first", maintain_order=True)
    notes["further-photos"] += licensed.height - first.height
    return first


def _nothing(source: DarwinCoreSource, records: Records, notes: Counter[str]) -> SourceError:
    rows = records.media if records.occurrences is None else records.occurrences
    names = [column for column in _taxon_columns(rows) if column in _NAMES]
    offered = sorted(set(near_taxa(rows, listed(source.taxon), names)))
    return SourceError(
        f"The {WHAT} {source.path} has no picture that the recipe takes.",
        received=f"{', '.join(f'{number} {note}' for note, number in (+notes).items()) or '0 rows'}.",
        hint=(f"Did you mean {' or '.join(offered)}? " if offered else "")
        + "Look at `taxon:`, `where:` and `licences:` in the recipe.",
    )
