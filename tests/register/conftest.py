"""A finished fit with a small real network, and the data set it names."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import keras
import polars as pl
import pytest
from keras import layers
from PIL import Image, ImageDraw

from tasks.core.tables import MANIFEST, conform, write_table
from tasks.models.build import CaffePreprocessing
from tasks.track.config import Origin, Tracker
from tasks.track.search import open_search_run
from tests.conftest import LoopbackMlflow

LABELS = ["araneus", "latrodectus (mactans)", "zora"]
SIZE = 24


def network(seed: int) -> keras.Model:
    """Pixels 0-255 to probabilities, with a layer of our own as VGG's and ResNet's models have one."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential([
        keras.Input((SIZE, SIZE, 3)),
        CaffePreprocessing(),
        layers.Conv2D(4, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Rescaling(1 / 30),
        layers.Dense(len(LABELS), activation="softmax"),
    ])  # fmt: skip


@pytest.fixture
def make_fit(tmp_path: Path, dataset: Path) -> Callable[..., Path]:
    def make(name: str = "f17f17f17f17f17f", *, seed: int = 1) -> Path:
        folder = tmp_path / "fits" / name
        folder.mkdir(parents=True)
        network(seed).save(folder / "model.keras")
        (folder / "fit.json").write_text(json.dumps({
            "labels": LABELS, "image_size": SIZE, "fit": "pad", "dataset": dataset.name, "manifest_digest": "d1" * 32,
            "weights_sha256": None, "overrides": {"model.head.dropout": 0.3},
        }))  # fmt: skip
        figures = {"n": 4, "accuracy": 0.75, "macro_f1": 0.7, "balanced_accuracy": 0.72, "log_loss": 0.6}
        (folder / "metrics.json").write_text(json.dumps({"test": figures}))
        return folder

    return make


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "datasets" / "4f00c0ffee001234"
    manifest = conform(pl.DataFrame({"sha256": ["0"], "label": ["zora"], "split": ["test"]}), MANIFEST)
    write_table(manifest, folder / "manifest.parquet")
    about = {"digest": "d1" * 32, "licences": {"cc-by": 3, "cc0": 1}, "counts": {"test": {"zora": 1}}}
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def tracker(mlflow_server: LoopbackMlflow, tmp_path: Path) -> Tracker:
    return Tracker(uri=mlflow_server.uri, experiment=f"register {tmp_path.name}")


@pytest.fixture
def name(tmp_path: Path) -> str:
    return f"spiders-{tmp_path.name}"


@pytest.fixture
def run_id(tracker: Tracker, dataset: Path, tmp_path: Path) -> str:
    search = tmp_path / "searches" / "5ea2c41100000001"
    return open_search_run(tracker, search=search, dataset=dataset, params={}, origin=Origin(recipe="spiders"))


@pytest.fixture
def photo() -> bytes:
    """A painted JPEG, wider than high, so that a wrong `fit` changes the answer."""
    painter = random.Random(5)  # noqa: S311 - a picture, not a secret
    image = Image.new("RGB", (90, 40), (200, 180, 90))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = painter.randrange(90), painter.randrange(40)
        draw.ellipse((x, y, x + 14, y + 9), fill=tuple(painter.randrange(256) for _ in range(3)))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=92)
    return stream.getvalue()
