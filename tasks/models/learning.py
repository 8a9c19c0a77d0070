"""One training run of a compiled Keras model: batches, class weights, callbacks, the spool of figures.

Writes `metrics.jsonl` as it goes (one figure a line), the local copy that is replayed when the tracker
was out of reach.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tasks.core.errors import StopError
from tasks.models.config import LearnConfig, TrainConfig

Array = np.ndarray[Any, Any]
Sink = Callable[[str, float, int, int], object]
"""Takes key, value, step (epoch), timestamp (ms since 1970)."""

HISTORY = (
    "phase",
    "epoch",
    "loss",
    "accuracy",
    "macro_f1",
    "val_loss",
    "val_accuracy",
    "val_macro_f1",
    "learning_rate",
)
FEATURES_BATCH = 1024
PIXELS_BATCH = 32  # what a backbone sees at once when it is not learning: memory grows with it


@dataclass
class History:
    """Figures of each epoch, over one or more phases."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    spool: Path | None = None
    sink: Sink | None = None

    def add(self, row: dict[str, Any]) -> None:
        """Append one epoch; every number goes to the spool and the sink."""
        self.rows.append(row)
        stamp = time.time_ns() // 1_000_000
        figures = {key: float(value) for key, value in row.items() if key not in {"phase", "epoch"}}
        if self.spool is not None:
            lines = [
                {"key": key, "value": value, "step": row["epoch"], "timestamp": stamp} for key, value in figures.items()
            ]
            with self.spool.open("a", encoding="utf-8") as stream:
                stream.writelines(json.dumps(line) + "\n" for line in lines)
        if self.sink is not None:
            for key, value in figures.items():
                self.sink(key, value, row["epoch"], stamp)

    def kept(self, train: TrainConfig) -> dict[str, Any]:
        """Return the row of the epoch whose weights the model keeps.

        With early stopping that is the best epoch of all phases by its figure (the first of equals), else the last.
        """
        if train.early_stopping is None:
            return self.rows[-1]
        monitor = train.early_stopping.monitor
        sign = 1 if _mode(monitor) == "min" else -1
        return min(self.rows, key=lambda row: sign * row[monitor])


class Views(keras.utils.PyDataset):
    """Batches of training rows in a new order each epoch, each row one of its views, weighted by class.

    Args:
        sources: arrays (T, …) of the same rows: the clean one and its augmented views.
        targets: one-hot (T, C).
        weights: (T,) sample weights.
        batch: rows a step.
        seed: of order and choice; epoch e draws from (seed, e), so a resumed epoch repeats itself.
    """

    def __init__(self, sources: list[Array], targets: Array, weights: Array, *, batch: int, seed: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.sources, self.targets, self.weights = sources, targets, weights
        self.batch, self.seed, self.epoch = batch, seed, -1
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Draw the order and the views of the next epoch."""
        self.epoch += 1
        random = np.random.default_rng((self.seed, self.epoch))
        self.order = random.permutation(len(self.targets))
        self.choice = random.integers(len(self.sources), size=len(self.targets))

    def __len__(self) -> int:
        return math.ceil(len(self.targets) / self.batch)

    def __getitem__(self, index: int) -> tuple[Array, Array, Array]:
        rows = self.order[index * self.batch : (index + 1) * self.batch]
        picked = np.stack([self.sources[self.choice[row]][row] for row in rows])
        return picked.astype(np.float32, copy=False), self.targets[rows], self.weights[rows]


class Chunks(keras.utils.PyDataset):
    """Rows in their order, a batch at a time, with or without targets: they need not fit in memory.

    Args:
        source: (N, …), read by slices.
        targets: one-hot (N, C), or None to predict.
        batch: rows at a time.
    """

    def __init__(self, source: Any, targets: Array | None = None, *, batch: int = PIXELS_BATCH) -> None:  # noqa: ANN401 - an array, or read like one
        super().__init__(workers=1, use_multiprocessing=False)
        self.source, self.targets, self.batch = source, targets, batch

    def __len__(self) -> int:
        return math.ceil(len(self.source) / self.batch)

    def __getitem__(self, index: int) -> tuple[Array, ...]:
        part = slice(index * self.batch, (index + 1) * self.batch)
        rows = self.source[part].astype(np.float32)
        return (rows,) if self.targets is None else (rows, self.targets[part])


class _Recorder(keras.callbacks.Callback):
    """Hands each epoch's figures to the history; stops on a loss that is no number."""

    def __init__(self, history: History, phase: str, offset: int) -> None:
        super().__init__()
        self.history, self.phase, self.offset = history, phase, offset

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write down one epoch."""
        logs = dict(logs or {})
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {name: float(logs[name]) for name in HISTORY if name in logs}
        self.history.add({"phase": self.phase, "epoch": self.offset + epoch, **row})
        wrong = {name: value for name, value in row.items() if not math.isfinite(value)}
        if wrong:
            shown = ", ".join(f"{name} is {value}" for name, value in wrong.items())
            rate = "train.learning_rate" if self.phase == "head" else "train.fine_tune.learning_rate"
            raise StopError(
                "The training diverged.",
                received=f"After epoch {self.offset + epoch} ({self.phase}) {shown}.",
                hint=f"Lower {rate}.",
            )


def callbacks(config: TrainConfig) -> list[Any]:
    """Return the Keras callbacks a recipe's `train:` block asks for."""
    found: list[Any] = []
    if stop := config.early_stopping:
        found.append(
            keras.callbacks.EarlyStopping(
                monitor=stop.monitor, mode=_mode(stop.monitor), patience=stop.patience, restore_best_weights=True
            )
        )
    if plateau := config.reduce_on_plateau:
        found.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=plateau.monitor,
                mode=_mode(plateau.monitor),
                factor=plateau.factor,
                patience=plateau.patience,
            )
        )
    return found


def _mode(monitor: str) -> str:
    return "min" if monitor.endswith("loss") else "max"


def class_weights(labels: Array, classes: int) -> Array:
    """Return the weight of each class (C,): inverse to its share, 1 on average over the images.

    The formula is scikit-learn's "balanced" (King and Zeng 2001).
    """
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)), dtype=np.float32)


def compile_model(model: Any, config: TrainConfig, learning_rate: float) -> None:  # noqa: ANN401 - keras.Model
    """Compile for one-hot targets with accuracy and macro-F1, computed in the same pass as the loss."""
    optimizer = keras.optimizers.get({"class_name": config.optimizer, "config": {"learning_rate": learning_rate}})
    # jit_compile=True costs a compilation a trial and was 5.8 times slower on a CPU.
    model.compile(
        optimizer=optimizer,
        loss="categorical_crossentropy",
        metrics=["accuracy", keras.metrics.F1Score(average="macro", name="macro_f1")],
        jit_compile=False,
    )


def fit(
    model: Any,  # noqa: ANN401 - keras.Model
    train: tuple[list[Any], Array],
    val: tuple[Any, Array],
    *,
    learn: LearnConfig,
    history: History,
    phase: str = "head",
    epochs: int | None = None,
    eval_batch: int = FEATURES_BATCH,
) -> int:
    """Train a compiled `model` and return the number of epochs run.

    Args:
        model: (…) to softmax probabilities (N, C).
        train: arrays (T, …) of the same training rows (clean first, then views), and labels (T,).
        val: clean rows (V, …) and labels (V,).
        learn: balance, batch size, callbacks, seed.
        history: receives one row an epoch.
        phase: written beside each row.
        epochs: instead of the recipe's.
        eval_batch: validation rows at a time.
    """
    sources, labels = train
    classes = int(model.output_shape[-1])
    eye = np.eye(classes, dtype=np.float32)
    weights = class_weights(labels, classes) if learn.balance.class_weights else np.ones(classes, np.float32)
    config = learn.train
    batches = Views(sources, eye[labels], weights[labels], batch=config.batch_size, seed=config.seed)
    offset = len(history.rows)
    model.fit(
        batches,
        validation_data=Chunks(val[0], eye[val[1]], batch=eval_batch),
        epochs=epochs or config.epochs,
        callbacks=[_Recorder(history, phase, offset), *callbacks(config)],
        verbose=0,
    )
    return len(history.rows) - offset
