from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.core.errors import DataError
from tasks.core.workspace import Workspace
from tasks.models.config import ModelConfig
from tasks.models.features import Prepared
from tasks.prepare.pixels import prepare_pixels

MODEL = ModelConfig(image_size=71)


def test_rows_and_pixels_belong_together(workspace: Workspace, dataset: Path) -> None:
    data = Prepared.load(prepare_pixels(workspace, dataset, MODEL))
    assert data.pixels.shape == (18, 71, 71, 3)
    red = data.index["label"].to_numpy() == "red"
    assert (data.pixels[red][..., 0] == 255).all()
    assert (data.pixels[~red][..., 2] == 255).all()


def test_a_second_call_reads_no_image(workspace: Workspace, dataset: Path) -> None:
    seen: list[int] = []
    first = prepare_pixels(workspace, dataset, MODEL, on_image=lambda: seen.append(1))
    assert len(seen) == 18
    assert prepare_pixels(workspace, dataset, MODEL, on_image=lambda: seen.append(1)) == first
    assert len(seen) == 18


def test_size_and_fit_decide_the_folder(workspace: Workspace, dataset: Path) -> None:
    folders = {
        prepare_pixels(workspace, dataset, MODEL.model_copy(update=change))
        for change in ({}, {"image_size": 80}, {"fit": "pad"}, {"backbone": "vgg16"}, {"weights": "none"})
    }
    assert len(folders) == 3


def test_a_vanished_image_is_named_and_nothing_half_stays(workspace: Workspace, dataset: Path) -> None:
    victim = next((dataset / "test").rglob("*.png"))
    victim.write_bytes(b"no image")
    with pytest.raises(DataError, match=str(victim)):
        prepare_pixels(workspace, dataset, MODEL)
    assert not list((workspace.root / "prepared").iterdir())


def test_the_arrays_are_mapped_not_loaded(workspace: Workspace, dataset: Path) -> None:
    assert isinstance(Prepared.load(prepare_pixels(workspace, dataset, MODEL)).pixels, np.memmap)
