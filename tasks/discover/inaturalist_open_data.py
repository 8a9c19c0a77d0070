"""iNaturalist's open data: the photos of everything below a taxon, from the four tables of the dump.

Reads photos, observations, taxa and observers, in a folder or below an s3:// address; writes nothing. The tables hold
hundreds of millions of rows: each is scanned once from start to end, and only chosen rows are kept in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import polars as pl

from tasks.core.errors import HarvestmanError, SourceError
from tasks.discover.config import INaturalistOpenDataSource
from tasks.discover.fields import LabelRule
from tasks.discover.found import Ask, Page
from tasks.discover.licences import accepted, slugs
from tasks.discover.open_data_tables import TABLES, open_table, place_problems, reading
from tasks.discover.open_data_taxa import chosen_taxa

_OBSERVATION = "https://www.inaturalist.org/observations/"

OpenDataAsk = Ask[INaturalistOpenDataSource]


def problems(ask: OpenDataAsk) -> Iterable[HarvestmanError]:
    """Yield what stops the source and can be known without reading a table."""
    rule = ask.source.label
    if isinstance(rule, LabelRule) and (rule.column or rule.pattern):
        yield SourceError(
            "inaturalist_open_data tells the class of an image by its taxon only.",
            received=f"label: {rule.model_dump(exclude_defaults=True)}",
            hint="Write a rank (`label: family`) or classes by their taxa (`label: {taxa: {…}}`).",
        )
    yield from place_problems(str(ask.source.path))


def pages(ask: OpenDataAsk) -> Iterator[Page]:
    """Yield all photos in one page, the oldest first.

    Raises:
        SourceError: a table is missing, lacks a column or cannot be read; a taxon is unknown or ambiguous.
        SourceUnavailableError: the object store does not answer.
    """
    for problem in problems(ask):
        raise problem
    source = ask.source
    tables = {name: open_table(name, str(source.path), ask.network) for name in TABLES}
    with reading("The table taxa"):
        taxa = tables["taxa"].select(pl.all().cast(pl.String)).collect(engine="streaming")
    chosen = chosen_taxa(taxa, source.taxon, source.label if ask.label is None else None)
    del taxa  # 250 MB
    with reading("The table observations"):
        observations = _observations(tables["observations"], source, chosen)
    with reading("The table photos"):
        offered = _photos(tables["photos"], observations)
    photos, notes = _taken(offered, source)
    with reading("The table observers"):
        logins = _logins(tables["observers"], photos)
    yield Page(_candidates(photos.join(logins, on="observer_id", how="left", maintain_order="left"), ask), notes)


def _observations(table: pl.LazyFrame, source: INaturalistOpenDataSource, taxa: pl.DataFrame) -> pl.DataFrame:
    """Return the observations of `taxa` that the recipe wants: what is known of each, its taxon and its class."""
    numbers = [pl.col(name).cast(pl.Float64, strict=False) for name in ("latitude", "longitude")]
    day = pl.col("observed_on").cast(pl.String).str.head(10).str.to_date("%Y-%m-%d", strict=False)
    frame = (
        table.filter(pl.col("quality_grade").is_in(list(source.quality_grade)))
        .with_columns(pl.col("taxon_id").cast(pl.Int64, strict=False), *numbers, day)
        .filter(*_limits(source))
        .join(taxa.lazy(), on="taxon_id")
        .drop("taxon_id", "quality_grade")
        .collect(engine="streaming")
    )
    return frame.sort(pl.all(), nulls_last=True).unique("observation_uuid", keep="first")


def _limits(source: INaturalistOpenDataSource) -> Iterator[pl.Expr]:
    """Yield what the recipe asks of day and place; an observation that does not tell them is left out then."""
    first, last = source.observed
    if first is not None:
        yield pl.col("observed_on") >= first
    if last is not None:
        yield pl.col("observed_on") <= last
    if source.bbox is not None:
        south, west, north, east = source.bbox
        behind, before = pl.col("longitude") >= west, pl.col("longitude") <= east
        yield pl.col("latitude").is_between(south, north)
        yield behind & before if west <= east else behind | before  # else it crosses the 180th meridian


def _photos(table: pl.LazyFrame, observations: pl.DataFrame) -> pl.DataFrame:
    """Return all photos of `observations`; the oldest observation, that with the lowest photo number, first."""
    numbers = [pl.col(name).cast(pl.Int64, strict=False) for name in ("photo_id", "position", "observer_id")]
    return (
        table.join(observations.lazy(), on="observation_uuid")
        .with_columns(*numbers)
        .collect(engine="streaming")
        .with_columns(pl.col("photo_id").min().over("observation_uuid").alias("age"))
        .sort("age", "observation_uuid", "position", "photo_id", "extension", "license", nulls_last=True)
        .drop("age")
    )


def _taken(photos: pl.DataFrame, source: INaturalistOpenDataSource) -> tuple[pl.DataFrame, Counter[str]]:
    """Return the photos the recipe wants, and the counts of those it does not."""
    named = photos.filter(pl.col("photo_id").is_not_null() & pl.col("extension").str.contains(r"^[A-Za-z0-9]+$"))
    licensed = named.with_columns(slugs(named["license"]).alias("licence"))
    wanted = accepted(source.licences)
    if wanted is not None:
        licensed = licensed.filter(pl.col("licence").is_in(sorted(wanted)))
    taken = licensed
    if source.photos == "first":
        taken = licensed.unique("observation_uuid", keep="first", maintain_order=True)
    left_out = {
        "not-addresses": photos.height - named.height,
        "licence-refused": named.height - licensed.height,
        "further-photos": licensed.height - taken.height,
    }
    return taken, Counter(rows=photos.height, **left_out)


def _logins(table: pl.LazyFrame, photos: pl.DataFrame) -> pl.DataFrame:
    """Return observer_id and login of those who took `photos`."""
    known = table.with_columns(pl.col("observer_id").cast(pl.Int64, strict=False))
    wanted = photos.select("observer_id").unique().lazy()
    frame = known.join(wanted, on="observer_id", how="semi").collect(engine="streaming")
    return frame.sort("observer_id", "login").unique("observer_id", keep="first")


def _candidates(photos: pl.DataFrame, ask: OpenDataAsk) -> pl.DataFrame:
    photo, observation = pl.col("photo_id").cast(pl.String), pl.col("observation_uuid")
    folder = f"{ask.network.api('inaturalist_photos')}/"
    return photos.select(
        pl.concat_str(pl.lit(folder), photo, pl.lit(f"/{ask.source.photo_size}."), "extension").alias("url"),
        pl.col("label") if ask.label is None else pl.lit(ask.label).alias("label"),
        photo.alias("source_id"),
        (pl.lit("inaturalist:") + observation).alias("group_id"),  # the dump has the UUID, not the number
        "taxon",
        "licence",
        pl.col("login").alias("creator"),
        (pl.lit(_OBSERVATION) + observation).alias("page_url"),
        "observed_on",
        "latitude",
        "longitude",
    )
