"""Arrays on disk that are filled in place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from tasks.core.files import storing


def create_array(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.memmap[Any, Any]:
    """Return a new array of `shape`, mapped to the `.npy` file `path`, its space on the disk taken.

    A mapped file begins as a hole; writing into the hole of a full disk kills the process (SIGBUS) where an
    error could have been told.

    Raises:
        WorkspaceError: there is not enough space.
    """
    with storing(path):
        array = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # macOS has none
            with path.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return array
