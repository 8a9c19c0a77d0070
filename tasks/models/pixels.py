"""From an image file's bytes to the square of pixels a model reads.

The only place where images are decoded for learning or answering: prepare, evaluate and the served
model all call `decode`, so that what is trained on is what is predicted on. Reads no TensorFlow.
"""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

Fit = Literal["squash", "pad", "crop"]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def decode(data: bytes, *, size: int, fit: Fit = "squash") -> Pixels:
    """Decode an image and bring it to `size` x `size`.

    EXIF orientation is applied, the first frame taken, transparency laid over white, 16-bit gray
    scaled to 8 bits. JPEGs are decoded at the smallest DCT scale that is still at least twice `size`.

    Args:
        data: the bytes of an image file in any format Pillow reads.
        size: side of the square, in pixels.
        fit: `squash` stretches, `pad` keeps the aspect on black, `crop` cuts out the centre.

    Returns:
        uint8 array of shape (size, size, 3), RGB, 0-255.

    Raises:
        OSError: Pillow cannot read the data (its UnidentifiedImageError is one).
    """
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (2 * size, 2 * size))
        picture = rgb(_upright(image))
    square = (size, size)
    if fit == "pad":
        picture = ImageOps.pad(picture, square, Image.Resampling.BILINEAR)
    elif fit == "crop":
        picture = ImageOps.fit(picture, square, Image.Resampling.BILINEAR)
    else:
        picture = picture.resize(square, Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.uint8)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - broken EXIF raises a dozen types and says nothing of the pixels
        return image


def rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB: transparency over white, 16- and 32-bit gray scaled to 8 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        # I;16 holds 0-65535 by definition; I and F hold anything, so their own maximum is the scale.
        top = 65535.0 if image.mode.startswith("I;16") else max(float(values.max(initial=0.0)), 255.0)
        return Image.fromarray((values.clip(0, top) * (255.0 / top)).astype(np.uint8)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
