from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.curate.near import BRUTE_FORCE_BELOW, MAX_RADIUS, band_limits, pair_blocks, pairs_within, verify

ROOT = Path(__file__).resolve().parents[2]


def _reference(hashes: np.ndarray, radius: int) -> np.ndarray:
    """Compare all with all, one row at a time, in a way that shares nothing with the code under test."""
    found = []
    for i in range(len(hashes) - 1):
        bits = np.unpackbits((hashes[i + 1 :] ^ hashes[i]).view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
        found += [(i, i + 1 + j) for j in np.flatnonzero(bits <= radius)]
    return np.array(found, np.int64).reshape(-1, 2)


def _with_neighbours(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random hashes, half of them copies of another with 0 to 18 bits flipped anywhere."""
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for row in range(count // 2, count):
        bits = rng.choice(64, rng.integers(0, 19), replace=False).astype(np.uint64)
        hashes[row] = hashes[rng.integers(0, row)] ^ np.bitwise_or.reduce(np.uint64(1) << bits, initial=np.uint64(0))
    return hashes


@pytest.mark.parametrize("count", [700, BRUTE_FORCE_BELOW + 200])
@pytest.mark.parametrize("radius", [0, 1, 3, 4, 7, 10, 13, 16])
def test_every_pair_within_the_radius_is_found_and_no_other(count: int, radius: int) -> None:
    hashes = _with_neighbours(np.random.default_rng(radius), count)
    pairs = pairs_within(hashes, radius)
    assert pairs.dtype == np.int64
    np.testing.assert_array_equal(pairs, _reference(hashes, radius))
    assert len(pairs) > count // 40


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_hashes_have_no_pair(count: int) -> None:
    assert pairs_within(np.zeros(count, np.uint64), 10).shape == (0, 2)


@pytest.mark.parametrize("radius", [-1, MAX_RADIUS + 1])
def test_a_radius_that_cannot_be_searched_exactly_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 16, here it is {radius}"):
        pairs_within(np.zeros(3, np.uint64), radius)


def test_thousands_of_equal_hashes_come_in_blocks_of_bounded_size_each_pair_once() -> None:
    count = BRUTE_FORCE_BELOW + 100
    blocks = list(pair_blocks(np.full(count, 77, np.uint64), 10, block=100_000))
    assert max(map(len, blocks)) <= 100_000
    pairs = np.concatenate(blocks)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(pairs) == count * (count - 1) // 2
    assert np.diff(np.sort(pairs[:, 0] * count + pairs[:, 1])).min() > 0


def test_small_blocks_lose_no_pair_where_a_block_ends_inside_a_bucket() -> None:
    hashes = _with_neighbours(np.random.default_rng(5), BRUTE_FORCE_BELOW + 10)
    hashes[::3] &= np.uint64(0xFFFF_0000_0000_0003)  # crowds one bucket of the middle bands
    blocks = list(pair_blocks(hashes, 12, block=1))
    pairs = np.concatenate(blocks)
    assert len(blocks) > 10
    np.testing.assert_array_equal(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))], pairs_within(hashes, 12))


@given(st.integers(0, MAX_RADIUS), st.data())
def test_a_pair_within_the_radius_is_within_the_limit_of_some_band(radius: int, data: st.DataObject) -> None:
    left = radius
    differing = []
    for _ in range(4):
        differing.append(data.draw(st.integers(0, min(left, 16))))
        left -= differing[-1]
    for order in (differing, differing[::-1]):
        assert any(bits <= limit for bits, limit in zip(order, band_limits(radius), strict=True))


def test_verify_counts_the_differing_bits_of_256() -> None:
    hashes = np.zeros((3, 32), np.uint8)
    hashes[1, :10] = 0xFF
    hashes[2, 31] = 1
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    assert verify(pairs, hashes, 80).tolist() == [True, True, False]
    assert verify(pairs, hashes, 79).tolist() == [False, True, False]
    assert verify(np.empty((0, 2), np.int64), hashes, 80).tolist() == []


def test_the_search_runs_where_machine_code_cannot_be_cached() -> None:
    """A locator that does not exist makes numba raise what it raises in a read-only container."""
    code = (
        "import numpy as np; from tasks.curate.near import pairs_within; "
        "print(len(pairs_within(np.arange(3000, dtype=np.uint64) << np.uint64(20), 0)))"
    )
    settings = os.environ | {"NUMBA_CACHE_LOCATOR_CLASSES": "NoSuchLocator", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
