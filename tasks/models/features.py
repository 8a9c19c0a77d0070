"""Prepared images and their backbone features, as arrays with the rows they belong to.

Reads a folder written by the prepare stage; every array is memory-mapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Prepared:
    """Images of one data set version, resized.

    Attributes:
        pixels: uint8 (N, S, S, 3), RGB.
        index: sha256, label, split of each image, in the order of `pixels`.
    """

    pixels: Array
    index: pl.DataFrame

    @classmethod
    def load(cls, folder: Path) -> Prepared:
        """Map the arrays of `folder` into memory."""
        return cls(np.load(folder / "pixels.npy", mmap_mode="r"), pl.read_parquet(folder / "index.parquet"))


@dataclass(frozen=True)
class Features:
    """Pooled backbone features of one data set version.

    Attributes:
        clean: float32 (N, D), of the images as they are.
        views: float32 (K, T, D), of K augmented views of the T training images in order; K may be 0.
        labels: int64 (N,), index into `names`.
        split: str (N,), train | val | test.
        names: class names, sorted.
    """

    clean: Array
    views: Array
    labels: Array
    split: Array
    names: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path, prepared: Path) -> Features:
        """Map the arrays of `folder`, computed from the images in `prepared`."""
        index = pl.read_parquet(prepared / "index.parquet")
        names = tuple(sorted(index["label"].unique()))
        codes = index["label"].replace_strict({name: code for code, name in enumerate(names)}, return_dtype=pl.Int64)
        return cls(
            clean=np.load(folder / "clean.npy", mmap_mode="r"),
            views=np.load(folder / "views.npy", mmap_mode="r"),
            labels=codes.to_numpy(),
            split=index["split"].to_numpy().astype(str),
            names=names,
        )

    def part(self, split: str) -> tuple[Array, Array]:
        """Return clean features (M, D) and labels (M,) of one split."""
        rows = np.flatnonzero(self.split == split)
        return self.clean[rows], self.labels[rows]
