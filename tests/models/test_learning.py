from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from tasks.core.errors import StopError
from tasks.models.config import EarlyStopping, LearnConfig, TrainConfig
from tasks.models.features import Features
from tasks.models.heads import fit_head
from tasks.models.learning import History, Views, class_weights


def learn(**train: object) -> LearnConfig:
    return LearnConfig(train=TrainConfig.model_validate({"epochs": 12, "learning_rate": 0.02, **train}))


def test_a_head_learns_and_repeats_itself(features: Features) -> None:
    histories = [History(), History()]
    heads = [fit_head(features, learn(), history) for history in histories]
    assert histories[0].kept(learn().train)["val_macro_f1"] > 0.8
    assert histories[0].rows == histories[1].rows
    inputs, _ = features.part("test")
    np.testing.assert_array_equal(heads[0].predict(inputs, verbose=0), heads[1].predict(inputs, verbose=0))


def test_another_seed_is_another_head(features: Features) -> None:
    first, second = History(), History()
    fit_head(features, learn(epochs=2), first)
    fit_head(features, learn(epochs=2, seed=7), second)
    assert first.rows != second.rows


def test_figures_go_to_the_spool_and_the_sink_as_they_come(features: Features, tmp_path: Path) -> None:
    seen: list[tuple[str, float, int, int]] = []
    history = History(spool=tmp_path / "metrics.jsonl", sink=lambda *figure: seen.append(figure))  # type: ignore[arg-type, misc]
    fit_head(features, learn(epochs=3, early_stopping=None), history)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["key"], line["value"], line["step"], line["timestamp"]) for line in lines] == seen
    assert {line["step"] for line in lines} == {0, 1, 2}
    assert {"loss", "accuracy", "macro_f1", "val_loss", "val_accuracy", "val_macro_f1", "learning_rate"} == {
        line["key"] for line in lines
    }


def test_the_kept_epoch_is_the_one_whose_weights_the_model_has(features: Features) -> None:
    config = learn(epochs=25, learning_rate=0.3, early_stopping={"monitor": "val_loss", "patience": 3})
    history = History()
    model = fit_head(features, config, history)
    inputs, labels = features.part("val")
    loss = keras.losses.CategoricalCrossentropy()(np.eye(3)[labels], model.predict(inputs, verbose=0))
    kept = history.kept(config.train)
    assert kept["val_loss"] == pytest.approx(float(loss), abs=1e-5)
    assert kept["val_loss"] == min(row["val_loss"] for row in history.rows)


def test_without_early_stopping_the_last_epoch_is_kept() -> None:
    rows = [{"phase": "head", "epoch": epoch, "val_loss": loss} for epoch, loss in enumerate((1.0, 0.1, 0.5))]
    assert History(rows).kept(TrainConfig(early_stopping=None))["epoch"] == 2
    assert History(rows).kept(TrainConfig(early_stopping=EarlyStopping()))["epoch"] == 1


def test_a_phase_that_made_it_worse_is_not_kept() -> None:
    rows = [
        {"phase": "head", "epoch": 0, "val_loss": 0.1},
        {"phase": "fine-tune", "epoch": 1, "val_loss": 0.3},
        {"phase": "fine-tune", "epoch": 2, "val_loss": 0.2},
    ]
    assert History(rows).kept(TrainConfig())["epoch"] == 0
    assert History(rows).kept(TrainConfig(early_stopping=None))["epoch"] == 2


def test_divergence_stops_the_training(features: Features) -> None:
    broken = Features(
        features.clean * np.float32("nan"), features.views[:0], features.labels, features.split, features.names
    )
    with pytest.raises(StopError, match="diverged"):
        fit_head(broken, learn(), History())


def test_balanced_weights_are_inverse_to_the_shares() -> None:
    weights = class_weights(np.array([0] * 30 + [1] * 10), 2)
    np.testing.assert_allclose(weights, [40 / 60, 40 / 20])
    assert np.repeat(weights, [30, 10]).mean() == pytest.approx(1)


def test_batches_hold_every_row_once_an_epoch_in_a_new_order() -> None:
    rows = np.arange(10, dtype=np.float32)[:, None]
    batches = Views([rows, rows + 100], np.eye(10), np.ones(10), batch=4, seed=3)
    orders = []
    for _ in range(2):
        values = np.concatenate([batches[index][0] for index in range(len(batches))])[:, 0]
        assert sorted(values % 100) == list(range(10))
        assert (values >= 100).any()
        orders.append(values.tolist())
        batches.on_epoch_end()
    assert orders[0] != orders[1]
