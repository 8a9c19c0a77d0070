"""Perceptual hashes of gray pixels: what `imagehash.phash` measures at 8 x 8 and 16 x 16 bits, seven times as fast.

Owns the two hashes of the ledger. Reads and writes nothing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8] | Floats

METHOD = 2  # raised with every change that moves bits; 1 was imagehash 4.3

_SIZES = (8, 16)  # bits a side
_ROWS = sum(_SIZES)
_FACTOR = 4  # a hash of n x n bits sees the picture at 4n x 4n pixels, as in `imagehash`
_LOBES = 3  # of the LANCZOS filter
_TIE = 1e-6  # coefficients closer to the median than this equal it; BLAS libraries differ by 1e-9 at the most
_LONGEST = 512  # pixels; longer sides, of drawn-out images, are first averaged down to it
# Multiply-adds above which OpenBLAS uses threads. Those wait for each other by spinning: 0.24 ms of CPU per image
# instead of 0.04, and inspectors are threads already.
_ONE_THREAD = 1 << 18


def perceptual_hashes(gray: Pixels) -> tuple[int, bytes]:
    """Return the 64-bit and the 256-bit DCT hash of gray pixels, shape (height, width), values 0 to 255.

    Zauner 2010: the picture at 4n x 4n pixels (LANCZOS), DCT-II of its rows and columns, the n x n lowest
    frequencies, one bit each: above their median or not. Most significant bit first, rows from top to bottom.

    Both steps are linear, so they are one small matrix for each axis: 0.04 ms for both hashes of 160 x 160 pixels,
    where `imagehash.phash` takes 0.33 and its two LANCZOS resizes alone 0.25. `imagehash` rounds the resized picture
    to whole gray levels in between. That moves 0.2 of 64 and 0.6 of 256 bits on average (at the most 4 and 6 on 781
    photos); decoding a JPEG at a reduced scale moves two to three times as many, and to `imagehash.phash` of the whole
    photo both ways are equally near (0.4 and 0.3 bits of 64, 2.1 and 2.1 of 256). A picture whose coefficients tie, as
    symmetric drawings have them, gets zeros here and rounding noise there.
    """
    pixels = _bounded(gray)
    height, width = pixels.shape
    above, beside = _frequencies(height), _frequencies(width)
    step = max(1, _ONE_THREAD // (_ROWS * height))
    half = np.empty((_ROWS, width))
    for start in range(0, width, step):
        np.matmul(above, pixels[:, start : start + step], out=half[:, start : start + step])
    first, second = (_bits(half[rows] @ beside[rows].T) for rows in (slice(_SIZES[0]), slice(_SIZES[0], _ROWS)))
    return int.from_bytes(first), second


def _bounded(gray: Pixels) -> Floats:
    height, width = gray.shape
    if max(height, width) > _LONGEST:
        size = (min(width, _LONGEST), min(height, _LONGEST))
        gray = np.asarray(Image.fromarray(gray.astype(np.uint8, copy=False)).resize(size, Image.Resampling.BOX))
    return np.asarray(gray, dtype=np.float64)


@lru_cache(maxsize=_LONGEST)  # every length there is, 50 kB each in the mean
def _frequencies(length: int) -> Floats:
    """Return what takes `length` pixels to their lowest frequencies, shape (24, length): 8 rows of 32, 16 of 64."""
    return np.vstack([_cosines(size) @ _lanczos(length, _FACTOR * size) for size in _SIZES])


def _cosines(size: int) -> Floats:
    """Return the `size` lowest rows of the DCT-II over 4 x `size` samples, scaled as SciPy scales it."""
    samples = _FACTOR * size
    frequency, place = np.ogrid[:size, :samples]
    return np.asarray(2 * np.cos(np.pi * frequency * (2 * place + 1) / (2 * samples)))


def _lanczos(length: int, samples: int) -> Floats:
    """Return the weights with which Pillow's LANCZOS makes `samples` pixels of `length`, shape (samples, length)."""
    scale = length / samples
    stretch = max(scale, 1.0)
    centre = (np.arange(samples)[:, None] + 0.5) * scale
    # Only where the filter reaches: photos have hundreds of side lengths, and all pixels take eight times as long.
    place = np.floor(centre - _LOBES * stretch).astype(np.int64) + np.arange(int(2 * _LOBES * stretch) + 2)
    offset = (place + 0.5 - centre) / stretch
    row, tap = np.nonzero((np.abs(offset) < _LOBES) & (place >= 0) & (place < length))
    near = offset[row, tap]
    weights = np.zeros((samples, length))
    weights[row, place[row, tap]] = np.sinc(near) * np.sinc(near / _LOBES)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _bits(low: Floats) -> bytes:
    ranked = np.sort(low, axis=None)
    median = (ranked[low.size // 2 - 1] + ranked[low.size // 2]) / 2
    return np.packbits(low > median + _TIE).tobytes()
