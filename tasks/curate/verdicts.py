"""What becomes of every stored image: kept, doubled, or quarantined because classes claim it at once.

Reads the candidates and the ledger of a collection, never a pixel; writes one immutable verdicts table
named by the fingerprint of the rows and the configuration it was made from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tasks.core.fingerprint import fingerprint, table_digest
from tasks.core.tables import KEPT, VERDICTS, conform, read_candidates, read_ledger, write_table
from tasks.curate.clusters import add_clusters, add_components
from tasks.curate.config import CurateConfig

METHOD = 1  # raised whenever the same rows would get other verdicts than before
DUPLICATE_BYTES = "duplicate-bytes"
NEAR_DUPLICATE = "near-duplicate"
LABEL_CONFLICT = "label-conflict"

_FROM_CANDIDATES = ("url", "label", "group_id", "licence", "creator", "page_url")
_FROM_LEDGER = ("url", "sha256", "format", "width", "height", "bytes", "contrast", "phash", "verify_hash")


@dataclass(frozen=True)
class Curated:
    """A verdicts table and what it says."""

    path: Path
    fingerprint: str
    verdicts: dict[str, int]
    """Rows by verdict."""
    classes: dict[str, dict[str, int]]
    """Rows by class and verdict; every class of the recipe is there."""


def curate(collection: Path, config: CurateConfig, *, labels: tuple[str, ...]) -> Curated:
    """Judge every stored image of `collection` and write the verdicts, unless that has been done.

    Args:
        collection: folder with `candidates/` and `ledger/`; `verdicts/` is made beside them.
        config: the recipe's `curate:` block.
        labels: classes of the recipe; rows of any other class are left out.

    Returns:
        The table's address and counts. With nothing new since the last call, nothing is searched.

    Raises:
        WorkspaceError: the table cannot be written.
    """
    rows = stored_rows(collection, labels)
    hexadecimal = pl.col("verify_hash").bin.encode("hex")
    key = fingerprint(METHOD, config, sorted(labels), table_digest(rows.with_columns(hexadecimal)))
    path = collection / "verdicts" / f"{key}.parquet"
    if not path.exists():
        write_table(judge(rows, config), path)
    return _counted(path, key, labels)


def stored_rows(collection: Path, labels: tuple[str, ...]) -> pl.DataFrame:
    """Return one row per address and class whose image is stored, sorted."""
    stored = read_ledger(collection, "outcome", *_FROM_LEDGER).filter(outcome=KEPT).drop("outcome")
    offered = read_candidates(collection).filter(pl.col("label").is_in(labels)).select(_FROM_CANDIDATES)
    return offered.join(stored, on="url", how="inner").sort("sha256", "label", "url")


def judge(rows: pl.DataFrame, config: CurateConfig) -> pl.DataFrame:
    """Return the verdict on each of `rows` (see `stored_rows`), in the schema `VERDICTS`.

    A cluster claimed by two classes is quarantined whole. Otherwise the smallest address stands for the
    identical files, and the largest picture (then the largest file) for the cluster.
    """
    near = config.near_duplicates
    images = add_clusters(rows.sort("url").unique("sha256", keep="first", maintain_order=True), near)
    best = _best_members(images)
    judged = add_components(rows.join(images.select("sha256", "cluster_id"), on="sha256").join(best, on="cluster_id"))
    stands_for = pl.col("best") if near.keep == "best" else pl.col("sha256")
    verdict = (
        pl.when(pl.col("label").n_unique().over("cluster_id") > 1)
        .then(pl.lit(LABEL_CONFLICT))
        .when(pl.col("url") != pl.col("url").min().over("sha256"))
        .then(pl.lit(DUPLICATE_BYTES))
        .when(pl.col("sha256") != stands_for)
        .then(pl.lit(NEAR_DUPLICATE))
        .otherwise(pl.lit(KEPT))
    )
    keeper = pl.when(pl.col("verdict").is_in((DUPLICATE_BYTES, NEAR_DUPLICATE))).then(stands_for)
    judged = judged.with_columns(verdict.alias("verdict")).with_columns(keeper.alias("keeper"))
    return conform(judged, VERDICTS).sort("label", "sha256", "url")


def _best_members(images: pl.DataFrame) -> pl.DataFrame:
    pixels = pl.col("width").cast(pl.Int64) * pl.col("height")
    ranked = images.sort(pixels, "bytes", "sha256", descending=[True, True, False], nulls_last=True)
    return ranked.group_by("cluster_id").agg(pl.col("sha256").first().alias("best"))


def _counted(path: Path, key: str, labels: tuple[str, ...]) -> Curated:
    counts = (
        pl.read_parquet(path, columns=["label", "verdict"]).group_by("label", "verdict").len().sort("label", "verdict")
    )
    verdicts: dict[str, int] = {}
    classes: dict[str, dict[str, int]] = {label: {} for label in sorted(labels)}
    for label, verdict, rows in counts.iter_rows():
        classes[label][verdict] = rows
        verdicts[verdict] = verdicts.get(verdict, 0) + rows
    return Curated(path, key, dict(sorted(verdicts.items())), classes)
