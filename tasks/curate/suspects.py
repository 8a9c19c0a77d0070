"""Images that look mislabelled or off-topic, ranked for a person to look at; nothing is set aside by it.

Reads backbone features (clean.npy), their index and a manifest; writes into collections/<recipe>/suspects/ the table
<version>-<features key>-<method>.parquet and newest.json, which names the table written last.

Methods and figures: docs/review.md, docs/decisions/0011-suspects.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.core.errors import DataError
from tasks.core.files import read_json, write_json
from tasks.core.tables import Schema, conform, read_tables, write_table

if TYPE_CHECKING:
    from tasks.curate.evidence import Evidence, FloatArray

METHOD = 1  # raised whenever the same features would be ranked otherwise than before
MISLABELLED = "mislabelled"
OFF_TOPIC = "off-topic"

SUSPECTS: Schema = {
    "sha256": pl.String(),
    "label": pl.String(),
    "suggested": pl.String(),  # the likeliest other class; null where the image is off-topic
    "reason": pl.String(),  # mislabelled | off-topic
    "score": pl.Float64(),  # 0 to 1, six decimals; 0.5 is where suspicion begins
    "rank": pl.Int64(),  # 1 = look at this one first
}

_NEWEST = "newest.json"
_FAR = 2.5  # modified z-score above which an image is far from all others: Leys and others 2013
_BEGINS = 0.5
_DECIMALS = 6  # of a score: libraries of linear algebra differ in the last bits


@dataclass(frozen=True)
class Featured:
    """Where the features of a data set version lie: row i of `features` belongs to row i of `index`."""

    features: Path
    """Folder of the features, named by their key: clean.npy, float32 (N, D)."""
    index: Path
    """Parquet with the column sha256, in the order of the features."""
    dataset: Path
    """Folder of the version, named by it: manifest.parquet with sha256, label, component."""


def suspects(
    features: FloatArray,
    labels: NDArray[np.str_],
    groups: NDArray[np.str_],
    *,
    sha256: NDArray[np.str_],
    seed: int = 1337,
) -> pl.DataFrame:
    """Rank the images that look mislabelled or off-topic.

    Mislabelled is the mean of two things: how little a classifier that has not seen the image's group believes in its
    class (1 - self-confidence, as in confident learning: Northcutt, Jiang and Chuang 2021), and the share of its
    nearest neighbours of other groups that are of another class; or, where that is more, the share of its nearest
    neighbours of its own group that are. Copies and images of one observation do not vouch for each other, but they may
    contradict. A suspect is an image that the classifier would rather put elsewhere, or that most of its group
    contradicts.

    Off-topic is how far the nearest neighbours of other groups, of any class, are, as a modified z-score; a suspect
    is further than 2.5 of them (Leys and others 2013). Each image is listed once, for what speaks more against it.

    Args:
        features: float (N, D), finite; may be mapped to a file.
        labels: class of each image.
        groups: component of each image: copies and images of one observation do not vouch for each other.
        sha256: names the images; the order of the rows does not count.
        seed: of the folds.

    Returns:
        Schema SUSPECTS, sorted by rank. Empty where there is nothing to compare.

    Raises:
        DataError: the arrays differ in length, or features are not finite.
    """
    _check(features, len(labels), len(groups), len(sha256))
    order = np.argsort(sha256, kind="stable")
    from tasks.curate.evidence import gather  # noqa: PLC0415 - scikit-learn takes a second to load; curating needs none

    evidence = gather(features, labels[order], groups[order], order=order, seed=seed)
    names = np.append(evidence.names, "")
    scores = {MISLABELLED: _mislabelled(evidence), OFF_TOPIC: _off_topic(evidence.distance)}
    best = np.argmax(np.stack(list(scores.values())), axis=0)
    rows = pl.DataFrame({
        "sha256": sha256[order],
        "label": labels[order],
        "suggested": names[evidence.suggested],
        "reason": np.array(list(scores))[best],
        "score": np.round(np.max(np.stack(list(scores.values())), axis=0), _DECIMALS),
    })  # fmt: skip
    known = (pl.col("reason") == MISLABELLED) & (pl.col("suggested") != "")
    listed = rows.filter(pl.col("score") > _BEGINS).with_columns(pl.when(known).then("suggested").alias("suggested"))
    ranked = listed.sort("score", "sha256", descending=[True, False])
    return conform(ranked.with_columns(pl.int_range(1, pl.len() + 1).alias("rank")), SUSPECTS)


def _check(features: FloatArray, *lengths: int) -> None:
    if features.ndim != 2 or set(lengths) != {len(features)}:  # noqa: PLR2004 - rows and columns
        raise DataError(
            "Features and images do not belong together.",
            received=f"Features of shape {features.shape}; labels, groups and images: {', '.join(map(str, lengths))}.",
            hint="Make the features anew: remove their folder and train again.",
        )


def _mislabelled(evidence: Evidence) -> FloatArray:
    """Return the score, 0 to 1; 0 where nothing speaks for another class."""
    contradiction = np.nan_to_num(evidence.contradiction)
    strangers = np.nan_to_num((evidence.doubt + evidence.disagreement) / 2)
    elsewhere = np.nan_to_num(evidence.rival) > 1 - np.nan_to_num(evidence.doubt)
    return np.where(elsewhere | (contradiction > _BEGINS), np.maximum(strangers, contradiction), 0.0)


def _off_topic(distance: FloatArray) -> FloatArray:
    """Return the score, 0 to 1, which is 0.5 at the modified z-score of 2.5; 0 where no distance is known."""
    known = np.isfinite(distance)
    if not known.any():
        return np.zeros(len(distance))
    above = np.where(known, distance - np.median(distance[known]), 0.0).clip(0)
    spread = 1.4826 * np.median(np.abs(distance[known] - np.median(distance[known])))
    z = above / spread if spread > 0 else np.zeros(len(distance))
    return np.asarray(z**2 / (z**2 + _FAR**2))


def write_suspects(collection: Path, featured: Featured, *, seed: int = 1337) -> Path:
    """Rank the images of a version by its features, unless that is done; return the table's address.

    Raises:
        DataError: features, index and manifest do not belong together, or features are not finite.
        WorkspaceError: it cannot be written.
    """
    folder = collection / "suspects"
    path = folder / f"{featured.dataset.name}-{featured.features.name}-{METHOD}.parquet"
    if not path.exists():
        write_table(_ranked(featured, seed), path)
    newest = {"table": path.name}
    if not (folder / _NEWEST).is_file() or read_json(folder / _NEWEST) != newest:
        write_json(folder / _NEWEST, newest)
    return path


def _ranked(featured: Featured, seed: int) -> pl.DataFrame:
    index = pl.read_parquet(featured.index, columns=["sha256"])
    manifest = pl.read_parquet(featured.dataset / "manifest.parquet", columns=["sha256", "label", "component"])
    rows = index.join(manifest, on="sha256", how="left", maintain_order="left")
    if unknown := rows["label"].null_count():
        raise DataError(
            f"{unknown} images with features are not in the data set {featured.dataset.name}.",
            received=f"Index: {featured.index}",
            hint="Name the version that the features were made from.",
        )
    groups = rows["component"].fill_null(rows["sha256"])
    columns = (column.to_numpy().astype(str) for column in (rows["label"], groups, rows["sha256"]))
    labels, components, sha256 = columns
    features = np.load(featured.features / "clean.npy", mmap_mode="r")
    return suspects(features, labels, components, sha256=sha256, seed=seed)


def read_suspects(collection: Path) -> pl.DataFrame:
    """Return the table that was written last, schema SUSPECTS; empty before the first training."""
    newest = collection / "suspects" / _NEWEST
    path = newest.with_name(read_json(newest)["table"]) if newest.is_file() else newest
    return read_tables([path] if path.suffix == ".parquet" and path.is_file() else [], SUSPECTS)
