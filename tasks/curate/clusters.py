"""Which images are one picture, and which rows must stay on one side of a split.

Owns the two unions of the stage: near-duplicate images into clusters, clusters and observations into
components. Reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.curate.config import NearDuplicates
from tasks.curate.near import Hashes, Pairs, pair_blocks, verify

VERIFY_BYTES = 32
Labels = NDArray[np.int64]


def unite(count: int, blocks: Iterable[Pairs]) -> Labels:
    """Return the component number of each of `count` nodes joined by the pairs of all blocks.

    One block is held at a time, so the pairs may be far more than memory holds.
    """
    labels: Labels = np.arange(count, dtype=np.int64)
    for pairs in blocks:
        edges = labels[pairs]
        graph = coo_array((np.ones(len(edges), np.bool_), (edges[:, 0], edges[:, 1])), shape=(count, count))
        labels = connected_components(graph, directed=False)[1].astype(np.int64)[labels]
    return labels


def near_duplicates(phash: Hashes, verify_hash: NDArray[np.uint8], config: NearDuplicates) -> Labels:
    """Return the cluster number of each image.

    Images of equal hashes are one from the start and searched once, so a thousand copies cost what one does.

    Args:
        phash: 64-bit hashes, shape (N,), dtype uint64.
        verify_hash: 256-bit hashes, shape (N, 32), dtype uint8.
        config: radius in which candidates lie, radius in which they are confirmed.
    """
    if not len(phash):
        return np.empty(0, np.int64)
    both = np.concatenate((phash.astype("<u8").view(np.uint8).reshape(-1, 8), verify_hash), axis=1)
    _, first, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)
    distinct, confirm = phash[first], verify_hash[first]
    blocks = (block[verify(block, confirm, config.verify_radius)] for block in pair_blocks(distinct, config.radius))
    return unite(len(distinct), blocks)[inverse]


def add_clusters(images: pl.DataFrame, config: NearDuplicates) -> pl.DataFrame:
    """Add `cluster_id`, the smallest SHA-256 of the cluster, to a table of one row per SHA-256.

    An image that is too flat (contrast below `min_contrast`) or was stored without hashes is a cluster of
    its own: all flat images have nearly the same hash, whatever their colour.
    """
    comparable = pl.col("contrast").fill_nan(0).fill_null(0) >= config.min_contrast
    hashed = pl.col("phash").is_not_null() & (pl.col("verify_hash").bin.size() == VERIFY_BYTES).fill_null(value=False)
    images = images.sort("sha256").with_columns((comparable & hashed).alias("comparable"))
    rows = images["comparable"].arg_true().to_numpy()
    compared = images[rows]
    packed = np.frombuffer(b"".join(compared["verify_hash"]), np.uint8).reshape(-1, VERIFY_BYTES)
    labels = np.arange(images.height, dtype=np.int64)
    labels[rows] = images.height + near_duplicates(compared["phash"].to_numpy(), packed, config)
    number = pl.Series("cluster", labels)
    return images.with_columns(pl.col("sha256").min().over(number).alias("cluster_id")).drop("comparable")


def add_components(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `component`, the smallest SHA-256 among all rows linked by a shared cluster or observation.

    Every row counts, also those not kept: a dropped near-duplicate still ties the image kept in its place to
    the observation it came from. An empty `group_id` is no observation.
    """
    cluster = rows["cluster_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    groups = rows.select(pl.col("group_id").replace("", None).rank("dense").cast(pl.Int64) - 1).to_series()
    clusters = int(cluster.max(initial=-1)) + 1
    known = groups.is_not_null().to_numpy()
    pairs = np.column_stack((cluster[known], clusters + groups.drop_nulls().to_numpy()))
    labels = unite(clusters + groups.n_unique(), [pairs])[cluster]
    return rows.with_columns(pl.col("sha256").min().over(pl.Series("part", labels)).alias("component"))
