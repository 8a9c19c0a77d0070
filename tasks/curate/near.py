"""All pairs of 64-bit hashes within a Hamming radius, exactly, and their confirmation by a longer hash.

Owns the search and nothing else: reads arrays, returns arrays of row numbers. Few hashes are compared all with all,
many through `near_compiled`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MAX_RADIUS = 16
BRUTE_FORCE_BELOW = 32_000  # rows: 512 million comparisons, 0.3 s in NumPy; loading the compiled search takes 1 s
BLOCK = 1 << 18  # pairs held at once: 4 MiB, and 16 MiB of their 256-bit hashes

Pairs = NDArray[np.int64]
Hashes = NDArray[np.uint64]
LongHashes = NDArray[np.uint8]


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
        yield from _brute_force(hashes, radius, max(1, block // max(1, len(hashes))))
        return
    # Here and not above: numba and its kernels take a second, as long as an audit of a thousand files.
    from tasks.curate.near_compiled import banded  # noqa: PLC0415

    yield from banded(hashes, radius, block)


def bits_apart(pairs: Pairs, hashes: LongHashes) -> NDArray[np.int64]:
    """Return in how many bits the 256-bit hashes of each pair differ.

    Args:
        pairs: row numbers, shape (P, 2).
        hashes: 256-bit hashes as bytes, shape (N, 32), dtype uint8.

    Returns:
        Shape (P,), 0 to 256.
    """
    words = np.ascontiguousarray(hashes).view(np.uint64)
    apart = np.empty(len(pairs), np.int64)
    for start in range(0, len(pairs), BLOCK):
        chunk = slice(start, start + BLOCK)
        differing = np.bitwise_count(words[pairs[chunk, 0]] ^ words[pairs[chunk, 1]])
        apart[chunk] = differing.sum(axis=1, dtype=np.int64)
    return apart


def _brute_force(hashes: Hashes, radius: int, rows: int) -> Iterator[Pairs]:
    """Compare all with all, `rows` with the rest at a time."""
    for start in range(0, len(hashes), rows):
        tile, rest = hashes[start : start + rows], hashes[start:]
        near = np.flatnonzero(np.bitwise_count(tile[:, None] ^ rest) <= radius)
        if len(near) > len(tile):  # each row is near itself
            first, second = np.divmod(near, len(rest))
            upper = first < second
            yield np.column_stack((first[upper], second[upper])).astype(np.int64) + start
