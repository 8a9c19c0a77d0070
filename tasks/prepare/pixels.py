"""Each image of a data set version resized once.

Reads datasets/<recipe>/<version>/manifest.parquet and its images; writes prepared/<fingerprint>/
{pixels.npy, index.parquet, prepared.json}.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
import polars as pl

from tasks.core import methods
from tasks.core.errors import DataError
from tasks.core.files import publishing, write_json
from tasks.core.fingerprint import fingerprint, table_digest
from tasks.core.tables import write_table
from tasks.core.workspace import Workspace
from tasks.models.config import ModelConfig
from tasks.models.pixels import decode
from tasks.prepare.arrays import create_array

THREADS = 4  # Pillow frees the GIL while it decodes and resizes


def prepared_folder(workspace: Workspace, dataset: Path, model: ModelConfig) -> Path:
    """Return where the resized images of `dataset` lie, made or not."""
    # Not the manifest's digest: a corrected creator or licence changes no pixel.
    rows = pl.read_parquet(dataset / "manifest.parquet", columns=["sha256", "label", "split"])
    return workspace.prepared(
        fingerprint(table_digest(rows), model.image_size, model.fit, methods.PIXELS, PIL.__version__)
    )


def prepare_pixels(
    workspace: Workspace, dataset: Path, model: ModelConfig, *, on_image: Callable[[], object] | None = None
) -> Path:
    """Resize every image of `dataset` and return the folder of the arrays; at once when it is there.

    Raises:
        DataError: an image of the manifest is gone or can no longer be read.
    """
    folder = prepared_folder(workspace, dataset, model)
    if folder.is_dir():
        return folder
    rows = pl.read_parquet(dataset / "manifest.parquet").sort("sha256")
    size = model.image_size
    with publishing(folder) as part:
        pixels = create_array(part / "pixels.npy", (rows.height, size, size, 3), np.uint8)

        def store(item: tuple[int, str]) -> None:
            position, path = item
            pixels[position] = _read(dataset / path, model)
            if on_image is not None:
                on_image()

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(store, enumerate(rows["path"])))
        pixels.flush()
        write_table(rows.select("sha256", "label", "split"), part / "index.parquet")
        write_json(part / "prepared.json", {"images": rows.height, "image_size": size, "fit": model.fit})
    return folder


def _read(path: Path, model: ModelConfig) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        return decode(path.read_bytes(), size=model.image_size, fit=model.fit)
    except Exception as error:  # Pillow's plugins raise a dozen types
        raise DataError(
            f"An image of the data set can no longer be read: {path}",
            received=str(error),
            hint="Remove the data set's folder and run again: it is linked anew from the image store.",
        ) from error
