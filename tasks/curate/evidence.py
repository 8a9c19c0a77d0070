"""What backbone features say for and against the class of each image, by those that have nothing to do with it.

Owns the reduction of the features, the classifier judged out of sample and the nearest neighbours. Reads arrays in
blocks, so that they may be mapped to a file; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from tasks.core.errors import DataError

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]

DIMENSIONS = 128  # principal components kept
NEIGHBOURS = 20  # that vote on the class
NEIGHBOURHOOD = 50  # whose distance tells how lonely an image is: more than strangers of one kind among the images
FOLDS = 5
# So much regularisation that the classifier cannot learn wrong labels by heart (docs/review.md has the figures).
_STRENGTH = 0.01
_ITERATIONS = 200
_SAMPLE = 20_000  # rows from which means and principal components are taken
_BLOCK = 4096  # rows held at once
_OWN = 200  # neighbours of the own group passed over at most


@dataclass(frozen=True)
class Evidence:
    """What is known of N images; NaN where it could not be told."""

    names: NDArray[np.str_]
    """Classes, sorted."""
    suggested: IntArray
    """Place in `names` of the likeliest other class; -1 = none."""
    doubt: FloatArray
    """1 - probability of the image's own class by a classifier that has not seen its group."""
    rival: FloatArray
    """Probability of the likeliest other class by the same."""
    disagreement: FloatArray
    """Share of the nearest neighbours outside the group that are of another class."""
    contradiction: FloatArray
    """The same inside the group."""
    distance: FloatArray
    """Distance to the 50 nearest neighbours outside the group, of any class."""


def gather(
    features: FloatArray, labels: NDArray[np.str_], groups: NDArray[np.str_], *, order: IntArray, seed: int
) -> Evidence:
    """Return the evidence on each image.

    Args:
        features: float (N, D).
        labels: class of each image, (N,), in the order that `order` gives.
        groups: group of each image, the same.
        order: row of `features` that belongs to each of them.
        seed: of the folds.

    Raises:
        DataError: features are not finite.
    """
    names, codes = np.unique(labels, return_inverse=True)
    _, parts = np.unique(groups, return_inverse=True)
    reduced, rest = reduce(features, order)
    probabilities = out_of_sample(reduced, codes, parts, seed=seed)
    suggested, doubt, rival = _rivals(probabilities, codes)
    disagreement, contradiction, distance = neighbours(reduced, codes, parts)
    return Evidence(names, suggested, doubt, rival, disagreement, contradiction, np.hypot(distance, rest))


def reduce(features: FloatArray, order: IntArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return at most 128 principal components of the features, each image's divided by their length first.

    Distances between the results are those of cosine similarity, but for what the components leave out.

    Returns:
        Components, float32 (N, at most 128), and the length of what they leave out, float32 (N,): what is unlike all
        other images lies there.

    Raises:
        DataError: features are not finite; says how many images that concerns.
    """
    count, width = features.shape
    size = min(DIMENSIONS, width, max(count, 1))
    reduced, rest = np.zeros((count, size), np.float32), np.zeros(count, np.float32)
    sample = order[np.linspace(0, count - 1, min(count, _SAMPLE)).round().astype(np.int64)] if count else order
    some = _unit(features[sample])
    axes = PCA(size, svd_solver="covariance_eigh").fit(some) if np.isfinite(some).all() and count > 1 else None
    broken = 0
    for rows in _blocks(count):
        block = _unit(features[order[rows]])
        broken += int((~np.isfinite(block).all(axis=1)).sum())
        if axes is not None and not broken:
            reduced[rows] = axes.transform(block)
            length = np.square(block - axes.mean_).sum(axis=1) - np.square(reduced[rows]).sum(axis=1)
            rest[rows] = np.sqrt(length.clip(0))
    if broken:
        raise DataError(
            f"The features of {broken} of {count} images are not finite numbers.",
            received="NaN or infinity in them",
            hint="Remove the folder of these features and train again.",
        )
    return reduced, rest


def _unit(block: FloatArray) -> FloatArray:
    block = np.asarray(block, np.float32)
    length = np.linalg.norm(block, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity is told of afterwards
        return np.asarray(block / np.where(length > 0, length, 1))


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def out_of_sample(reduced: NDArray[np.float32], codes: IntArray, parts: IntArray, *, seed: int) -> FloatArray:
    """Return the probability of each class for each image by a classifier that has not seen the image's group.

    Logistic regression over the components, all by one scale, classes weighted alike, grouped and stratified
    cross-validation. Images of a class with a single group are not asked about (NaN): no other would vouch for it.

    Args:
        reduced: float (N, M).
        codes: class of each image, (N,).
        parts: group of each image, (N,).
        seed: of the folds.

    Returns:
        Float (N, classes), rows sum to 1 or are NaN.
    """
    classes = int(codes.max(initial=-1)) + 1
    probabilities = np.full((len(codes), classes), np.nan)
    pairs = np.unique(np.stack((codes, parts)), axis=1)
    several = np.bincount(pairs[0], minlength=classes) > 1
    asked = np.flatnonzero(several[codes])
    if several.sum() < 2:  # noqa: PLR2004 - one class cannot be told from another
        return probabilities
    scaled = reduced / (float(reduced.std()) or 1.0)
    for train, test in _folds(codes[asked], parts[asked], seed):
        learnt, judged = asked[train], asked[test]
        known = codes[learnt]
        if len(np.unique(known)) < 2:  # noqa: PLR2004 - as above
            continue
        model = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=_ITERATIONS, tol=1e-3)
        model.fit(scaled[learnt], known)
        told = np.zeros((len(judged), classes))
        told[:, model.classes_] = model.predict_proba(scaled[judged])
        # A class all of whose groups fell into this fold was never learnt: its images cannot be judged.
        told[~np.isin(codes[judged], model.classes_)] = np.nan
        probabilities[judged] = told
    return probabilities


def _folds(codes: IntArray, parts: IntArray, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield rows to learn from and rows to judge, so that whole groups are judged and every class is learnt each time.

    The groups of a class, the largest first, are dealt in turn, so a class of two groups has them in two folds.
    scikit-learn's StratifiedGroupKFold refuses or warns there, and took 5 s for 50,000 groups.
    """
    groups = (
        pl.DataFrame({"part": parts, "code": codes})
        .group_by("part")
        .agg(pl.col("code").mode().min(), pl.len().cast(pl.Int64).alias("size"))
        .sort("part")
    )
    drawn = pl.Series("drawn", np.random.default_rng(seed).permutation(groups.height))
    dealt = groups.with_columns(drawn).sort("code", -pl.col("size"), "drawn")
    # Each class begins at another fold, or the first would get all that is left over.
    place = pl.int_range(pl.len()).over("code") + pl.col("code")
    dealt = dealt.with_columns((place % FOLDS).alias("fold")).sort("part")
    fold = dealt["fold"].to_numpy()[np.searchsorted(dealt["part"].to_numpy(), parts)]
    for number in np.unique(fold):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _rivals(probabilities: FloatArray, codes: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return the likeliest other class (-1 where unknown), 1 - probability of the own one, probability of the other."""
    rows = np.arange(len(codes))
    if probabilities.shape[1] < 2:  # noqa: PLR2004 - there is no other class
        nothing = np.full(len(codes), np.nan)
        return np.full(len(codes), -1), nothing, nothing
    others = probabilities.copy()
    others[rows, codes] = -1
    likeliest = np.argmax(np.nan_to_num(others, nan=-1), axis=1)
    told = ~np.isnan(probabilities[rows, codes])
    return (
        np.where(told, likeliest, -1),
        1 - probabilities[rows, codes],
        np.where(told, others[rows, likeliest], np.nan),
    )


def neighbours(
    reduced: NDArray[np.float32], codes: IntArray, parts: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return for each image what its nearest neighbours say; NaN where it has none.

    Returns:
        Share of the nearest 20 outside the group that are of another class, the same of those inside, and mean distance
        of the nearest 50 outside; float (N,) each.
    """
    count = len(codes)
    disagreement, contradiction, distance = (np.full(count, np.nan) for _ in range(3))
    if not count:
        return disagreement, contradiction, distance
    largest = int(np.bincount(parts).max())
    wanted = min(count, NEIGHBOURHOOD + min(largest, _OWN))
    search = NearestNeighbors(n_neighbors=wanted, algorithm="brute").fit(reduced)
    for rows in _blocks(count):
        far, near = search.kneighbors(reduced[rows])
        outside = parts[near] != parts[rows, None]
        inside = ~outside & (near != np.arange(count)[rows, None])
        other = codes[near] != codes[rows, None]
        disagreement[rows] = _mean(other, _first(outside, NEIGHBOURS))
        contradiction[rows] = _mean(other, _first(inside, NEIGHBOURS))
        distance[rows] = _mean(far, _first(outside, NEIGHBOURHOOD))
    return disagreement, contradiction, distance


def _first(chosen: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Return the first `count` of those chosen in each row."""
    return chosen & (np.cumsum(chosen, axis=1) <= count)


def _mean(values: NDArray[Any], counted: NDArray[np.bool_]) -> FloatArray:
    """Return the mean of the values counted in each row; NaN where there is none."""
    number = counted.sum(axis=1)
    return np.where(number > 0, np.where(counted, values, 0).sum(axis=1) / np.maximum(number, 1), np.nan)
