"""Prefect's view of preparing: resized images, then features."""

from __future__ import annotations

import time
from pathlib import Path

from prefect import get_run_logger, task

from tasks.core.workspace import Workspace
from tasks.models.config import LearnConfig
from tasks.prepare.features import features_folder, prepare_features
from tasks.prepare.pixels import prepare_pixels

REPORT_EVERY = 10.0  # seconds between two lines of progress


@task(name="prepare", task_run_name="prepare {learn.model.backbone} {learn.model.image_size}px")
def prepare(*, workspace: str, dataset: str, learn: LearnConfig, weights: str | None) -> dict[str, str]:
    """Resize the images of `dataset` and run the backbone over them, unless both are there already.

    Args:
        workspace: its folder.
        dataset: folder of a data set version.
        learn: model, augmentation and seed.
        weights: the backbone's weights file; None = random weights.

    Returns:
        `prepared` and `features`: the two folders.
    """
    logger = get_run_logger()
    folders, file = Workspace(Path(workspace)), Path(weights) if weights else None
    pixels = prepare_pixels(folders, Path(dataset), learn.model)
    started = last = time.monotonic()
    if features_folder(folders, pixels, learn, weights=file).is_dir():
        logger.info("features of %s are there already", learn.model.backbone)

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > REPORT_EVERY or done == total:
            last, rate = now, done / max(now - started, 1e-9)
            logger.info(
                "features: %d of %d images, %.0f images/s, %.0f s left", done, total, rate, (total - done) / rate
            )

    features = prepare_features(folders, pixels, learn, weights=file, on_batch=tell)
    return {"prepared": str(pixels), "features": str(features)}
