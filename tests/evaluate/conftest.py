"""A finished fit with predictions of known figures, and the data set it learnt from."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tasks.core.tables import MANIFEST, PREDICTIONS, conform, write_table

LABELS = ["ant", "bee", "wasp"]
# (split, true, predicted, probability of the predicted class); wasp is never predicted on test.
ROWS = [
    ("train", "ant", "ant", 0.9), ("train", "bee", "bee", 0.9), ("train", "wasp", "wasp", 0.9),
    ("val", "ant", "ant", 0.8), ("val", "bee", "ant", 0.6), ("val", "wasp", "wasp", 0.8),
    ("test", "ant", "ant", 0.8), ("test", "ant", "ant", 0.8), ("test", "ant", "bee", 0.5),
    ("test", "bee", "bee", 0.8), ("test", "wasp", "ant", 0.9), ("test", "wasp", "bee", 0.7),
]  # fmt: skip


def predictions() -> pl.DataFrame:
    rows = []
    for place, (split, label, predicted, confidence) in enumerate(ROWS):
        rest = (1 - confidence) / (len(LABELS) - 1)
        probabilities = [confidence if name == predicted else rest for name in LABELS]
        rows.append({
            "sha256": f"{place:064x}", "split": split, "label": label, "predicted": predicted,
            "confidence": confidence, "probabilities": probabilities,
        })  # fmt: skip
    return conform(pl.DataFrame(rows), PREDICTIONS)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    rows = []
    for place, (split, label, _, _) in enumerate(ROWS):
        path = f"{split}/{label}/{place:064x}.png"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (20 * place, 80, 200)).save(folder / path)
        rows.append({"sha256": f"{place:064x}", "label": label, "split": split, "path": path})
    write_table(conform(pl.DataFrame(rows), MANIFEST), folder / "manifest.parquet")
    return folder


@pytest.fixture
def fit(tmp_path: Path) -> Path:
    folder = tmp_path / "fit"
    write_table(predictions(), folder / "predictions.parquet")
    (folder / "history.csv").write_text(
        "phase,epoch,loss,accuracy,macro_f1,val_loss,val_accuracy,val_macro_f1,learning_rate\n"
        "head,0,1.1,0.3,0.2,1.0,0.4,0.3,0.001\n"
        "head,1,0.9,0.5,0.4,0.9,0.5,0.4,0.001\n"
        "fine-tune,2,0.7,0.6,0.6,0.8,0.6,0.5,0.00001\n"
    )
    (folder / "fit.json").write_text(json.dumps({"labels": LABELS, "best_epoch": 2}))
    return folder
