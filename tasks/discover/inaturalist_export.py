"""Exports of iNaturalist's export page: the CSV, or the zip as delivered, with whatever columns were ticked.

Reads files; writes nothing. An export has one photo an observation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from tasks.core.archives import members, read_member
from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.inaturalist import all_sized
from tasks.discover.config import INaturalistExportSource
from tasks.discover.found import Ask, Page
from tasks.discover.licences import accepted
from tasks.discover.structured import LARGEST
from tasks.discover.tabular import (
    candidates,
    label,
    near_taxa,
    of_taxa,
    read_bytes,
    read_table,
    require,
    unreadable,
    where,
)
from tasks.discover.taxa import listed

_WHAT = "iNaturalist export"
# The export page's names first, then those of pyinaturalist-convert's tables, which people keep too.
_ALIASES = {
    "url": ("image_url", "photo_url"),
    "taxon": ("scientific_name", "taxon.name"),
    "licence": ("license", "license_code"),
    "creator": ("user_login", "user.login"),
    "page_url": ("url", "uri"),
    "observed_on": ("observed_on",),
    "latitude": ("latitude",),
    "longitude": ("longitude",),
}
_TAXA = re.compile(
    r"^(?:scientific_name|taxon_id|iconic_taxon_name|taxon_\w+_name|taxon\.(?:name|id|iconic_taxon_name))$"
)
_OBSERVATION = r"/observations/(\d+)"
_PHOTO = r"/photos/(\d+)/"
_CLOSED = r"^https?://static\.inaturalist\.org/"


def problems(ask: Ask[INaturalistExportSource]) -> Iterable[HarvestmanError]:
    """Yield an error for each file that is missing or may not be read."""
    return unreadable(ask.source.files, what=_WHAT)


def pages(ask: Ask[INaturalistExportSource]) -> Iterator[Page]:
    """Yield the photos of all the files, in the order of their addresses.

    Left out and counted: `without-image` (observations with sounds, or none that may be shown), `other-value`
    (`where:`), `other-grade`, `other-taxon`, `licence-refused`.

    Raises:
        SourceError: a file cannot be read, a column is missing, or nothing is left.
    """
    notes = Counter({"rows": 0})
    tables = list(_tables(ask.source.files))
    found = pl.concat([_photos(frame, ask, name=name, notes=notes) for name, frame in tables], how="diagonal")
    if found.is_empty():
        raise _nothing(ask.source, [frame for _, frame in tables], notes)
    yield Page(found.sort(found.columns, nulls_last=True), +notes)


def _tables(paths: Iterable[Path]) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each table with its name in errors."""
    for path in paths:
        if path.suffix.lower() != ".zip":
            yield f"The {_WHAT} {path}", read_table(read_bytes(path, what=_WHAT), str(path), what=_WHAT)
            continue
        inside = sorted(item.name for item in members(path) if not item.refused and _is_table(item.name))
        if not inside:
            raise SourceError(
                f"There is no CSV file in the {_WHAT} {path}.",
                received=f"It holds: {', '.join(item.name for item in members(path)) or 'nothing'}.",
                hint="Give the zip as iNaturalist delivers it, or the CSV from it.",
            )
        for member in inside:
            name = f"{path}/{member}"
            yield f"The {_WHAT} {name}", read_table(read_member(path, member, limit=LARGEST), name, what=_WHAT)


def _is_table(name: str) -> bool:
    return name.lower().endswith(".csv") and not name.startswith("__MACOSX/")


def _photos(frame: pl.DataFrame, ask: Ask[INaturalistExportSource], *, name: str, notes: Counter[str]) -> pl.DataFrame:
    """Return what the recipe takes of one table as candidates."""
    if not any(column in frame.columns for column in _ALIASES["url"]):
        require(frame, _ALIASES["url"][:1], name, advice="Choose image_url on the export page and export again.")
    rows = _chosen(frame, ask.source, name=name, notes=notes)
    found = candidates(rows, {}, aliases=_ALIASES, name=name)
    page = (
        found["page_url"] if "page_url" in found.columns else pl.repeat(None, rows.height, dtype=pl.String, eager=True)
    )
    number = page.str.extract(_OBSERVATION, 1)
    number = rows["id"].zip_with(rows["id"].is_not_null(), number) if "id" in rows.columns else number
    found = found.with_columns(
        ("inaturalist:" + number).alias("group_id"),
        page.zip_with(page.is_not_null(), "https://www.inaturalist.org/observations/" + number).alias("page_url"),
        pl.col("url").str.extract(_PHOTO, 1).alias("source_id"),
        all_sized(pl.col("url"), ask.source.photo_size),
    )
    if ask.label is None and ask.source.label is not None:
        rule, taxa = ask.source.label, _taxon_columns(frame)
        if rule.taxa and not (rule.column or taxa):
            raise _no_taxa(frame, name)
        found = found.with_columns(label(rows, rule, name, taxon_columns=taxa))
    return _licensed(found, ask.source, name=name, notes=notes)


def _chosen(frame: pl.DataFrame, source: INaturalistExportSource, *, name: str, notes: Counter[str]) -> pl.DataFrame:
    """Return the rows with a photo, of the values, grades and taxa that the recipe wants."""
    notes["rows"] += frame.height
    address = next(column for column in _ALIASES["url"] if column in frame.columns)
    with_photo = frame.filter(pl.col(address).is_not_null())
    notes["without-image"] += frame.height - with_photo.height
    rows = where(with_photo, source.where, name)
    notes["other-value"] += with_photo.height - rows.height
    if "quality_grade" in rows.columns:
        graded = rows.filter(pl.col("quality_grade").is_in(source.quality_grade))
        notes["other-grade"] += rows.height - graded.height
        rows = graded
    if wanted := listed(source.taxon):
        columns = _taxon_columns(rows)
        if not columns:
            raise _no_taxa(frame, name)
        fits = of_taxa(rows, wanted, columns)
        notes["other-taxon"] += int((~fits).sum())
        rows = rows.filter(fits)
    return rows


def _taxon_columns(frame: pl.DataFrame) -> list[str]:
    return [column for column in frame.columns if _TAXA.match(column)]


def _no_taxa(frame: pl.DataFrame, name: str) -> SourceError:
    return SourceError(
        f"{name} does not tell taxa: it has none of the columns scientific_name, taxon_id and taxon_*_name.",
        received=f"Its columns: {', '.join(frame.columns)}.",
        hint="Choose one of them on the export page and export again, or take the taxa out of the recipe.",
    )


def _licensed(found: pl.DataFrame, source: INaturalistExportSource, *, name: str, notes: Counter[str]) -> pl.DataFrame:
    """Return the photos whose licence is taken.

    The column is the observation's licence. A photo on static.inaturalist.org is not openly licensed whatever its
    observation is: its licence is unknown.
    """
    if "licence" in found.columns:
        closed = pl.col("url").str.contains(_CLOSED) & (pl.col("licence") != "all-rights-reserved")
        found = found.with_columns(pl.when(~closed).then("licence").alias("licence"))
    wanted = accepted(source.licences)
    if wanted is None:
        return found
    if "licence" not in found.columns:
        raise SourceError(
            f"{name} does not tell licences: it has no column license.",
            received=f"licences: [{', '.join(source.licences)}]",
            hint="Tick `license` on the export page and export again, or take `licences: any`.",
        )
    taken = found.filter(pl.col("licence").is_in(sorted(wanted)))
    notes["licence-refused"] += found.height - taken.height
    return taken


def _nothing(source: INaturalistExportSource, tables: list[pl.DataFrame], notes: Counter[str]) -> SourceError:
    counted = ", ".join(f"{number} {note}" for note, number in (+notes).items())
    near = [near_taxa(frame, listed(source.taxon), _taxon_columns(frame)) for frame in tables]
    offered = sorted({name for names in near for name in names})
    return SourceError(
        f"The {_WHAT} {', '.join(map(str, source.files))} has no photo that the recipe takes.",
        received=f"{counted}.",
        hint=(f"Did you mean {' or '.join(offered)}? " if offered else "")
        + "Look at `taxon:`, `where:`, `licences:` and `quality_grade:` in the recipe.",
    )
