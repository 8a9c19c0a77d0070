"""The fast path: a head trained on features that were computed once."""

from __future__ import annotations

from typing import Any

import keras

from tasks.models.build import head
from tasks.models.config import LearnConfig
from tasks.models.features import Features
from tasks.models.learning import History, compile_model, fit


def fit_head(features: Features, learn: LearnConfig, history: History) -> Any:  # noqa: ANN401 - keras.Model
    """Build and train a head on cached features; figures go to `history`.

    The same features, configuration and seed give the same head.
    """
    keras.utils.set_random_seed(learn.train.seed)
    clean, labels = features.part("train")
    model = head(learn.model.head, clean, len(features.names))
    compile_model(model, learn.train, learn.train.learning_rate)
    fit(model, ([clean, *features.views], labels), features.part("val"), learn=learn, history=history)
    return model
