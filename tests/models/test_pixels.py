from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.models.pixels import decode


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:  # noqa: ANN401 - Pillow's options
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def halves(mode: str = "RGB", size: tuple[int, int] = (40, 20)) -> Image.Image:
    image = Image.new(mode, size, "black")
    image.paste("white", (size[0] // 2, 0, *size))
    return image


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK", "RGBA", "LA", "I;16", "I", "F"])
def test_every_mode_becomes_rgb_with_its_tones(mode: str) -> None:
    image = halves("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image, dtype=np.uint16) * 257)
    elif mode in {"I", "F"}:
        image = image.convert(mode)
    else:
        image = image.convert("RGB").convert(mode) if mode != "LA" else image.convert("LA")
    data = encoded(image, "TIFF" if mode in {"CMYK", "F", "I"} else "PNG")
    pixels = decode(data, size=32)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
    assert pixels[:, :12].max() <= 2
    assert pixels[:, -12:].min() >= 253


def test_transparency_lies_over_white() -> None:
    assert decode(encoded(Image.new("RGBA", (9, 9), (0, 0, 0, 0))), size=32).min() == 255


def test_squash_stretches_pad_keeps_the_aspect_crop_takes_the_centre() -> None:
    data = encoded(Image.new("RGB", (60, 20), "white"))
    assert decode(data, size=60, fit="squash").min() == 255
    padded = decode(data, size=60, fit="pad")
    assert padded[30].min() == 255
    assert padded[0].max() == 0
    wide = Image.new("RGB", (60, 20), "red")
    wide.paste("white", (20, 0, 40, 20))
    cropped = decode(encoded(wide), size=32, fit="crop")
    assert cropped[:, 1:-1].min() == 255
    assert cropped.min() > 150  # only the outermost column blends with what was cut off


def test_orientation_of_the_camera_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    pixels = decode(encoded(halves(), "JPEG", exif=exif, quality=95), size=32)
    assert pixels[:, :10].mean() > 250
    assert pixels[:, -10:].mean() < 5


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow says what is odd about the block
def test_broken_exif_and_undefined_numbers_do_not_matter() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(halves(), "JPEG", exif=exif, quality=95)
    # The pointer to the camera's block becomes text, on which Pillow's own rotation stumbles.
    start = data.index(b"Exif\0\0")
    broken = data[: start + 20] + b"\x87\x69\x00\x02" + data[start + 24 :]
    assert decode(broken, size=32).shape == (32, 32, 3)
    values = np.full((8, 8), 200, np.float32)
    values[0, 0] = np.nan
    assert decode(encoded(Image.fromarray(values), "TIFF"), size=32)[20:, 20:].min() == 200


def test_the_first_frame_is_taken() -> None:
    stream = io.BytesIO()
    Image.new("L", (8, 8), 255).save(stream, "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 0)])
    assert decode(stream.getvalue(), size=32).min() == 255


def test_what_is_no_image_raises_oserror() -> None:
    with pytest.raises(OSError, match="cannot identify"):
        decode(b"<html>", size=32)
