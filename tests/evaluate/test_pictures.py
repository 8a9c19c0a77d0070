from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tasks.evaluate.metrics import per_class
from tasks.evaluate.pictures import class_picture, confusion_picture, curves_picture


def size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image.size


@pytest.mark.parametrize("number", [2, 7, 40, 202])
def test_confusion_grows_with_the_classes(number: int) -> None:
    labels = [f"class {place}" for place in range(number)]
    counts = np.random.default_rng(0).integers(0, 50, (number, number))
    width, height = size(confusion_picture(counts, labels))
    assert 400 <= height <= width <= 3200


def test_confusion_shows_a_class_without_images_and_odd_names() -> None:
    counts = np.array([[3, 1], [0, 0]])
    assert size(confusion_picture(counts, ["a$b$_c^", "x" * 200]))


def test_the_same_figures_give_the_same_bytes_and_others_do_not() -> None:
    labels = ["ant", "bee"]
    one = confusion_picture(np.array([[3, 1], [0, 4]]), labels)
    assert one == confusion_picture(np.array([[3, 1], [0, 4]]), labels)
    assert one != confusion_picture(np.array([[3, 1], [1, 3]]), labels)


def test_curves_need_no_validation_columns() -> None:
    history = pl.DataFrame({"phase": ["head"], "epoch": [0], "loss": [1.0]})
    assert size(curves_picture(history))[0] == 1200


def test_curves_mark_phases_and_the_kept_epoch() -> None:
    history = pl.DataFrame({"phase": ["head", "head", "fine-tune"], "epoch": [0, 1, 2], "loss": [1.0, 0.8, 0.5]})
    plain = history.with_columns(pl.lit("head").alias("phase"))
    assert curves_picture(history) != curves_picture(plain)
    assert curves_picture(history, best_epoch=1) != curves_picture(history, best_epoch=2)


def test_class_picture_has_a_row_a_class() -> None:
    rows = pl.DataFrame({"label": ["ant", "bee"], "predicted": ["ant", "ant"]})
    small = size(class_picture(per_class(rows, ["ant", "bee"])))
    large = size(class_picture(per_class(rows, ["ant", "bee", *(f"class {n}" for n in range(20))])))
    assert large[1] > small[1]
