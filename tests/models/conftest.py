"""Features and pixels small enough to learn in a second: three classes told apart by their colour."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.models.features import Features, Prepared

NAMES = ("blue", "green", "red")


@pytest.fixture
def features() -> Features:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    clean = random.normal(size=(120, 8)).astype(np.float32)
    clean[np.arange(120), labels] += 3
    split = np.array((["train"] * 28 + ["val"] * 6 + ["test"] * 6) * 3)
    train = np.flatnonzero(split == "train")
    views = clean[None, train] + random.normal(scale=0.1, size=(2, len(train), 8)).astype(np.float32)
    return Features(clean, views, labels, split, NAMES)


@pytest.fixture
def prepared() -> Prepared:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    pixels = random.integers(0, 120, size=(120, 32, 32, 3), dtype=np.uint8)
    pixels[np.arange(120), :, :, 2 - labels] += 100
    index = pl.DataFrame({
        "sha256": [f"{row:064x}" for row in range(120)],
        "label": [NAMES[code] for code in labels],
        "split": (["train"] * 28 + ["val"] * 6 + ["test"] * 6) * 3,
    })  # fmt: skip
    return Prepared(pixels, index)
