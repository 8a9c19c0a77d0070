"""A published data set of plain colours: two classes, nine images each."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tasks.core.files import write_json
from tasks.core.tables import MANIFEST, conform, write_table
from tasks.core.workspace import Workspace


@pytest.fixture
def dataset(workspace: Workspace) -> Path:
    folder = workspace.datasets("colours") / "v1"
    rows = []
    for number in range(18):
        label, split = ("red", "blue")[number % 2], ("train", "train", "train", "val", "test", "train")[number // 3]
        path = Path(split) / label / f"{number}.png"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + number, 30), label).save(folder / path)
        digest = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        rows.append({"sha256": digest, "label": label, "split": split, "path": str(path)})
    write_table(conform(pl.DataFrame(rows), MANIFEST), folder / "manifest.parquet")
    write_json(folder / "dataset.json", {"version": "v1", "digest": "d" * 64})
    return folder
