"""What a person looks at: some images of each class, of each rule, of what the split left out; some refused addresses.

Reads the tables of a report; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tasks.core.tables import DUPLICATE_BYTES, KEPT, LABEL_CONFLICT, NEAR_DUPLICATE, OUTCOMES, VERDICT_SLUGS
from tasks.core.thumbnails import spread
from tasks.split.report.collected import Collected
from tasks.split.report.pictures import Tile, web_page

PER_CLASS = 12  # images of a class in the contact sheet
SHEET = 1200  # images of the contact sheet
PER_RULE = 8
ADDRESSES = 5  # of an outcome
# These are clusters: they have sections of their own.
_ELSEWHERE = (KEPT, DUPLICATE_BYTES, NEAR_DUPLICATE, LABEL_CONFLICT)


@dataclass(frozen=True)
class Sample:
    """Some images of a kind."""

    title: str
    total: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Sheet:
    """The contact sheet: a sample of each class."""

    classes: tuple[Sample, ...]
    hidden: int
    """Classes that are not shown."""


@dataclass(frozen=True)
class Refusal:
    """An outcome at the door, with some of its addresses."""

    outcome: str
    addresses: int
    rows: tuple[tuple[str, str], ...]
    """Address and reason."""


def contact_sheet(manifest: pl.DataFrame, order: tuple[str, ...]) -> Sheet:
    """Return up to 12 images of each class in `order`, evenly spread over its addresses; fewer of many classes."""
    shown = order[:SHEET]
    per_class = max(1, min(PER_CLASS, SHEET // max(1, len(shown))))
    chosen = manifest.filter(pl.col("label").is_in(shown)).sort("label", "url", "sha256")
    groups = {group["label"][0]: group for group in chosen.partition_by("label", maintain_order=True)}
    samples = [
        Sample(label, groups[label].height, tuple(_member(row) for row in spread(groups[label], per_class).to_dicts()))
        for label in shown
    ]
    return Sheet(tuple(samples), len(order) - len(shown))


def set_aside(collected: Collected) -> tuple[Sample, ...]:
    """Return what rules and people set aside, and what is gone, by verdict: distinct images, some of them shown."""
    rows = pl.concat([collected.judged, collected.gone]).filter(~pl.col("verdict").is_in(_ELSEWHERE))
    images = rows.sort("verdict", "label", "url", nulls_last=True).unique(
        ("verdict", "sha256"), keep="first", maintain_order=True
    )
    order = {slug: place for place, slug in enumerate(VERDICT_SLUGS)}
    verdicts = sorted(images["verdict"].unique(), key=lambda slug: (order.get(slug, len(order)), slug))
    return tuple(_sample(verdict, images.filter(pl.col("verdict") == verdict), "detail") for verdict in verdicts)


def left_out_samples(left_out: pl.DataFrame, collected: Collected) -> tuple[Sample, ...]:
    """Return what the split left out, by reason."""
    about = collected.judged.filter(pl.col("verdict") == KEPT).select("sha256", "format", "url", "page_url")
    about = about.unique("sha256", keep="first", maintain_order=True)
    rows = left_out.with_columns(pl.col("reason").fill_null("unknown")).join(about, on="sha256", how="left")
    rows = rows.sort("reason", "label", "sha256", nulls_last=True).with_columns(pl.lit(None).alias("detail"))
    return tuple(
        _sample(reason, rows.filter(pl.col("reason") == reason), "detail") for reason in rows["reason"].unique().sort()
    )


def refusals(collected: Collected) -> tuple[Refusal, ...]:
    """Return the outcomes at the door other than kept, the most frequent first, each with a few of its addresses."""
    rows = collected.offered.filter(pl.col("outcome") != KEPT).unique("url", keep="first", maintain_order=True)
    rows = rows.sort("outcome", "url")
    known = {slug: place for place, slug in enumerate(OUTCOMES)}
    groups = rows.partition_by("outcome", maintain_order=True)
    groups.sort(key=lambda group: (-group.height, known.get(group["outcome"][0], len(known)), group["outcome"][0]))
    return tuple(
        Refusal(
            outcome=group["outcome"][0],
            addresses=group.height,
            rows=tuple((url, reason or "") for url, reason in spread(group, ADDRESSES)["url", "reason"].iter_rows()),
        )
        for group in groups
    )


def _sample(title: str, images: pl.DataFrame, note: str) -> Sample:
    tiles = [
        Tile(
            sha256=row["sha256"],
            format=row["format"],
            alt=f"{row['label']}, {title}",
            caption=tuple(line for line in (row["label"], row[note]) if line),
            page=web_page(row["page_url"], row["url"]),
        )
        for row in spread(images, PER_RULE).to_dicts()
    ]
    return Sample(title, images.height, tuple(tiles))


def _member(row: dict[str, str | None]) -> Tile:
    return Tile(
        sha256=str(row["sha256"]),
        format=row["format"],
        alt=f"{row['label']}, {row['split']}",
        caption=tuple(line for line in (row["split"],) if line),
        page=web_page(row["page_url"], row["url"]),
    )
