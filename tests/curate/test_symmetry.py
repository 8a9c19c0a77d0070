from __future__ import annotations

import itertools

import numpy as np
import pytest

from tasks.curate.symmetry import GROUPS, HELD, Invariance, Symmetry, folded, turned, versions
from tasks.ingest.hashes import perceptual_hashes


def _moved(pixels: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    pixels = pixels.T if symmetry.transposed else pixels
    pixels = pixels[:, ::-1] if symmetry.mirrored else pixels
    return np.ascontiguousarray(pixels[::-1] if symmetry.flipped else pixels)


def _hashes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    short, long = perceptual_hashes(pixels)
    return np.frombuffer(short.to_bytes(8), np.uint8)[None], np.frombuffer(long, np.uint8)[None]


def _picture(seed: int) -> np.ndarray:
    """Blobs of all sizes, as photos have them."""
    rng = np.random.default_rng(seed)
    waves = sum(
        np.kron(rng.normal(size=(size, size)), np.ones((192 // size, 192 // size))) / size**0.5
        for size in (2, 3, 4, 6, 8, 12, 16, 24)
    )
    return np.clip(128 + 30 * waves, 0, 255).astype(np.uint8)[:160]


def _apart(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.bitwise_count(first ^ second).sum())


@pytest.mark.parametrize("symmetry", GROUPS["rotation"], ids=str)
def test_derived_hashes_are_near_those_of_the_moved_pixels(symmetry: Symmetry) -> None:
    apart = []
    for seed in range(20):
        picture = _picture(seed)
        moved = _hashes(_moved(picture, symmetry))
        apart.append([_apart(turned(old, symmetry), new) for old, new in zip(_hashes(picture), moved, strict=True)])
    assert np.median(apart, axis=0)[0] <= 6
    assert np.median(apart, axis=0)[1] <= 12
    assert max(apart)[0] <= 16  # strangers: 32 on average
    if not (symmetry.mirrored or symmetry.flipped):
        assert np.max(apart) == 0


def test_the_derived_hashes_are_a_group_that_keeps_distances() -> None:
    rng = np.random.default_rng(3)
    for width in (8, 32):
        hashes = rng.integers(0, 256, (2, width), dtype=np.uint8)
        all_positions = {turned(hashes[:1], symmetry).tobytes() for symmetry in GROUPS["rotation"]}
        assert len(all_positions) == 8
        for one, two in itertools.product(GROUPS["rotation"], repeat=2):
            assert turned(turned(hashes[:1], one), two).tobytes() in all_positions
        for symmetry in GROUPS["rotation"]:
            moved = turned(hashes, symmetry)
            assert _apart(moved[0], moved[1]) == _apart(hashes[0], hashes[1])


@pytest.mark.parametrize("invariance", ["none", "mirror", "rotation"])
def test_the_versions_held_meet_in_every_symmetry_of_the_group_and_no_other(invariance: Invariance) -> None:
    rng = np.random.default_rng(4)
    picture = rng.integers(0, 256, (1, 32), dtype=np.uint8)
    for symmetry in GROUPS["rotation"]:
        pair = np.concatenate((picture, turned(picture, symmetry)))
        _, long = versions(np.zeros(2, np.uint64), pair, invariance)
        everything = np.array(list(itertools.combinations(range(len(long)), 2)))
        met = [[i, j] for i, j in everything if not _apart(long[i], long[j])]
        pairs, new = folded(np.array(met, np.int64).reshape(-1, 2), 2)
        assert bool(len(pairs)) == (symmetry in GROUPS[invariance])
        assert pairs.tolist() == [[0, 1]] * int(new.sum())


def test_both_hashes_of_a_version_are_those_of_one_picture() -> None:
    short, long = _hashes(_picture(1))
    number = np.array([int.from_bytes(short.tobytes())], np.uint64)
    shorts, longs = versions(number, long, "rotation")
    for place, symmetry in enumerate(HELD["rotation"]):
        assert int(shorts[place]).to_bytes(8) == turned(short, symmetry).tobytes()
        assert longs[place].tobytes() == turned(long, symmetry).tobytes()


def test_a_picture_that_resembles_its_own_mirror_image_is_no_pair() -> None:
    pairs, new = folded(np.array([[0, 2], [0, 3], [2, 3], [0, 1]], np.int64), 2)
    assert pairs.tolist() == [[0, 1], [0, 1]]  # mirrored, and as it is; [2, 3] is the latter once more
    assert new.tolist() == [False, True, False, True]
