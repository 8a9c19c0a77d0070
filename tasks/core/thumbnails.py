"""The few small pictures that stand for many: which rows of a table are shown, and an image file drawn small.

Owns the choice and the decoding. Reads the image files it is given; writes nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageOps

PAPER = (255, 255, 255)  # behind what is transparent


def spread(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """Return up to `count` rows, evenly spaced, the first and the last among them.

    Addresses sort by site and then mostly by age, so of rows in their order these show every source of a class.
    """
    places = np.linspace(0, rows.height - 1, min(count, rows.height)).round().astype(np.int64)
    return rows[places]


def thumbnail(path: Path, side: int) -> Image.Image | None:
    """Return the image at `path` upright, in RGB, shrunk into a square of `side` pixels; None where it cannot be read.

    An image smaller than the square stays as it is.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", (side, side))  # JPEG decodes at a fraction of its size, at least this large
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except Exception:  # noqa: BLE001 - of a broken file Pillow's plugins raise whatever they meet; no picture is worth a run
        return None
    upright.thumbnail((side, side))
    paper = Image.new("RGB", upright.size, PAPER)
    paper.paste(upright, mask=upright)
    return paper
