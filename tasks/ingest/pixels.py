"""What the modes and the EXIF orientation of Pillow's images come to: upright, eight bits, gray.

Owns the rules for transparency, deep pixels and rotation that inspecting and shrinking share. Reads and writes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

Gray = npt.NDArray[np.uint8]

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {5, 6, 7, 8}
_ORIENTATION = 0x0112
_STRIP = 1 << 20  # pixels converted at once, up to 24 bytes each


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an open image, 1 to 8; 1 where it says none or cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken EXIF raises a dozen types and says nothing of the pixels
        return 1
    return value if value in _TRANSPOSE else 1


def upright(image: Image.Image, turn: int) -> Image.Image:
    """Return `image` turned and mirrored as the EXIF orientation `turn` asks."""
    return image.transpose(_TRANSPOSE[turn]) if turn in _TRANSPOSE else image


def upright_size(size: tuple[int, int], turn: int) -> tuple[int, int]:
    """Return width and height, in pixels, after `upright`."""
    width, height = size
    return (height, width) if turn in _SIDEWAYS else (width, height)


def reduced(image: Image.Image, block: tuple[int, int], plain: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Return the current frame as `plain` makes it of 8-bit channels, averaged over blocks so wide and so high.

    Strip by strip, to the same pixels: done at once, what lies between takes up to five times the frame's memory.
    """
    across, down = block
    span = _span(image)
    whole = None
    for top, strip in _strips(image, down):
        part = plain(_eight_bits(strip, span)).reduce(block)
        if whole is None:
            whole = Image.new(part.mode, (-(-image.width // across), -(-image.height // down)))
        whole.paste(part, (0, top // down))
    if whole is None:
        raise ValueError("an image without pixels")
    return whole


def to_gray(image: Image.Image) -> Image.Image:
    """Return an image of 8-bit channels as gray (mode L), transparency over white."""
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        white = Image.new("RGBA", colour.size, "white")
        return Image.alpha_composite(white, colour).convert("L")
    return image.convert("L")


def _strips(image: Image.Image, block: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Cut an image into strips of whole blocks, each with its upper edge."""
    rows = max(1, _STRIP // (image.width * block)) * block
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _span(image: Image.Image) -> tuple[float, float]:
    """Return the least and the greatest value of pixels that are numbers without bounds; else no span."""
    if image.mode not in {"I", "F"}:
        return 0.0, 0.0
    ends = [(float(pixels.min()), float(pixels.max())) for pixels in (_finite(strip) for _, strip in _strips(image))]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _eight_bits(image: Image.Image, span: tuple[float, float]) -> Image.Image:
    """Return an image with 8-bit channels: deep pixels brought to 0-255, LAB to its lightness."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in {"I", "F"}:
        low, high = span
        scale = 255.0 / (high - low) if high > low else 0.0
        return Image.fromarray(((_finite(image) - low) * scale).astype(np.uint8))
    if image.mode == "LAB":  # Pillow converts it to nothing else; its first channel is the lightness
        return image.getchannel(0)
    return image


def _finite(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
