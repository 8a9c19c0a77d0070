from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import polars as pl
import pytest

from tasks.core.files import read_json
from tasks.core.tables import PREDICTIONS
from tasks.core.workspace import Workspace
from tasks.models.config import LearnConfig
from tasks.prepare.features import prepare_features
from tasks.prepare.pixels import prepare_pixels
from tasks.train.winner import Inputs, fit_folder, predictions, train_winner

MODEL = {"backbone": "mobilenet", "alpha": 0.25, "weights": "none", "image_size": 32}


def learn(**train: object) -> LearnConfig:
    fields = {"epochs": 3, "batch_size": 4, "early_stopping": None, **train}
    return LearnConfig.model_validate(
        {"model": MODEL, "train": fields, "augment": {"horizontal_flip": True, "views": 1}}
    )


@pytest.fixture
def inputs(workspace: Workspace, dataset: Path) -> Inputs:
    prepared = prepare_pixels(workspace, dataset, learn().model)
    return Inputs(dataset, prepared, prepare_features(workspace, prepared, learn(), weights=None), None)


def test_the_fit_predicts_every_image_with_the_model_it_saved(workspace: Workspace, inputs: Inputs) -> None:
    folder = train_winner(workspace, inputs, learn(), facts={"trial_id": "3"})
    table = pl.read_parquet(folder / "predictions.parquet")
    assert dict(table.schema) == PREDICTIONS
    assert table.height == 18
    pixels = np.load(inputs.prepared / "pixels.npy").astype(np.float32)
    again = keras.saving.load_model(folder / "model.keras").predict(pixels, verbose=0)
    np.testing.assert_allclose(np.array(table["probabilities"].to_list()), again, atol=1e-5)
    facts = read_json(folder / "fit.json")
    assert (facts["labels"], facts["trial_id"], facts["dataset"]) == (["blue", "red"], "3", "v1")
    assert pl.read_csv(folder / "history.csv")["phase"].to_list() == ["head"] * 3


def test_the_same_again_trains_nothing(workspace: Workspace, inputs: Inputs) -> None:
    folder = train_winner(workspace, inputs, learn(), facts={})
    before = (folder / "model.keras").stat().st_mtime_ns
    assert train_winner(workspace, inputs, learn(), facts={}) == folder
    assert (folder / "model.keras").stat().st_mtime_ns == before
    assert fit_folder(workspace, inputs.features, learn(epochs=4), facts={}) != folder
    assert fit_folder(workspace, inputs.features, learn(), facts={"search": "another"}) != folder


def test_fine_tuning_changes_the_last_layers_and_no_batch_statistics(workspace: Workspace, inputs: Inputs) -> None:
    tuned = learn(fine_tune={"layers": 8, "learning_rate": 0.01, "epochs": 2})
    folder = train_winner(workspace, inputs, tuned, facts={})
    assert pl.read_csv(folder / "history.csv")["phase"].to_list() == ["head"] * 3 + ["fine-tune"] * 2
    assert read_json(folder / "fit.json")["trainable_backbone_layers"] > 0
    model = keras.saving.load_model(folder / "model.keras")
    body = next(
        layer for layer in model.layers if isinstance(layer, keras.Model) and layer.name.startswith("mobilenet")
    )
    before = keras.applications.MobileNet(include_top=False, weights=None, alpha=0.25, input_shape=(32, 32, 3))
    before.load_weights(inputs.features / "backbone.weights.h5")
    changed = {
        layer.name
        for layer, old in zip(body.layers, before.layers, strict=True)
        if any(not np.array_equal(a, b) for a, b in zip(layer.get_weights(), old.get_weights(), strict=True))
    }
    assert changed
    assert changed <= {layer.name for layer in body.layers[-8:]}
    assert not any(isinstance(body.get_layer(name), keras.layers.BatchNormalization) for name in changed)


def test_fine_tuning_that_makes_it_worse_is_undone(workspace: Workspace, inputs: Inputs) -> None:
    # The head is right about every colour, so the best that fine-tuning can do is to be no better.
    base = {"early_stopping": {"monitor": "val_accuracy", "patience": 9}, "epochs": 40, "learning_rate": 0.05}
    tame = train_winner(workspace, inputs, learn(**base), facts={})
    assert pl.read_csv(tame / "history.csv")["val_accuracy"].max() == 1
    wild = learn(**base, fine_tune={"layers": 8, "learning_rate": 50.0, "epochs": 1})
    folder = train_winner(workspace, inputs, wild, facts={})
    assert read_json(folder / "fit.json")["trainable_backbone_layers"] == 0
    first, second = (pl.read_parquet(path / "predictions.parquet")["confidence"].to_numpy() for path in (tame, folder))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_predictions_name_the_most_probable_class() -> None:
    index = pl.DataFrame({"sha256": ["x", "y"], "label": ["a", "b"], "split": ["test", "test"]})
    table = predictions(index, np.array([[0.2, 0.8], [0.6, 0.4]], np.float32), ("a", "b"))
    assert table["predicted"].to_list() == ["b", "a"]
    assert table["confidence"].to_list() == pytest.approx([0.8, 0.6])
