from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import imagehash
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.ingest.hashes import _lanczos, perceptual_hashes

from .conftest import picture

Gray = npt.NDArray[np.uint8]


def drawn(seed: int, width: int, height: int) -> Gray:
    """Shapes of all scales, as photos have them."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width))
    for cells in (2, 4, 9, 20):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
        total += np.asarray(noise.resize((width, height)), dtype=float) / cells
    return np.asarray(255 * (total - total.min()) / np.ptp(total), dtype=np.uint8)


def distances(gray: Gray) -> tuple[int, int]:
    """Bits that differ from imagehash's own, of 64 and of 256."""
    image = Image.fromarray(gray)
    short, long = perceptual_hashes(gray)
    return (
        (short ^ int(str(imagehash.phash(image)), 16)).bit_count(),
        (int.from_bytes(long) ^ int(str(imagehash.phash(image, hash_size=16)), 16)).bit_count(),
    )


def reference(gray: Gray, size: int) -> str:
    """imagehash's method on pixels resized without rounding: the same Pillow filter, the same DCT of SciPy."""
    image = Image.fromarray(gray.astype(np.float32)).resize((4 * size, 4 * size), Image.Resampling.LANCZOS)
    import scipy.fftpack  # noqa: PLC0415 - the reference alone needs it

    low = scipy.fftpack.dct(scipy.fftpack.dct(np.asarray(image, float), axis=0), axis=1)[:size, :size]
    return np.packbits(low > np.median(low)).tobytes().hex()


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), width=st.integers(16, 400), height=st.integers(16, 400))
def test_it_is_the_dct_hash_of_the_picture_resized_by_lanczos(seed: int, width: int, height: int) -> None:
    gray = drawn(seed, width, height)
    short, long = perceptual_hashes(gray)
    # Pillow keeps single-precision floats in between, which a coefficient next to the median can feel.
    assert (short ^ int(reference(gray, 8), 16)).bit_count() <= 2
    assert (int.from_bytes(long) ^ int(reference(gray, 16), 16)).bit_count() <= 4


def test_that_is_the_same_hash_bit_by_bit_in_nearly_all_cases() -> None:
    pictures = [drawn(seed, 100 + seed, 250 - seed) for seed in range(100)]
    same = [f"{perceptual_hashes(gray)[0]:016x}" == reference(gray, 8) for gray in pictures]
    same += [perceptual_hashes(gray)[1].hex() == reference(gray, 16) for gray in pictures]
    assert np.mean(same) > 0.97


@pytest.mark.parametrize("size", [(160, 160), (128, 190), (90, 70), (48, 300)])
def test_imagehash_rounds_in_between_and_moves_few_bits(size: tuple[int, int]) -> None:
    moved = [distances(drawn(seed, *size)) for seed in range(40)]
    assert np.mean(moved, axis=0)[0] < 1
    assert np.mean(moved, axis=0)[1] < 4
    assert np.max(moved, axis=0)[0] <= 4


@pytest.mark.real
def test_on_real_photos_it_is_as_near_to_the_hash_of_the_whole_photo_as_imagehash(real_data: Path) -> None:
    near: list[tuple[int, int]] = []
    whole: list[tuple[int, int]] = []
    for path in sorted((real_data / "photos").rglob("*.jp*g"))[::25]:
        body = path.read_bytes()
        gray = simplejpeg.decode_jpeg(body, "GRAY", min_height=128, min_width=128, strict=False)[:, :, 0]
        near.append(distances(gray))
        full = imagehash.phash(Image.open(io.BytesIO(body)).convert("L"))
        ours = perceptual_hashes(gray)[0] ^ int(str(full), 16)
        whole.append((ours.bit_count(), int(imagehash.phash(Image.fromarray(gray)) - full)))
    assert len(near) > 80
    assert np.mean(near, axis=0)[0] < 0.5
    assert np.mean(near, axis=0)[1] < 1.5
    assert np.max(near, axis=0)[0] <= 4
    ours_to_whole, theirs_to_whole = np.mean(whole, axis=0)
    assert ours_to_whole < theirs_to_whole + 0.2


def test_the_bits_do_not_depend_on_how_the_pixels_lie_in_memory_or_their_type() -> None:
    gray = drawn(1, 200, 150)
    expected = perceptual_hashes(gray)
    assert perceptual_hashes(np.asfortranarray(gray)) == expected
    assert perceptual_hashes(gray.astype(np.float64)) == expected
    assert perceptual_hashes(np.repeat(gray, 2, axis=1)[:, ::2]) == expected


def test_ties_are_zeros_not_rounding_noise() -> None:
    flat = np.full((150, 150), 77, np.uint8)
    assert perceptual_hashes(flat) == (1 << 63, b"\x80" + bytes(31))
    half = drawn(2, 100, 150)
    mirrored = np.hstack([half, half[:, ::-1]])  # every other frequency is zero
    assert perceptual_hashes(mirrored) == perceptual_hashes(mirrored[:, ::-1])


def test_different_pictures_are_far_apart() -> None:
    short = [perceptual_hashes(drawn(seed, 160, 160))[0] for seed in range(30)]
    assert min((a ^ b).bit_count() for a in short for b in short if a != b) > 8
    assert len(set(short)) == 30


def test_drawn_out_pictures_cost_no_more_memory_than_others() -> None:
    """Matrices of 200,000 columns would hold 140 MB; they are averaged down first."""
    strip = np.tile(drawn(3, 400, 20), (1, 500))
    assert strip.shape == (20, 200_000)
    tracemalloc.start()
    short, long = perceptual_hashes(strip)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert short >> 63 == 1
    assert len(long) == 32


@pytest.mark.parametrize("length", [20, 32, 100, 141, 160, 500])
def test_the_weights_are_pillows_lanczos(length: int) -> None:
    for samples in (32, 64):
        impulses = Image.fromarray(np.eye(length, dtype=np.float32))
        pillow = np.asarray(impulses.resize((samples, length), Image.Resampling.LANCZOS)).T
        assert np.abs(_lanczos(length, samples) - pillow).max() < 1e-4


def test_pictures_of_one_pixel_have_a_hash() -> None:
    assert perceptual_hashes(np.zeros((1, 1), np.uint8)) == (0, bytes(32))


def test_a_jpeg_of_lower_quality_keeps_its_hash() -> None:
    image = Image.open(io.BytesIO(picture(4, side=200))).convert("L")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    again = np.asarray(Image.open(buffer))
    assert (perceptual_hashes(np.asarray(image))[0] ^ perceptual_hashes(again)[0]).bit_count() <= 4
