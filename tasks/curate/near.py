"""All pairs of 64-bit hashes within a Hamming radius, exactly, and their confirmation by a longer hash.

Owns the search and nothing else: reads arrays, returns arrays of row numbers. Method: multi-index
hashing (Norouzi, Punjani, Fleet, CVPR 2012) with four bands of 16 bits, walked bucket by bucket.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

BANDS = 4
BAND_BITS = 16
MAX_RADIUS = 16
BRUTE_FORCE_BELOW = 3000  # rows: 4.5 million comparisons, 40 ms in numpy, less than loading a compiled kernel
BLOCK = 1 << 18  # pairs held at once: 4 MiB, and 16 MiB of their 256-bit hashes
_KEYS = 1 << BAND_BITS
_VERIFY_CHUNK = BLOCK

Pairs = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def pairs_within(hashes: Hashes, radius: int) -> Pairs:
    """Return every pair of rows whose hashes differ in at most `radius` bits.

    The answer is complete, so n equal hashes give n(n-1)/2 pairs; `pair_blocks` yields the same pairs in
    bounded memory.

    Args:
        hashes: 64-bit hashes, shape (N,), dtype uint64.
        radius: differing bits, 0 to 16.

    Returns:
        Row numbers i < j, sorted, shape (P, 2), dtype int64.
    """
    blocks = list(pair_blocks(hashes, radius))
    pairs = np.concatenate(blocks) if blocks else np.empty((0, 2), np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def pair_blocks(hashes: Hashes, radius: int, *, block: int = BLOCK) -> Iterator[Pairs]:
    """Yield the pairs of `pairs_within`, each once, in arrays of at most max(block, N) rows, in no order.

    Raises:
        ValueError: the radius lies outside 0 to 16.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius must lie between 0 and {MAX_RADIUS}, here it is {radius}")
    hashes = np.ascontiguousarray(hashes, np.uint64)
    if len(hashes) < BRUTE_FORCE_BELOW:
        yield from _brute_force(hashes, radius)
    else:
        yield from _banded(hashes, radius, max(block, len(hashes)))


def verify(pairs: Pairs, verify_hashes: NDArray[np.uint8], radius: int) -> NDArray[np.bool_]:
    """Return which pairs also agree on the 256-bit hash.

    Args:
        pairs: row numbers, shape (P, 2).
        verify_hashes: 256-bit hashes as bytes, shape (N, 32), dtype uint8.
        radius: differing bits, 0 to 256.

    Returns:
        Mask of shape (P,).
    """
    words = np.ascontiguousarray(verify_hashes).view(np.uint64)
    mask = np.empty(len(pairs), np.bool_)
    for start in range(0, len(pairs), _VERIFY_CHUNK):
        chunk = slice(start, start + _VERIFY_CHUNK)
        differing = np.bitwise_count(words[pairs[chunk, 0]] ^ words[pairs[chunk, 1]])
        mask[chunk] = differing.sum(axis=1, dtype=np.int64) <= radius
    return mask


def _brute_force(hashes: Hashes, radius: int) -> Iterator[Pairs]:
    rows = 256
    for start in range(0, len(hashes), rows):
        tile = hashes[start : start + rows]
        first, second = np.nonzero(np.bitwise_count(tile[:, None] ^ hashes[None, start:]) <= radius)
        upper = first < second
        if upper.any():
            yield np.column_stack((first[upper], second[upper])).astype(np.int64) + start


def band_limits(radius: int) -> list[int]:
    """Return for each band the differing bits up to which its buckets are compared (-1: not at all).

    Pigeonhole: with radius = 4a + b, a pair that differs in more than a bits in each of the first b + 1 bands
    and in more than a - 1 bits in each other differs in at least 4a + b + 1 bits.
    """
    whole, rest = divmod(radius, BANDS)
    return [whole if band <= rest else whole - 1 for band in range(BANDS)]


def _banded(hashes: Hashes, radius: int, capacity: int) -> Iterator[Pairs]:
    limits = np.array(band_limits(radius), np.int64)
    found = np.empty((capacity, 2), np.int64)
    for band in range(BANDS):
        if limits[band] < 0:
            continue
        keys = (hashes >> np.uint64(band * BAND_BITS)) & np.uint64(_KEYS - 1)
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(_KEYS + 1, dtype=np.uint64))
        copy, masks, place = hashes[order], _masks(int(limits[band])), np.zeros(3, np.int64)
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
