"""How much colour an image has: what the rule `gray` judges by.

Owns the measure. Reads the image store, each image once in its life; writes immutable shards of sha256 and colour to
collections/<recipe>/colour/.
"""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image

from tasks.core.fingerprint import LENGTH, table_digest
from tasks.core.tables import Schema, conform, read_tables, write_table
from tasks.core.workspace import Workspace

Chroma = npt.NDArray[np.float32]

METHOD = 1  # raised when an image would get another colour than before; shards of another method are not read
COLOUR: Schema = {
    "sha256": pl.String(),
    "colour": pl.Float32(),  # see `colour_of`; null = the file cannot be decoded, or its colours cannot be told
}

GRID = 32  # pixels a side that an image is averaged to: the noise of scanners and JPEG vanishes, a coloured thing stays
_DRAFT = 2 * GRID  # pixels a side at least that a JPEG is decoded at, by a fraction of its size
SHARD = 4000  # images measured before they are written down: 3 s of work are lost to a kill -9 at the most
THREADS = 4  # Pillow frees the GIL while it decodes and resizes
LARGE = 16_000_000  # pixels; of larger images one is decoded at a time
_WHOLE = 1 << 20  # pixels converted at once; larger images band by band, or they would be held three times
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F")


def measure_colour(workspace: Workspace, collection: Path, images: pl.DataFrame) -> pl.DataFrame:
    """Return the colour of each image, reading those that nobody has measured yet.

    Args:
        workspace: where the images lie.
        collection: folder whose `colour/` holds what is known.
        images: columns sha256 and format (Pillow's name); rows may repeat.

    Returns:
        One row per SHA-256, sorted, columns as `COLOUR`. A file that is gone or cannot be read has null, and is tried
        again next time; one that cannot be decoded has null for good.

    Raises:
        WorkspaceError: a shard cannot be written.
    """
    folder = collection / "colour"
    wanted = images.select("sha256", "format").drop_nulls("sha256").sort("sha256", "format", nulls_last=True)
    wanted = wanted.unique("sha256", keep="first", maintain_order=True)
    known = _known(folder)
    unknown = wanted.join(known, on="sha256", how="anti").drop_nulls().sort("sha256")
    if unknown.height:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="colour") as pool:
            for batch in unknown.iter_slices(SHARD):
                _store(folder, _measured(pool, workspace, batch))
        known = _known(folder)
    return conform(wanted.select("sha256").join(known, on="sha256", how="left", maintain_order="left"), COLOUR)


def colour_of(content: bytes, *, large: AbstractContextManager[object] | None = None) -> float | None:
    """Return the spread of an image's chroma: the root of the variances of Cb and Cr, in levels of 0 to 255.

    Measured on the picture averaged to at the most 32 x 32 pixels; 0 = gray. As it is a spread, a cast that lies evenly
    over the picture (white balance, a tinted lamp) does not count; paper that is yellow where there is no ink does. Of
    several frames the first counts, of transparent pixels what is seen over white.

    Args:
        content: the file.
        large: what is held while an image of more than `LARGE` pixels is decoded, a lock; none for no limit.

    Returns:
        None where the content cannot be decoded, or its mode (LAB) cannot be converted.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode in _GRAY_MODES or image.mode.startswith("I;"):
                return 0.0
            with large if large and image.width * image.height > LARGE else nullcontext():
                image.draft("RGB", (_DRAFT, _DRAFT))
                chroma = _averaged(image)
    except MemoryError:  # says nothing of the image
        raise
    except Exception:  # noqa: BLE001 - Pillow's decoders raise a dozen types; the door has told the reason before
        return None
    return float(np.sqrt(chroma.var(axis=(0, 1), dtype=np.float64).sum()))


def _known(folder: Path) -> pl.DataFrame:
    rows = read_tables(sorted(folder.glob(f"{METHOD}-*.parquet")), COLOUR)
    return rows.sort("sha256", "colour", nulls_last=True).unique("sha256", keep="first", maintain_order=True)


def _store(folder: Path, rows: pl.DataFrame) -> None:
    if rows.height:
        write_table(rows, folder / f"{METHOD}-{table_digest(rows)[:LENGTH]}.parquet")


def _measured(pool: ThreadPoolExecutor, workspace: Workspace, images: pl.DataFrame) -> pl.DataFrame:
    """Return the colours of `images` in their order, without those whose file could not be read."""
    paths = [workspace.image(sha256, image_format) for sha256, image_format in images.iter_rows()]
    found = list(pool.map(partial(_look, large=threading.Lock()), paths))
    read = pl.Series([was_read for was_read, _ in found], dtype=pl.Boolean)
    colours = pl.Series("colour", [colour for _, colour in found], dtype=pl.Float32)
    return images.select("sha256").with_columns(colours).filter(read)


def _look(path: Path, *, large: AbstractContextManager[object]) -> tuple[bool, float | None]:
    try:
        return True, colour_of(path.read_bytes(), large=large)
    except (OSError, MemoryError):
        return False, None


def _averaged(image: Image.Image) -> Chroma:
    """Return Cb and Cr averaged to at the most `GRID` rows and columns, shape (rows, columns, 2)."""
    across, down = (min(GRID, side) for side in image.size)
    if image.width * image.height <= _WHOLE:
        return _chroma(image, (across, down))
    edges = np.linspace(0, image.height, down + 1).round().astype(int).tolist()
    bands = (image.crop((0, top, image.width, bottom)) for top, bottom in pairwise(edges))
    return np.concatenate([_chroma(band, (across, 1)) for band in bands])


def _chroma(image: Image.Image, size: tuple[int, int]) -> Chroma:
    """Average in floats: rounding to whole levels once more would add 0.3 to the spread of a gray photo."""
    planes = _opaque(image).convert("YCbCr").split()[1:]
    averaged = (plane.convert("F").resize(size, Image.Resampling.BOX) for plane in planes)
    return np.stack([np.asarray(plane, np.float32) for plane in averaged], axis=-1)


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
