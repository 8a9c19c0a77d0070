"""Whose images they are: licences, creators, sources.

Reads the tables of a report; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tasks.core.tables import KEPT, LICENCES
from tasks.split.credits import LICENCE_ADDRESSES
from tasks.split.report.collected import Collected

UNKNOWN = "unknown"
CREATORS = 15  # shown
SOURCES = 20  # shown


@dataclass(frozen=True)
class Licence:
    """A licence and how many images are under it."""

    slug: str
    images: int
    address: str | None


@dataclass(frozen=True)
class Source:
    """A source: what it offered, and what of that came through."""

    name: str
    offered: int
    stored: int
    taken: int
    """Images of the data set; one that several sources offer counts for the one whose address it has."""


@dataclass(frozen=True)
class Creators:
    """Who made the images."""

    top: tuple[tuple[str, int], ...]
    """Name and images, the most frequent first."""
    known: int
    """Creators in all."""
    others: int
    """Images of the creators who are not among the top ones."""
    unknown: int
    """Images whose creator nobody told."""


def licences(manifest: pl.DataFrame) -> tuple[Licence, ...]:
    """Return the licences of the images, from the widest to the narrowest, `unknown` last."""
    order = [*LICENCES, UNKNOWN]
    found = dict(manifest.group_by(pl.col("licence").fill_null(UNKNOWN)).len().iter_rows())
    slugs = sorted(found, key=lambda slug: (order.index(slug) if slug in order else len(LICENCES) - 0.5, slug))
    return tuple(Licence(slug, found[slug], LICENCE_ADDRESSES.get(slug)) for slug in slugs)


def creators(manifest: pl.DataFrame) -> Creators:
    """Return the creators with most images; equally many sort by name."""
    told = manifest.filter(pl.col("creator").fill_null("").str.strip_chars() != "")
    counts = told.group_by("creator").len().sort("len", "creator", descending=[True, False])
    top = tuple(counts.head(CREATORS).iter_rows())
    shown = sum(images for _, images in top)
    return Creators(top, counts.height, told.height - shown, manifest.height - told.height)


def sources(collected: Collected, manifest: pl.DataFrame) -> tuple[tuple[Source, ...], int]:
    """Return the sources that offered most, and how many are not shown."""
    frame = collected.offered.with_columns(pl.col("source").fill_null(UNKNOWN))
    stored = (pl.col("outcome") == KEPT).fill_null(value=False).sum()
    counts = frame.group_by("source").agg(pl.len().alias("offered"), stored.alias("stored"))
    by_address = frame.unique("url", keep="first", maintain_order=True).select("url", "source")
    taken = manifest.join(by_address, on="url", how="inner").group_by("source").agg(pl.len().alias("taken"))
    rows = counts.join(taken, on="source", how="left").with_columns(pl.col("taken").fill_null(0))
    rows = rows.sort("offered", "source", descending=[True, False])
    shown = rows.head(SOURCES).select("source", "offered", "stored", "taken")
    return tuple(Source(*row) for row in shown.iter_rows()), rows.height - shown.height
