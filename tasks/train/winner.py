"""The best trial refitted, optionally fine-tuned, and its predictions of every image.

Reads features and prepared images; writes fits/<fingerprint>/{model.keras, history.csv,
metrics.jsonl, predictions.parquet, fit.json}, published whole.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl

from tasks.core import methods
from tasks.core.files import publishing, read_json, write_json
from tasks.core.fingerprint import fingerprint
from tasks.core.tables import PREDICTIONS, conform, write_table
from tasks.core.workspace import Workspace
from tasks.models.build import augmentation, backbone, classifier, extractor, unfreeze
from tasks.models.config import LearnConfig
from tasks.models.features import Features, Prepared
from tasks.models.heads import fit_head
from tasks.models.learning import HISTORY, PIXELS_BATCH, Chunks, History, Sink, compile_model, fit


@dataclass(frozen=True)
class Inputs:
    """What a fit is made from: folders of the data set, its resized images, their features, the weights."""

    dataset: Path
    prepared: Path
    features: Path
    weights: Path | None


def fit_folder(workspace: Workspace, features: Path, learn: LearnConfig, *, facts: dict[str, Any]) -> Path:
    """Return where the fit lies, made or not. Its facts count: two searches that agree each have their own."""
    return workspace.fit(fingerprint(features.name, learn, facts, keras.__version__, methods.FIT))


def train_winner(
    workspace: Workspace, inputs: Inputs, learn: LearnConfig, *, facts: dict[str, Any], sink: Sink | None = None
) -> Path:
    """Fit the head, fine-tune where the recipe says so, predict every image; return the folder of the fit.

    Args:
        workspace: where fits lie.
        inputs: folders and weights.
        learn: the winning configuration.
        facts: kept in fit.json beside ours (search, trial, overrides).
        sink: receives each figure as it comes.
    """
    folder = fit_folder(workspace, inputs.features, learn, facts=facts)
    if folder.is_dir():
        return folder
    started = time.monotonic()
    features, prepared = Features.load(inputs.features, inputs.prepared), Prepared.load(inputs.prepared)
    with publishing(folder) as part:
        history = History(spool=part / "metrics.jsonl", sink=sink)
        top = fit_head(features, learn, history)
        model, body = _assemble(learn, inputs, top)
        trainable = _fine_tune(model, body, prepared, features, learn, history)
        probabilities = model.predict(Chunks(prepared.pixels), verbose=0)
        write_table(predictions(prepared.index, probabilities, features.names), part / "predictions.parquet")
        pl.DataFrame(history.rows).select(
            "phase", "epoch", *[n for n in HISTORY[2:] if n in history.rows[0]]
        ).write_csv(part / "history.csv")
        model.save(part / "model.keras")
        manifest = read_json(inputs.dataset / "dataset.json")
        write_json(part / "fit.json", {
            "labels": features.names, "learn": learn.model_dump(mode="json"), "image_size": learn.model.image_size,
            "fit": learn.model.fit, "dataset": manifest["version"], "manifest_digest": manifest["digest"],
            "weights_sha256": read_json(inputs.features / "features.json")["weights_sha256"],
            "seconds": round(time.monotonic() - started, 3), "parameters": int(model.count_params()),
            "trainable_backbone_layers": trainable, "best_epoch": history.kept(learn.train)["epoch"], **facts,
        })  # fmt: skip
    return folder


def _assemble(learn: LearnConfig, inputs: Inputs, top: Any) -> tuple[Any, Any]:  # noqa: ANN401 - keras.Model
    random = inputs.features / "backbone.weights.h5"
    body = backbone(learn.model, inputs.weights or random, seed=learn.train.seed)
    body.trainable = False
    return classifier(extractor(learn.model, body), top), body


def _fine_tune(  # noqa: PLR0917 - six things, each once
    model: Any,  # noqa: ANN401 - keras.Model
    body: Any,  # noqa: ANN401 - keras.Model
    prepared: Prepared,
    features: Features,
    learn: LearnConfig,
    history: History,
) -> int:
    """Train the last backbone layers together with the head, on augmented pixels; return how many layers.

    With early stopping, the weights from before come back (0 layers) when no epoch of this phase was better.
    """
    phase = learn.train.fine_tune
    if phase is None:
        return 0
    count, before = unfreeze(body, phase.layers), model.get_weights()
    change = augmentation(learn.augment, seed=learn.train.seed)
    # Augmentation sits in a wrapper, so the saved model does not carry it.
    outer = keras.Sequential([keras.Input(model.input_shape[1:]), change, model]) if change else model
    compile_model(outer, learn.train, phase.learning_rate)
    train, val = (np.flatnonzero(features.split == name) for name in ("train", "val"))
    fit(outer, ([_Rows(prepared.pixels, train)], features.labels[train]),
        (_Rows(prepared.pixels, val), features.labels[val]),
        learn=learn, history=history, phase="fine-tune", epochs=phase.epochs, eval_batch=PIXELS_BATCH)  # fmt: skip
    if history.kept(learn.train)["phase"] == "fine-tune":
        return count
    model.set_weights(before)
    return 0


class _Rows:
    """Some rows of a memory map, read when they are asked for."""

    def __init__(self, pixels: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> None:
        self.pixels, self.rows = pixels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: int | slice) -> np.ndarray[Any, Any]:
        return np.asarray(self.pixels[self.rows[which]])


def predictions(index: pl.DataFrame, probabilities: np.ndarray[Any, Any], names: tuple[str, ...]) -> pl.DataFrame:
    """Return the table of predictions: `index` (sha256, label, split) with probabilities (N, C) beside it."""
    winner = probabilities.argmax(axis=1)
    frame = index.with_columns(
        predicted=pl.Series([names[code] for code in winner], dtype=pl.String),
        confidence=pl.Series(probabilities.max(axis=1)),
        probabilities=pl.Series(probabilities.tolist(), dtype=pl.List(pl.Float32)),
    )
    return conform(frame, PREDICTIONS)
