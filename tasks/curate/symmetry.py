"""The hashes a mirrored or turned picture would have, derived from the hashes alone.

Owns the arithmetic of the eight symmetries on both hashes of `tasks/ingest/hashes.py`, and which of them a search has
to hold. Reads and writes arrays only. A mirrored picture's DCT has its odd columns negated, an upside-down one its odd
rows, one mirrored at its diagonal is transposed. A bit says that a coefficient lies above the median, which lies near
0, so a negated coefficient is an inverted bit: not quite, 3.4 of 64 bits and 7.4 of 256 come out otherwise on average
(docs/near-duplicates.md). The derived hashes form a group all the same, and keep distances.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.curate.near import Hashes, LongHashes, Pairs

Invariance = Literal["none", "mirror", "rotation"]
_CHUNK = 1 << 16  # hashes of which single bits, 16 MiB, are held at once


class Symmetry(NamedTuple):
    """Transposed first, then left and right, then top and bottom exchanged."""

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False


AS_IT_IS = Symmetry()
MIRRORED = Symmetry(mirrored=True)
HALF_TURN = Symmetry(mirrored=True, flipped=True)
TRANSPOSED = Symmetry(transposed=True)

GROUPS: dict[Invariance, tuple[Symmetry, ...]] = {
    "none": (AS_IT_IS,),
    "mirror": (AS_IT_IS, MIRRORED),
    "rotation": tuple(
        Symmetry(transposed, mirrored, flipped)
        for transposed in (False, True)
        for mirrored in (False, True)
        for flipped in (False, True)
    ),
}
"""All symmetries under which two pictures count as one."""

HELD: dict[Invariance, tuple[Symmetry, ...]] = {
    "none": (AS_IT_IS,),
    "mirror": (AS_IT_IS, MIRRORED),
    "rotation": (AS_IT_IS, MIRRORED, TRANSPOSED, HALF_TURN),
}
"""Versions of each hash that a search holds. Any two pictures that a symmetry of the group brings together are met by
two of these versions: four suffice for eight, because each of the six pairs of them differs by another symmetry."""


def turned(hashes: NDArray[np.uint8], symmetry: Symmetry) -> NDArray[np.uint8]:
    """Return the hashes of the pictures after `symmetry`.

    Args:
        hashes: square bit matrices as bytes, most significant bit first, rows from top to bottom: shape (N, 8) for
            8 x 8 bits, (N, 32) for 16 x 16.
        symmetry: what becomes of the pictures.

    Returns:
        An array of the same shape.
    """
    side = 8 if hashes.shape[1] == 8 else 16  # noqa: PLR2004 - the two hashes there are
    result = _transposed(hashes, side) if symmetry.transposed else hashes.copy()
    if symmetry.mirrored:
        result ^= np.uint8(0b01010101)  # odd columns
    if symmetry.flipped:
        result ^= np.repeat(np.tile(np.array([0, 255], np.uint8), side // 2), side // 8)  # odd rows
    return result


def versions(phash: Hashes, verify_hash: LongHashes, invariance: Invariance) -> tuple[Hashes, LongHashes]:
    """Return the hashes of all versions a search holds, one version below the other: shapes (V N,) and (V N, 32)."""
    held = HELD[invariance]
    if len(held) == 1:
        return phash, verify_hash
    short = phash.astype(">u8").view(np.uint8).reshape(-1, 8)
    shorts = np.concatenate([turned(short, symmetry) for symmetry in held])
    return shorts.view(">u8")[:, 0].astype(np.uint64), np.concatenate([turned(verify_hash, s) for s in held])


def folded(pairs: Pairs, count: int) -> tuple[Pairs, NDArray[np.bool_]]:
    """Return pairs of versions as pairs of their pictures, i < j, and which of `pairs` they are.

    A picture that resembles its own mirror image is no pair; two pictures in the same version are met once, as they
    are. A pair may come more than once, by different symmetries.

    Args:
        pairs: rows of what `versions` returns for `count` pictures, shape (P, 2).
        count: pictures.
    """
    version, picture = np.divmod(pairs, count)
    new = (picture[:, 0] != picture[:, 1]) & ((version[:, 0] != version[:, 1]) | (version[:, 0] == 0))
    return np.sort(picture[new], axis=1), new


def _transposed(hashes: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    result = np.empty_like(hashes)
    for start in range(0, len(hashes), _CHUNK):
        bits = np.unpackbits(hashes[start : start + _CHUNK], axis=1).reshape(-1, side, side)
        result[start : start + _CHUNK] = np.packbits(bits.transpose(0, 2, 1).reshape(-1, side * side), axis=1)
    return result
