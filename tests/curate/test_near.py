from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.curate.near import BRUTE_FORCE_BELOW, MAX_RADIUS, bits_apart, pair_blocks, pairs_within
from tasks.curate.near_compiled import band_limits, banded
from tasks.ingest.inspect import inspect

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


def _sorted(blocks: list[np.ndarray]) -> np.ndarray:
    pairs = np.concatenate([np.empty((0, 2), np.int64), *blocks])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


@pytest.mark.parametrize("radius", [0, 1, 3, 4, 7, 10, 13, 16])
def test_both_searches_find_every_pair_within_the_radius_and_no_other(radius: int) -> None:
    hashes = _with_neighbours(np.random.default_rng(radius), 700)
    expected = _reference(hashes, radius)
    assert len(expected) > 700 // 40
    pairs = pairs_within(hashes, radius)
    assert pairs.dtype == np.int64
    np.testing.assert_array_equal(pairs, expected)
    np.testing.assert_array_equal(_sorted(list(banded(hashes, radius, 1000))), expected)


def test_many_hashes_are_searched_by_the_compiled_search_to_the_same_pairs() -> None:
    hashes = _with_neighbours(np.random.default_rng(1), BRUTE_FORCE_BELOW)
    fewer = hashes[:-1]
    without_last = pairs_within(hashes, 6)
    without_last = without_last[without_last[:, 1] < len(fewer)]
    np.testing.assert_array_equal(without_last, pairs_within(fewer, 6))
    assert len(without_last) > 1000


@pytest.mark.real
def test_both_searches_agree_on_the_hashes_of_real_photos(real_data: Path) -> None:
    """Real hashes crowd some buckets, uniform ones never do."""
    found = [
        inspect(path, min_side=1, max_pixels=10**8).phash
        for path in sorted(real_data.glob("photos/bees-hornets/*/*/*.jpg"))
    ]
    hashes = np.array(found, np.uint64)
    assert len(hashes) > 700
    expected = _reference(hashes, 16)
    assert len(expected) > 100
    np.testing.assert_array_equal(_sorted(list(banded(hashes, 16, 1000))), expected)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_hashes_have_no_pair(count: int) -> None:
    assert pairs_within(np.zeros(count, np.uint64), 10).shape == (0, 2)


@pytest.mark.parametrize("radius", [-1, MAX_RADIUS + 1])
def test_a_radius_that_cannot_be_searched_exactly_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 16, here it is {radius}"):
        pairs_within(np.zeros(3, np.uint64), radius)


@pytest.mark.parametrize("search", [pair_blocks, banded])
def test_thousands_of_equal_hashes_come_in_blocks_of_bounded_size_each_pair_once(search: object) -> None:
    count = 3000
    blocks = list(search(np.full(count, 77, np.uint64), 10, block=100_000))  # type: ignore[operator]
    assert max(map(len, blocks)) <= 100_000
    pairs = np.concatenate(blocks)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(pairs) == count * (count - 1) // 2
    assert np.diff(np.sort(pairs[:, 0] * count + pairs[:, 1])).min() > 0


@pytest.mark.parametrize("search", [pair_blocks, banded])
def test_small_blocks_lose_no_pair_where_a_block_ends_inside_a_bucket(search: object) -> None:
    hashes = _with_neighbours(np.random.default_rng(5), 900)
    hashes[::3] &= np.uint64(0xFFFF_0000_0000_0003)  # crowds one bucket of the middle bands
    blocks = list(search(hashes, 12, block=1))  # type: ignore[operator]
    assert len(blocks) > 10
    np.testing.assert_array_equal(_sorted(blocks), _reference(hashes, 12))


@given(st.integers(0, MAX_RADIUS), st.data())
def test_a_pair_within_the_radius_is_within_the_limit_of_some_band(radius: int, data: st.DataObject) -> None:
    left = radius
    differing = []
    for _ in range(4):
        differing.append(data.draw(st.integers(0, min(left, 16))))
        left -= differing[-1]
    for order in (differing, differing[::-1]):
        assert any(bits <= limit for bits, limit in zip(order, band_limits(radius), strict=True))


def test_long_hashes_are_compared_by_the_differing_bits_of_256() -> None:
    hashes = np.zeros((3, 32), np.uint8)
    hashes[1, :10] = 0xFF
    hashes[2, 31] = 1
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    assert bits_apart(pairs, hashes).tolist() == [80, 1, 81]
    assert bits_apart(np.empty((0, 2), np.int64), hashes).tolist() == []


def _run(code: str, **settings: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | settings
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_compiled_search_runs_where_machine_code_cannot_be_cached() -> None:
    """A locator that does not exist makes numba raise what it raises in a read-only container."""
    code = (
        "import numpy as np; from tasks.curate.near_compiled import banded; "
        "print(sum(map(len, banded(np.arange(3000, dtype=np.uint64) << np.uint64(20), 0, 9))))"
    )
    assert _run(code, NUMBA_CACHE_LOCATOR_CLASSES="NoSuchLocator") == "0"


def test_a_few_thousand_images_are_clustered_without_loading_numba_or_scipy() -> None:
    code = (
        "import sys, numpy as np, tasks.curate.clusters; from tasks.curate.near import pairs_within; "
        "pairs_within(np.arange(3000, dtype=np.uint64), 10); print({'numba', 'scipy'} & set(sys.modules))"
    )
    assert _run(code) == "set()"
