from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tasks.core.errors import DataError, WorkspaceError
from tasks.core.tables import PREDICTIONS, read_tables, write_table
from tasks.evaluate.config import EvaluateConfig
from tasks.evaluate.report import evaluate, flat

FILES = {
    "metrics.json",
    "per_class.csv",
    "confusion.csv",
    "confusion.png",
    "per_class.png",
    "curves.png",
    "mistakes.png",
}


def test_everything_is_written_and_agrees(fit: Path, dataset: Path) -> None:
    found = evaluate(fit, dataset=dataset, config=EvaluateConfig())
    assert {path.name for path in fit.iterdir()} >= FILES
    assert json.loads((fit / "metrics.json").read_text()) == found
    assert found["test"]["accuracy"] == pytest.approx(0.5)
    with (fit / "confusion.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    right = sum(int(row["count"]) for row in rows if row["true"] == row["predicted"])
    assert right / sum(int(row["count"]) for row in rows) == found["test"]["accuracy"]
    with (fit / "per_class.csv").open() as stream:
        classes = [row for row in csv.DictReader(stream) if row["split"] == "test"]
    recalls = [float(row["recall"]) for row in classes]
    assert sum(recalls) / len(recalls) == pytest.approx(found["test"]["balanced_accuracy"])
    assert not [path for path in fit.iterdir() if path.name.endswith(".part")]


def test_figures_come_out_flat(fit: Path, dataset: Path) -> None:
    figures = flat(evaluate(fit, dataset=dataset, config=EvaluateConfig()))
    assert figures["test/n"] == 6
    assert {name.split("/")[0] for name in figures} == {"train", "val", "test"}


def test_a_second_call_touches_nothing(fit: Path, dataset: Path) -> None:
    config = EvaluateConfig()
    first = evaluate(fit, dataset=dataset, config=config)
    stamps = {path.name: path.stat().st_mtime_ns for path in fit.iterdir()}
    assert evaluate(fit, dataset=dataset, config=config) == first
    assert {path.name: path.stat().st_mtime_ns for path in fit.iterdir()} == stamps


def test_a_report_cut_short_is_written_again(fit: Path, dataset: Path) -> None:
    config = EvaluateConfig()
    first = evaluate(fit, dataset=dataset, config=config)
    before = {name: (fit / name).read_bytes() for name in FILES}
    (fit / "evaluation.json").unlink()
    (fit / "confusion.png").unlink()
    assert evaluate(fit, dataset=dataset, config=config) == first
    assert {name: (fit / name).read_bytes() for name in FILES} == before


def test_other_predictions_give_another_report(fit: Path, dataset: Path) -> None:
    first = evaluate(fit, dataset=dataset, config=EvaluateConfig())
    table = read_tables([fit / "predictions.parquet"], PREDICTIONS)
    write_table(table.with_columns(pl.col("label").alias("predicted")), fit / "predictions.parquet")
    second = evaluate(fit, dataset=dataset, config=EvaluateConfig())
    assert second["test"]["accuracy"] == 1 > first["test"]["accuracy"]
    assert not (fit / "mistakes.png").exists()


def test_as_many_mistakes_are_shown_as_asked_for(fit: Path, dataset: Path) -> None:
    evaluate(fit, dataset=dataset, config=EvaluateConfig(mistakes=3))
    with Image.open(fit / "mistakes.png") as three:
        width = three.width
    evaluate(fit, dataset=dataset, config=EvaluateConfig(mistakes=1))
    with Image.open(fit / "mistakes.png") as one:
        assert one.width * 3 == width
    evaluate(fit, dataset=dataset, config=EvaluateConfig(mistakes=0))
    assert not (fit / "mistakes.png").exists()


def test_no_test_predictions_is_said_so(fit: Path, dataset: Path) -> None:
    table = read_tables([fit / "predictions.parquet"], PREDICTIONS)
    write_table(table.filter(pl.col("split") != "test"), fit / "predictions.parquet")
    with pytest.raises(DataError, match="holds no test image") as caught:
        evaluate(fit, dataset=dataset, config=EvaluateConfig())
    assert "6 rows of train, val" in caught.value.received


def test_a_folder_that_cannot_be_written_is_one_clear_error(fit: Path, dataset: Path) -> None:
    (fit / "per_class.csv").mkdir()  # a folder where a file must go: fails for root too
    with pytest.raises(WorkspaceError, match=r"per_class\.csv could not be written"):
        evaluate(fit, dataset=dataset, config=EvaluateConfig())
