"""The report of a finished fit, every figure of it derived from its predictions and its history.

Reads predictions.parquet, history.csv and fit.json of the fit and the images of the data set; writes
metrics.json, per_class.csv, confusion.csv and the pictures beside them, evaluation.json last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import DataError
from tasks.core.files import read_json, write_atomic, write_json
from tasks.core.fingerprint import file_digest, fingerprint
from tasks.core.sheet import contact_sheet
from tasks.core.tables import MANIFEST, PREDICTIONS, read_tables
from tasks.evaluate.config import EvaluateConfig
from tasks.evaluate.metrics import (
    Metrics,
    class_table,
    confusion,
    confusion_table,
    mistakes,
    split_metrics,
)
from tasks.evaluate.pictures import class_picture, confusion_picture, curves_picture

VERSION = 1  # raised when the same predictions would give other files
DONE = "evaluation.json"
_COLUMNS, _TILE = 6, 160


def evaluate(fit: Path, *, dataset: Path, config: EvaluateConfig) -> Metrics:
    """Write the report of the fit folder `fit`, or read it where it is written already.

    Args:
        fit: folder with predictions.parquet, history.csv and fit.json.
        dataset: the data set version it learnt from; its test images are shown as mistakes.
        config: how many mistakes are shown.

    Returns:
        Split to figures (`metrics.split_metrics`).

    Raises:
        DataError: the fit has no predictions of the test split.
    """
    key = fingerprint(VERSION, config, file_digest(fit / "predictions.parquet"))
    if (fit / DONE).exists() and read_json(fit / DONE).get("key") == key:
        return dict(read_json(fit / "metrics.json"))
    facts: dict[str, Any] = read_json(fit / "fit.json")
    labels = list(facts["labels"])
    predictions = read_tables([fit / "predictions.parquet"], PREDICTIONS)
    test = predictions.filter(pl.col("split") == "test")
    if test.is_empty():
        raise DataError(
            f"{fit / 'predictions.parquet'} holds no test image.",
            received=f"{predictions.height} rows of {', '.join(predictions['split'].unique().sort()) or 'no split'}",
            hint="Remove this folder and run the same command again: the model is fitted and judged anew.",
        )
    found = split_metrics(predictions, labels)
    _write_tables(fit, predictions, labels)
    _write_pictures(fit, test, facts)
    _write_mistakes(fit, mistakes(predictions, config.mistakes), dataset)
    write_json(fit / "metrics.json", found)
    write_json(fit / DONE, {"key": key, "config": config.model_dump(mode="json")})
    return found


def _write_tables(fit: Path, predictions: pl.DataFrame, labels: list[str]) -> None:
    test = predictions.filter(pl.col("split") == "test")
    _write_csv(fit / "per_class.csv", class_table(predictions, labels))
    _write_csv(fit / "confusion.csv", confusion_table(confusion(test, labels), labels))


def _write_csv(path: Path, table: pl.DataFrame) -> None:
    write_atomic(path, lambda stream: stream.write(table.write_csv().encode()))


def _write_pictures(fit: Path, test: pl.DataFrame, facts: dict[str, Any]) -> None:
    labels = list(facts["labels"])
    classes = class_table(test, labels)
    history = pl.read_csv(fit / "history.csv")
    pictures = {
        "confusion.png": confusion_picture(confusion(test, labels), labels),
        "per_class.png": class_picture(classes),
        "curves.png": curves_picture(history, best_epoch=facts.get("best_epoch")),
    }
    for name, data in pictures.items():
        _write_bytes(fit / name, data)


def _write_mistakes(fit: Path, wrong: pl.DataFrame, dataset: Path) -> None:
    """Write the contact sheet of mistakes; where there are none, no sheet of an earlier report stays."""
    manifest = read_tables([dataset / "manifest.parquet"], MANIFEST).select("sha256", "path")
    paths = dict(manifest.iter_rows())
    rows = [
        (f"{row['label']}\n→ {row['predicted']} {row['confidence']:.0%}", dataset / paths[row["sha256"]])
        for row in wrong.iter_rows(named=True)
        if row["sha256"] in paths
    ]
    if rows:
        _write_bytes(fit / "mistakes.png", contact_sheet(rows, columns=min(_COLUMNS, len(rows)), tile=_TILE))
    else:
        (fit / "mistakes.png").unlink(missing_ok=True)


def _write_bytes(path: Path, data: bytes) -> None:
    write_atomic(path, lambda stream: stream.write(data))


def flat(metrics: Metrics) -> dict[str, float]:
    """Return {"test/accuracy": …}: one level, as trackers and tables want it."""
    return {f"{split}/{name}": value for split, figures in metrics.items() for name, value in figures.items()}
