from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.core.workspace import Workspace
from tasks.models.config import LearnConfig
from tasks.models.features import Features
from tasks.prepare.features import RANDOM_WEIGHTS, features_folder, prepare_features
from tasks.prepare.pixels import prepare_pixels


def learn(**fields: object) -> LearnConfig:
    model = {"backbone": "mobilenet", "alpha": 0.25, "weights": "none", "image_size": 32}
    return LearnConfig.model_validate({"model": model, **fields})


@pytest.fixture
def prepared(workspace: Workspace, dataset: Path) -> Path:
    return prepare_pixels(workspace, dataset, learn().model)


def test_clean_features_of_all_and_views_of_training_images(workspace: Workspace, prepared: Path) -> None:
    config = learn(augment={"rotation": 40, "views": 3})
    folder = prepare_features(workspace, prepared, config, weights=None)
    features = Features.load(folder, prepared)
    assert features.clean.shape == (18, 256)
    assert features.views.shape == (3, 12, 256)
    assert features.names == ("blue", "red")
    assert [len(features.part(split)[1]) for split in ("train", "val", "test")] == [12, 3, 3]
    assert not np.array_equal(features.views[0], features.views[1])
    assert (folder / RANDOM_WEIGHTS).is_file()


def test_the_same_again_runs_no_backbone(workspace: Workspace, prepared: Path) -> None:
    calls: list[tuple[int, int]] = []
    first = prepare_features(workspace, prepared, learn(), weights=None, on_batch=lambda *at: calls.append(at))
    assert calls[-1] == (18, 18)
    assert prepare_features(workspace, prepared, learn(), weights=None, on_batch=lambda *at: calls.append(at)) == first
    assert len(calls) == 1


def test_two_workspaces_compute_the_same(tmp_path: Path, prepared: Path) -> None:
    found = [
        np.load(prepare_features(Workspace(tmp_path / name), prepared, learn(), weights=None) / "clean.npy")
        for name in ("one", "two")
    ]
    np.testing.assert_array_equal(*found)


def test_the_key_holds_what_decides_the_features_and_nothing_else(
    workspace: Workspace, prepared: Path, tmp_path: Path
) -> None:
    (tmp_path / "w.h5").write_bytes(b"w")
    base = features_folder(workspace, prepared, learn(), weights=None)

    def key(weights: Path | None = None, **fields: object) -> Path:
        return features_folder(workspace, prepared, learn(**fields), weights=weights)

    assert key(train={"epochs": 3, "learning_rate": 0.5}) == base
    assert key(augment={"views": 9}) == base
    others = [
        key(train={"seed": 3}),
        key(augment={"zoom": 0.1}),
        key(augment={"zoom": 0.1, "views": 9}),
        key(tmp_path / "w.h5"),
        key(model={"backbone": "mobilenet", "alpha": 0.5, "image_size": 32}),
        key(model={"backbone": "mobilenet", "alpha": 0.25, "image_size": 32, "head": {"pooling": "max"}}),
    ]
    assert len({base, *others}) == 7


def test_a_last_batch_that_is_not_full_is_the_same_image_by_image(workspace: Workspace, prepared: Path) -> None:
    features = Features.load(prepare_features(workspace, prepared, learn(), weights=None), prepared)
    pixels = np.load(prepared / "pixels.npy")
    same = [(a, b) for a in range(18) for b in range(a) if np.array_equal(pixels[a], pixels[b])]
    assert same, "plain colours give equal pixels"
    for a, b in same:
        np.testing.assert_allclose(features.clean[a], features.clean[b], atol=1e-5)
