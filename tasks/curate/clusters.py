"""Which images are one picture: clusters around a keeper, and the wider sets that near-duplicates tie together.

Owns what is compared, in which order images become keepers, and what a confirmed pair is. Reads and writes tables only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.curate.config import NearDuplicates
from tasks.curate.keepers import HELD, Alike, components_and_keepers
from tasks.curate.near import Hashes, LongHashes, Pairs, bits_apart, pair_blocks
from tasks.curate.symmetry import GROUPS, folded, turned, versions

VERIFY_BYTES = 32

OPEN = pl.col("verdict").is_null()
"""Rows that nothing has set aside so far."""

_COMPARED = ("sha256", "phash", "verify_hash", "contrast", "width", "height", "bytes", "published")
_BY_A_PERSON = ("protected", "named")
_Distances = NDArray[np.int64]


def add_walk(rows: pl.DataFrame, config: NearDuplicates) -> pl.DataFrame:
    """Add to the rows of a collection the image that stands for each, and the near-duplicates it is tied to.

    Args:
        rows: the columns of `tasks.curate.verdicts.stored_rows` with `verdict` (null: not set aside), `protected` and
            `named` (see `tasks.curate.decisions.obey`).
        config: near-duplicate search.

    Returns:
        `rows` with `stands` (SHA-256; its own for what is set aside), `near` (Int64, see `add_clusters`) and `decided`
        (a person has said what the image that stands for this one shows).
    """
    flags = rows.group_by("sha256").agg(OPEN.any().alias("eligible"), pl.col(*_BY_A_PERSON).any())
    images = add_clusters(images_of(rows).join(flags, on="sha256"), config)
    told = images.filter("named")["sha256"].implode()
    placed = images.select("sha256", "near", stands="cluster_id", decided=pl.col("cluster_id").is_in(told))
    return rows.join(placed, on="sha256", how="left", maintain_order="left")


def walk_again(images: pl.DataFrame, config: NearDuplicates) -> pl.DataFrame:
    """Return who stands for each of `images` (see `images_of`), all of them eligible, as sha256 and `stands`."""
    walked = add_clusters(images.with_columns(pl.lit(value=True).alias("eligible")), config)
    return walked.select("sha256", stands="cluster_id")


def images_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per SHA-256 with what is compared; of several addresses of a file the smallest tells it."""
    return rows.sort("url", "label").unique("sha256", keep="first", maintain_order=True).select(_COMPARED)


def add_clusters(images: pl.DataFrame, config: NearDuplicates, *, held: int = HELD) -> pl.DataFrame:
    """Say of each image which keeper stands for it, and what it is tied to.

    The eligible images are walked: published ones first, then those of most pixels, of most bytes, of the smallest
    SHA-256. Each joins the first keeper that it is a near-duplicate of (both hashes within their radius), else it
    becomes a keeper. So each member has been compared with its keeper, and chains of likeness merge no strangers; they
    do tie images in `near`, which keeps them on one side of a split. An image that is too flat (contrast below
    `min_contrast`) or without hashes is compared with nothing: all flat images have nearly the same hash, whatever
    their colour.

    Args:
        images: one row per SHA-256 in any order: sha256, phash, verify_hash, contrast, width, height (pixels), bytes,
            published (in a version already) and eligible (may be a keeper, may join one). Further columns stay.
            Two Boolean columns, both or none, go before `published`: `protected`, images a person keeps, which stand
            for themselves whomever they are alike to; and `named`, those and the ones whose class a person has told.
        config: radii, least contrast, symmetries.
        held: pairs held in memory at once.

    Returns:
        `images` in the order of their SHA-256 with `cluster_id`, the keeper's SHA-256 (the own one where an image is
        not eligible or not compared), and `near` (Int64), equal for all images linked by any chain of near-duplicates,
        eligible or not.
    """
    images = images.sort("sha256").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    walk = _walk(images.filter(_comparable(config)))
    nodes = walk.filter(pl.col("place") == pl.col("leader"))
    phash, verify_hash = _hashes(nodes)
    components, keepers = components_and_keepers(
        nodes.height,
        (pairs for pairs, _ in _confirmed(phash, verify_hash, config)),
        _alike(phash, verify_hash, config),
        eligible=int(nodes["eligible"].sum()),
        fixed=nodes.filter("eligible", "protected").height if "protected" in nodes.columns else 0,
        held=held,
    )
    found = nodes.select("leader", pl.Series("component", components), nodes["sha256"].gather(keepers).alias("_keeper"))
    linked = walk.select("row", "leader").join(found, on="leader", how="left", maintain_order="left")
    linked = linked.with_columns(pl.col("row").min().over("component").alias("near"))
    joined = images.join(linked.select("row", "near", "_keeper"), on="row", how="left", maintain_order="left")
    joins = pl.col("eligible") & ~pl.col("protected") if "protected" in images.columns else pl.col("eligible")
    keeper = pl.when(joins).then("_keeper").otherwise(None)
    return joined.with_columns(
        pl.coalesce(keeper, "sha256").alias("cluster_id"), pl.coalesce("near", "row").alias("near")
    ).drop("row", "_keeper")


def near_pairs(images: pl.DataFrame, config: NearDuplicates) -> pl.DataFrame:
    """Return every confirmed pair of near-duplicates; n alike images give n(n-1)/2 rows.

    Args:
        images: one row per SHA-256: sha256, phash, verify_hash, contrast.
        config: radii, least contrast, symmetries.

    Returns:
        first and second (SHA-256, first < second) and distance (Int64), the differing bits of the 256-bit hash, in the
        most alike position where symmetries count; sorted.
    """
    images = images.sort("sha256").filter(_comparable(config))
    phash, verify_hash = _hashes(images)
    parts = [np.column_stack((pairs, apart)) for pairs, apart in _confirmed(phash, verify_hash, config)]
    rows = pl.DataFrame(
        np.concatenate([np.empty((0, 3), np.int64), *parts]), schema=["first", "second", "distance"], orient="row"
    )
    closest = rows.group_by("first", "second").agg(pl.col("distance").min()).sort("first", "second")
    sha256 = images["sha256"]
    return closest.with_columns(
        sha256.gather(closest["first"]).alias("first"), sha256.gather(closest["second"]).alias("second")
    )


def _comparable(config: NearDuplicates) -> pl.Expr:
    contrast = pl.col("contrast").fill_nan(0).fill_null(0) >= config.min_contrast
    hashed = (pl.col("verify_hash").bin.size() == VERIFY_BYTES).fill_null(value=False)
    return contrast & pl.col("phash").is_not_null() & hashed


def _walk(compared: pl.DataFrame) -> pl.DataFrame:
    """Return the images in the order of the walk, with `place` in it and `leader`, the first of equal hashes.

    Equal hashes have equal neighbours, so what is true of the leader is true of all: a thousand copies cost what one
    does. Images that are not eligible come last.
    """
    first = [name for name in (*_BY_A_PERSON, "published") if name in compared.columns]
    pixels = pl.col("width").cast(pl.Int64) * pl.col("height")
    ordered = compared.sort(
        "eligible", *first, pixels, "bytes", "sha256", descending=[*[True] * (len(first) + 3), False], nulls_last=True
    )
    place = pl.int_range(pl.len(), dtype=pl.Int64).alias("place")
    return ordered.with_columns(place).with_columns(pl.col("place").min().over("phash", "verify_hash").alias("leader"))


def _hashes(images: pl.DataFrame) -> tuple[Hashes, LongHashes]:
    packed = np.frombuffer(b"".join(images["verify_hash"]), np.uint8).reshape(-1, VERIFY_BYTES)
    return images["phash"].cast(pl.UInt64).to_numpy(), packed


def _confirmed(phash: Hashes, verify_hash: LongHashes, config: NearDuplicates) -> Iterator[tuple[Pairs, _Distances]]:
    """Yield the pairs i < j that are near in both hashes, with the differing bits of the long one."""
    short, long = versions(phash, verify_hash, config.invariance)
    for block in pair_blocks(short, config.radius):
        apart = bits_apart(block, long)
        near = apart <= config.verify_radius
        pairs, new = folded(block[near], len(phash))
        yield pairs, apart[near][new]


def _alike(phash: Hashes, verify_hash: LongHashes, config: NearDuplicates) -> Alike:
    """Return what compares one image with others as `_confirmed` does, in all positions."""
    both = np.concatenate((phash.astype(">u8").view(np.uint8).reshape(-1, 8), verify_hash), axis=1)
    words = both.view(np.uint64)

    def alike(node: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        found = np.zeros(len(others), np.bool_)
        for symmetry in GROUPS[config.invariance]:
            position = np.concatenate(
                (turned(both[node : node + 1, :8], symmetry), turned(both[node : node + 1, 8:], symmetry)), axis=1
            )
            apart = np.bitwise_count(words[others] ^ position.view(np.uint64))
            found |= (apart[:, 0] <= config.radius) & (apart[:, 1:].sum(axis=1, dtype=np.int64) <= config.verify_radius)
        return found

    return alike
