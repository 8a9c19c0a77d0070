"""Figures of a finished fit: per split, per class, and the confusion matrix of one split.

Reads a predictions table (core.tables.PREDICTIONS); writes nothing. Classes that a split lacks, or that
are never predicted, give 0, never an error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

Metrics = dict[str, dict[str, float]]
"""Split to figure: n, accuracy, macro_f1, balanced_accuracy, log_loss."""

Counts = np.ndarray[Any, np.dtype[np.int64]]

SPLITS = ("train", "val", "test")


def split_metrics(predictions: pl.DataFrame, labels: list[str]) -> Metrics:
    """Return the figures of each split that has images, in the order train, val, test.

    accuracy: share of images given their class. macro_f1: mean F1 of the classes that occur in the
    split or are predicted there. balanced_accuracy: mean sensitivity of the classes that occur there
    (Brodersen et al. 2010). log_loss: mean negative natural logarithm of the true class's probability.

    Args:
        predictions: rows of core.tables.PREDICTIONS.
        labels: class names in the order of `probabilities`.
    """
    found: Metrics = {}
    for split in SPLITS:
        rows = predictions.filter(pl.col("split") == split)
        if rows.height:
            found[split] = _figures(rows, labels)
    return found


def _figures(rows: pl.DataFrame, labels: list[str]) -> dict[str, float]:
    true, predicted = rows["label"].to_list(), rows["predicted"].to_list()
    classes = per_class(rows, labels)
    present = classes.filter(pl.col("n") > 0)
    seen = classes.filter((pl.col("n") > 0) | (pl.col("predicted") > 0))
    # Softmax rows in float32 sum to 1 within 1e-7 only; scikit-learn warns unless they are exact.
    probabilities = np.asarray(rows["probabilities"].to_list(), dtype=np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    positions = [labels.index(label) for label in true]
    return {
        "n": float(rows.height),
        "accuracy": float(accuracy_score(true, predicted)),
        "macro_f1": _mean(seen["f1"]),
        "balanced_accuracy": _mean(present["recall"]),
        "log_loss": float(log_loss(positions, probabilities, labels=list(range(len(labels))))),
    }


def _mean(values: pl.Series) -> float:
    return float(np.mean(values.to_numpy()))


def per_class(rows: pl.DataFrame, labels: list[str]) -> pl.DataFrame:
    """Return one row a class, in the order of `labels`.

    Columns: label, n (images of the class), predicted (images given this class), precision, recall
    (= sensitivity), specificity (share of the other classes' images not given this class), f1.
    """
    counts = confusion(rows, labels)
    precision, recall, f1, n = precision_recall_fscore_support(
        rows["label"].to_list(), rows["predicted"].to_list(), labels=labels, zero_division=0
    )
    hits, given = counts.diagonal(), counts.sum(axis=0)
    negatives = counts.sum() - n
    false_positives = given - hits
    specificity = np.divide(negatives - false_positives, negatives, out=np.zeros(len(labels)), where=negatives > 0)
    return pl.DataFrame({
        "label": labels, "n": n.astype(np.int64), "predicted": given, "precision": precision, "recall": recall,
        "specificity": specificity, "f1": f1,
    })  # fmt: skip


def class_table(predictions: pl.DataFrame, labels: list[str]) -> pl.DataFrame:
    """Return `per_class` of every split, one below the other, with the column `split` in front."""
    tables = []
    for split in SPLITS:
        rows = predictions.filter(pl.col("split") == split)
        if rows.height:
            tables.append(per_class(rows, labels).select(pl.lit(split).alias("split"), pl.all()))
    return pl.concat(tables)


def confusion(rows: pl.DataFrame, labels: list[str]) -> Counts:
    """Return how often each class (row) was given each class (column): int64 (C, C)."""
    counts = confusion_matrix(rows["label"].to_list(), rows["predicted"].to_list(), labels=labels)
    return np.asarray(counts, dtype=np.int64)


def confusion_table(counts: Counts, labels: list[str]) -> pl.DataFrame:
    """Return the confusion matrix as rows: true, predicted, count; zeros included."""
    return pl.DataFrame({
        "true": [true for true in labels for _ in labels],
        "predicted": labels * len(labels),
        "count": counts.reshape(-1),
    })  # fmt: skip


def mistakes(predictions: pl.DataFrame, count: int, *, split: str = "test") -> pl.DataFrame:
    """Return the `count` most confident mistakes of a split; equals in the order of their SHA-256."""
    wrong = predictions.filter((pl.col("split") == split) & (pl.col("label") != pl.col("predicted")))
    return wrong.sort(["confidence", "sha256"], descending=[True, False]).head(count)
