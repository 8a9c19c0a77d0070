"""Each backbone run once over the resized images: clean, and K augmented views of the training images.

Reads prepared/<fingerprint>/; writes features/<fingerprint>/{clean.npy, views.npy, features.json} and,
for random weights, backbone.weights.h5, so that a later fine-tuning starts from the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tasks.core import methods
from tasks.core.files import publishing, write_json
from tasks.core.fingerprint import file_digest, fingerprint
from tasks.core.workspace import Workspace
from tasks.models.backbones import BACKBONES
from tasks.models.build import augmentation, backbone, calibrate, extractor
from tasks.models.config import LearnConfig
from tasks.models.features import Prepared
from tasks.prepare.arrays import create_array

BATCH = 32
CALIBRATION = 64  # training images that give a random backbone its batch statistics
RANDOM_WEIGHTS = "backbone.weights.h5"


def features_folder(workspace: Workspace, prepared: Path, learn: LearnConfig, *, weights: Path | None) -> Path:
    """Return where the features lie, made or not. The key holds all that decides them, and nothing else."""
    model, augment = learn.model, learn.augment
    origin = file_digest(weights) if weights else f"random:{learn.train.seed}"
    views = (augment, learn.train.seed) if augment.active else None
    key = fingerprint(
        prepared.name,
        model.backbone,
        model.alpha,
        origin,
        model.head.pooling,
        views,
        keras.__version__,
        methods.FEATURES,
    )
    return workspace.features(key)


def prepare_features(
    workspace: Workspace,
    prepared: Path,
    learn: LearnConfig,
    *,
    weights: Path | None,
    on_batch: Callable[[int, int], object] | None = None,
) -> Path:
    """Run the backbone over every prepared image; return the folder of the features, at once when it is there.

    Args:
        workspace: where the features are stored.
        prepared: folder written by `prepare_pixels`.
        learn: model, augmentation and seed.
        weights: the backbone's weights file; None = random.
        on_batch: called with images done and images in all.
    """
    folder = features_folder(workspace, prepared, learn, weights=weights)
    if folder.is_dir():
        return folder
    data = Prepared.load(prepared)
    body = backbone(learn.model, weights, seed=learn.train.seed)
    train = np.flatnonzero(data.index["split"].to_numpy() == "train")
    if weights is None:
        some = np.sort(np.random.default_rng(learn.train.seed).permutation(train)[:CALIBRATION])
        calibrate(body, data.pixels[some], BACKBONES[learn.model.backbone].preprocess)
    extract = extractor(learn.model, body)
    width = int(extract.output_shape[-1])
    copies = learn.augment.views if learn.augment.active else 0
    total = len(data.pixels) + copies * len(train)
    with publishing(folder) as part:
        clean = create_array(part / "clean.npy", (len(data.pixels), width), np.float32)
        views = create_array(part / "views.npy", (copies, len(train), width), np.float32)
        done = _extract(
            extract, data.pixels, np.arange(len(data.pixels)), out=clean, done=0, total=total, tell=on_batch
        )
        for view in range(copies):
            change = augmentation(learn.augment, seed=_view_seed(learn.train.seed, view))
            done = _extract(
                extract, data.pixels, train, out=views[view], done=done, total=total, tell=on_batch, change=change
            )
        clean.flush()
        views.flush()
        if weights is None:
            body.save_weights(part / RANDOM_WEIGHTS)
        write_json(part / "features.json", {
            "prepared": prepared.name, "backbone": learn.model.backbone, "alpha": learn.model.alpha, "width": width,
            "views": copies, "weights_sha256": file_digest(weights) if weights else None,
            "parameters": int(body.count_params()),
        })  # fmt: skip
    return folder


def _view_seed(seed: int, view: int) -> int:
    return int(np.random.SeedSequence((seed, view)).generate_state(1)[0] % 2**31)


def _extract(
    extract: Any,  # noqa: ANN401 - keras.Model
    pixels: np.ndarray[Any, Any],
    rows: np.ndarray[Any, Any],
    *,
    out: np.ndarray[Any, Any],
    done: int,
    total: int,
    tell: Callable[[int, int], object] | None,
    change: Any | None = None,  # noqa: ANN401 - keras.Sequential
) -> int:
    for start in range(0, len(rows), BATCH):
        picked = rows[start : start + BATCH]
        # The last batch is filled up so that one traced graph serves all of them.
        padded = np.resize(picked, BATCH) if len(picked) < BATCH else picked
        batch = pixels[padded].astype(np.float32)
        if change is not None:
            batch = change(batch, training=True)
        out[start : start + len(picked)] = extract.predict_on_batch(batch)[: len(picked)]
        done += len(picked)
        if tell is not None:
            tell(done, total)
    return done
