"""Features small enough that a trial takes a second."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.models.features import Features


@pytest.fixture
def features() -> Features:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(2), 30)
    clean = random.normal(size=(60, 4)).astype(np.float32)
    clean[np.arange(60), labels] += 3
    split = np.array((["train"] * 20 + ["val"] * 5 + ["test"] * 5) * 2)
    return Features(clean, np.zeros((0, 40, 4), np.float32), labels, split, ("a", "b"))
