"""The compiled search behind `near.pair_blocks`, for so many hashes that comparing all with all takes longer.

Owns the kernels and numba, whose import and machine code take a second: `near.py` imports this module only when it is
needed. Reads arrays, yields arrays. Method: multi-index hashing (Norouzi, Punjani, Fleet, CVPR 2012), four bands of
16 bits, walked bucket by bucket.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tasks.curate.near import Hashes, Pairs

BANDS = 4
BAND_BITS = 16
_KEYS = 1 << BAND_BITS


def band_limits(radius: int) -> list[int]:
    """Return for each band the differing bits up to which its buckets are compared (-1: not at all).

    Pigeonhole: with radius = 4a + b, a pair that differs in more than a bits in each of the first b + 1 bands
    and in more than a - 1 bits in each other differs in at least 4a + b + 1 bits.
    """
    whole, rest = divmod(radius, BANDS)
    return [whole if band <= rest else whole - 1 for band in range(BANDS)]


def banded(hashes: Hashes, radius: int, block: int) -> Iterator[Pairs]:
    """Yield the pairs within `radius`, each once, in arrays of at most `block` rows or those of the largest bucket."""
    limits = np.array(band_limits(radius), np.int64)
    for band in range(BANDS):
        if limits[band] < 0:
            continue
        keys = (hashes >> np.uint64(band * BAND_BITS)).astype(np.uint16)  # 16 bits: NumPy sorts them by radix
        order, sizes = np.argsort(keys, kind="stable"), np.bincount(keys, minlength=_KEYS)
        starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        copy, masks, place = hashes[order], _masks(int(limits[band])), np.zeros(3, np.int64)
        found = np.empty((max(block, int(sizes.max())), 2), np.int64)
        while place[0] < _KEYS:
            count = _scan(copy, starts, masks, limits[:band], radius, place, found)
            if count:
                yield np.sort(order[found[:count]], axis=1)


def _masks(limit: int) -> NDArray[np.int64]:
    """Return every 16-bit number with at most `limit` bits set, 0 first."""
    chosen = (bits for size in range(limit + 1) for bits in itertools.combinations(range(BAND_BITS), size))
    return np.array([sum(1 << bit for bit in bits) for bits in chosen], np.int64)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither this folder nor HOME is writable: numba has nowhere to keep the machine code
        return numba.njit(nogil=True)(function)


@_compiled
def _differing(first: np.uint64, second: np.uint64) -> np.int64:
    # The classic parallel bit count: LLVM recognises it and emits one popcnt instruction.
    bits = first ^ second
    bits -= (bits >> np.uint64(1)) & np.uint64(0x5555555555555555)
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))


@_compiled
def _seen(first: np.uint64, second: np.uint64, earlier: NDArray[np.int64]) -> bool:
    """Tell whether an earlier band has met this pair."""
    for band in range(len(earlier)):
        shift = np.uint64(band * BAND_BITS)
        part = np.uint64(_KEYS - 1)
        if _differing((first >> shift) & part, (second >> shift) & part) <= earlier[band]:
            return True
    return False


@_compiled
def _scan(  # one loop nest: splitting it would hide the resume point  # noqa: PLR0917
    hashes: Hashes,
    starts: NDArray[np.int64],
    masks: NDArray[np.int64],
    earlier: NDArray[np.int64],
    radius: int,
    place: NDArray[np.int64],
    found: Pairs,
) -> int:
    """Fill `found` with pairs of positions, from `place` (key, mask, row) on; return how many and move `place`."""
    count, key, turn, row = 0, place[0], place[1], place[2]
    while key < _KEYS:
        first, last = starts[key], starts[key + 1]
        while turn < len(masks) and first < last:
            other = key ^ masks[turn]
            if other >= key:  # each pair of buckets once, from its smaller key
                low, high = starts[other], starts[other + 1]
                for i in range(first + row, last):
                    if count + high - low > len(found):
                        place[0], place[1], place[2] = key, turn, i - first
                        return count
                    for j in range(max(low, i + 1), high):
                        if _differing(hashes[i], hashes[j]) <= radius and not _seen(hashes[i], hashes[j], earlier):
                            found[count, 0], found[count, 1] = i, j
                            count += 1
                row = 0
            turn += 1
        turn = 0
        key += 1
    place[0] = _KEYS
    return count
