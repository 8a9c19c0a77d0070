from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tasks.ingest.pixels import reduced, to_gray

SIZE = (1500, 3001)  # more than one strip, and no whole number of blocks
RNG = np.random.default_rng(0)


def image(mode: str) -> Image.Image:
    if mode == "P":
        palette = Image.fromarray(RNG.integers(0, 256, SIZE[::-1], dtype=np.uint8)).convert("P")
        palette.info["transparency"] = bytes(range(256))
        return palette
    channels = Image.fromarray(RNG.integers(0, 256, (*SIZE[::-1], 4), dtype=np.uint8))
    return channels.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("block", [(1, 1), (7, 7), (3, 5)])
def test_strips_give_the_pixels_that_the_whole_gives(mode: str, block: tuple[int, int]) -> None:
    whole = image(mode)
    expected = to_gray(whole).reduce(block)
    assert np.array_equal(np.asarray(reduced(whole, block, to_gray)), np.asarray(expected))


def test_deep_pixels_are_stretched_by_the_least_and_the_greatest_of_all_strips() -> None:
    values = RNG.normal(size=SIZE[::-1]).astype(np.float32)
    values[0, 0], values[-1, -1], values[1, 1] = -50, 50, np.inf
    found = np.asarray(reduced(Image.fromarray(values), (1, 1), to_gray))
    values[1, 1] = 0
    assert np.array_equal(found, ((values.astype(np.float64) + 50) * 2.55).astype(np.uint8))
    sixteen = RNG.integers(0, 65536, SIZE[::-1], dtype=np.uint16)
    assert np.array_equal(np.asarray(reduced(Image.fromarray(sixteen), (1, 1), to_gray)), sixteen >> 8)
