"""What was published: the side of each image, and all that ties others to it. So data sets grow and nothing moves.

Reads and writes collections/<recipe>/splits/: one immutable shard a version, written before the version is published.
Reads the ledger for what is compared of an image.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tasks.core.tables import KEPT, LEDGER, SPLITS, conform, write_table

_SIDE = ("label", "split", "fold", "line")
_COMPARED = ("contrast", "phash", "verify_hash")


def read_history(collection: Path) -> pl.DataFrame:
    """Return the side of every image ever published from `collection`, one row per SHA-256 and line, sorted.

    Should shards disagree, as after a restore from a copy, test counts before val and val before train: what has
    been in test never trains.

    Returns:
        sha256, label, split, fold, line.
    """
    rank = pl.col("split").replace_strict({"test": 0, "val": 1, "train": 2}, return_dtype=pl.Int8)
    rows = _scan(collection).select("sha256", *_SIDE).unique().collect(engine="streaming")
    ordered = rows.sort("sha256", "line", rank, "label", "fold")
    return ordered.unique(("sha256", "line"), keep="first", maintain_order=True)


def scan_facts(collection: Path) -> pl.LazyFrame:
    """Return what any version knew of the images it published, in no order: the columns of SPLITS but label and side.

    An image has a row for each address it had; the same row may come once a version. Lazy, because a caller needs few
    of the columns or few of the images, and there may be a million.
    """
    return _scan(collection).drop(_SIDE)


def published_rows(collection: Path, manifest: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return what `write_history` writes of a version: a row per image of `manifest` and address in `verdicts`."""
    told = [name for name in SPLITS if name in verdicts.columns and name != "label"]
    sides = manifest.select("sha256", "label", "split", "fold", pl.col("url").alias("named"))
    rows = verdicts.select(told).join(sides, on="sha256", how="inner")
    rows = rows.with_columns(credited=pl.col("url").eq_missing(pl.col("named")))
    return rows.join(_hashes(collection, sides), on="sha256", how="left").unique()


def write_history(collection: Path, version: str, rows: pl.DataFrame, *, line: str) -> Path:
    """Write down the sides of a version's images; `rows` has sha256, label, split, fold and any further of SPLITS."""
    shard = conform(rows.with_columns(pl.lit(line).alias("line")), SPLITS).sort("sha256", "label", "url", *SPLITS)
    return write_table(shard, collection / "splits" / f"{version}.parquet")


def _scan(collection: Path) -> pl.LazyFrame:
    shards = sorted((collection / "splits").glob("*.parquet"))
    if not shards:
        return pl.LazyFrame(schema=SPLITS)
    found = pl.scan_parquet(shards, schema=SPLITS, missing_columns="insert", extra_columns="ignore")
    return found.select(list(SPLITS))


def _hashes(collection: Path, images: pl.DataFrame) -> pl.DataFrame:
    """Return what is compared of `images`; by all rows of the ledger, as an address may hold another file now."""
    shards = sorted((collection / "ledger").glob("*.parquet"))
    if not shards:
        return pl.DataFrame(schema={"sha256": pl.String(), **{name: LEDGER[name] for name in _COMPARED}})
    ledger = pl.scan_parquet(shards, schema=LEDGER, missing_columns="insert", extra_columns="ignore")
    known = ledger.filter(pl.col("outcome") == KEPT).join(images.lazy(), on="sha256", how="semi")
    # The address decides as in curation, which compares an image as its smallest address tells it.
    rows = known.select("sha256", "url", *_COMPARED).collect(engine="streaming").sort("sha256", "url", *_COMPARED)
    return rows.unique("sha256", keep="first", maintain_order=True).drop("url")
