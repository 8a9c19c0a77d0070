"""Near-duplicate clusters and label conflicts: which of them are shown, and how far apart their members are.

Reads the tables of a report; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tasks.core.tables import DUPLICATE_BYTES, GONE, KEPT, LABEL_CONFLICT, NEAR_DUPLICATE, VERDICT_SLUGS
from tasks.split.report.collected import Collected
from tasks.split.report.pictures import Tile, web_page

SHOWN = 24  # clusters
MEMBERS = 6  # of a cluster
MAX_BITS = 16  # no radius of 64-bit hashes is wider; what lies further apart was found mirrored or turned
# What may stand in a cluster with others; what a rule or a person set aside stands alone.
_CLUSTERED = (KEPT, DUPLICATE_BYTES, NEAR_DUPLICATE, LABEL_CONFLICT, "over-cap", GONE)
_VERIFY_BYTES = 32


@dataclass(frozen=True)
class Cluster:
    """Images that count as one picture."""

    title: str
    tiles: tuple[Tile, ...]
    more: int
    """Members that are not shown."""


@dataclass(frozen=True)
class Gallery:
    """The clusters shown, and how many there are in all."""

    clusters: tuple[Cluster, ...] = ()
    total: int = 0
    images: int = 0
    """Distinct images in all clusters of the gallery's kind."""
    verdicts: dict[str, int] = field(default_factory=dict)
    """Those images by what became of them."""


def galleries(collected: Collected) -> tuple[Gallery, Gallery]:
    """Return the near-duplicates and the label conflicts.

    Near-duplicates are clusters of several images of one class: half of those shown are the largest ones, which show
    what was collected many times over, half those furthest apart, which show where the radius might be too wide.
    Conflicts are clusters that several classes claim, also of a single image, those with most images first.
    """
    images = _images(collected)
    clusters = _measured(images)
    disputed = clusters.filter("conflict").sort("images", "cluster_id", descending=[True, False])
    near = clusters.filter((pl.col("images") > 1) & ~pl.col("conflict"))
    largest = near.sort("images", "cluster_id", descending=[True, False]).head(SHOWN // 2)
    rest = near.join(largest, on="cluster_id", how="anti")
    apart = rest.sort("apart", "cluster_id", descending=[True, False], nulls_last=True).head(SHOWN - largest.height)
    return (
        _gallery(images, near, pl.concat([largest, apart])["cluster_id"]),
        _gallery(images, disputed, disputed.head(SHOWN)["cluster_id"]),
    )


def _images(collected: Collected) -> pl.DataFrame:
    """Return one row per image in a cluster, with the bits between it and the image its cluster is named after."""
    rows = pl.concat([collected.judged, collected.gone]).filter(pl.col("verdict").is_in(_CLUSTERED))
    order = {slug: place for place, slug in enumerate(VERDICT_SLUGS)}
    ranked = rows.sort(pl.col("verdict").replace_strict(order, default=len(order)), "sha256", "label", "url")
    first = [pl.col(name).first() for name in ("verdict", "format", "width", "height", "url", "page_url", "keeper")]
    images = ranked.group_by("cluster_id", "sha256", maintain_order=True).agg(
        *first,
        pl.col("detail").drop_nulls().first(),
        pl.col("offered_label").drop_nulls().unique().sort().alias("labels"),
        pl.col("label").drop_nulls().unique().alias("final"),
        (pl.col("verdict") == LABEL_CONFLICT).any().alias("disputed"),
        pl.len().alias("addresses"),
    )
    return images.join(_bits(images, collected.hashes), on=["cluster_id", "sha256"], how="left")


def _bits(images: pl.DataFrame, hashes: pl.DataFrame) -> pl.DataFrame:
    """Return the differing bits of both hashes, `near` of 64 and `apart` of 256, where both images have them."""
    pairs = images.select("cluster_id", "sha256").filter(pl.col("sha256") != pl.col("cluster_id"))
    whole = hashes.filter(
        pl.col("phash").is_not_null() & (pl.col("verify_hash").bin.size() == _VERIFY_BYTES).fill_null(value=False)
    )
    pairs = pairs.join(whole, on="sha256").join(whole, left_on="cluster_id", right_on="sha256", suffix="_keeper")
    differing = np.bitwise_count(_packed(pairs["verify_hash"]) ^ _packed(pairs["verify_hash_keeper"]))
    return pairs.select(
        "cluster_id",
        "sha256",
        (pl.col("phash") ^ pl.col("phash_keeper")).bitwise_count_ones().cast(pl.Int64).alias("near"),
        pl.Series("apart", differing.sum(axis=1, dtype=np.int64)),
    )


def _packed(hashes: pl.Series) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    return np.frombuffer(b"".join(hashes), np.uint64).reshape(-1, _VERIFY_BYTES // 8)


def _measured(images: pl.DataFrame) -> pl.DataFrame:
    several = pl.col("final").list.explode(empty_as_null=True, keep_nulls=True).drop_nulls().n_unique() > 1
    return images.group_by("cluster_id").agg(
        pl.len().alias("images"),
        pl.col("apart").max(),
        (several | pl.col("disputed").any()).alias("conflict"),
    )


def _gallery(images: pl.DataFrame, clusters: pl.DataFrame, shown: pl.Series) -> Gallery:
    members = images.join(clusters.select("cluster_id"), on="cluster_id", how="semi")
    counts = members.group_by("verdict").len().sort("len", "verdict", descending=[True, False])
    return Gallery(
        clusters=tuple(_cluster(members.filter(pl.col("cluster_id") == cluster)) for cluster in shown),
        total=clusters.height,
        images=members.height,
        verdicts=dict(counts.iter_rows()),
    )


def _cluster(members: pl.DataFrame) -> Cluster:
    first = (pl.col("verdict") != KEPT, pl.col("sha256") != pl.col("cluster_id"))
    ordered = members.sort(*first, "apart", "sha256", nulls_last=True)
    labels = ordered["labels"].explode(empty_as_null=True).drop_nulls().unique().sort()
    return Cluster(
        title=" / ".join(labels),
        tiles=tuple(_tile(row, several=len(labels) > 1) for row in ordered.head(MEMBERS).iter_rows(named=True)),
        more=max(0, ordered.height - MEMBERS),
    )


def _tile(row: dict[str, object], *, several: bool) -> Tile:
    labels = " / ".join(row["labels"])  # type: ignore[arg-type]
    size = f"{row['width']} × {row['height']}" if row["width"] and row["height"] else "size unknown"  # noqa: RUF001 - times
    addresses = f"{row['addresses']} addresses" if int(str(row["addresses"])) > 1 else ""
    lines = (labels if several else "", str(row["verdict"]), size, _distance(row), addresses, str(row["detail"] or ""))
    return Tile(
        sha256=str(row["sha256"]),
        format=row["format"],  # type: ignore[arg-type]
        alt=f"{labels}, {row['verdict']}",
        caption=tuple(line for line in lines if line),
        page=web_page(row["page_url"], row["url"]),  # type: ignore[arg-type]
        kept=row["verdict"] == KEPT,
    )


def _distance(row: dict[str, object]) -> str:
    near, apart = row["near"], row["apart"]
    if not isinstance(near, int):
        return ""
    return f"{near}/64, {apart}/256 bits" if near <= MAX_BITS else "mirrored or turned"
