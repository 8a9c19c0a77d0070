"""What happens to a photo on its way through the web, done with Pillow in memory; and pictures without contrast.

Owns the edits that `thresholds.py` measures recall over. Reads and writes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

QUALITY = 85  # of every edit that is not about it

Edit = Callable[[Image.Image], bytes]


def jpeg(image: Image.Image, quality: int = QUALITY) -> bytes:
    """Return a JPEG file."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def png(image: Image.Image) -> bytes:
    """Return a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def resized(image: Image.Image, share: float) -> Image.Image:
    """Return the image at `share` of its sides."""
    width, height = (max(1, round(side * share)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Return the image without `share` of its width and height at each of its four edges."""
    across, down = (round(side * share) for side in image.size)
    return image.crop((across, down, image.width - across, image.height - down))


def watermarked(image: Image.Image) -> Image.Image:
    """Return the image with a plate of 40 % opacity, a third of its width and a twelfth of its height, and a text."""
    marked, height = image.copy(), max(1, image.height // 12)
    plate = Image.new("RGB", (max(1, image.width // 3), height), "white")
    ImageDraw.Draw(plate).text((4, 0), "(c) a photo site", fill="black")
    left, top = image.width // 2, image.height - 2 * height
    under = marked.crop((left, top, left + plate.width, top + plate.height))
    marked.paste(Image.blend(under, plate, 0.4), (left, top))
    return marked


def framed(image: Image.Image) -> Image.Image:
    """Return the image in a black frame, 2 % of its width."""
    return ImageOps.expand(image, border=max(1, image.width // 50), fill="black")


def moved(move: Image.Transpose, then: Edit) -> Edit:
    """Return the edit that mirrors or turns the picture first."""
    return lambda image: then(image.transpose(move))


EDITS: dict[str, Edit] = {
    "PNG": png,
    "JPEG quality 60": lambda image: jpeg(image, 60),
    "JPEG quality 30": lambda image: jpeg(image, 30),
    "75 % of its sides": lambda image: jpeg(resized(image, 0.75)),
    "50 %": lambda image: jpeg(resized(image, 0.5)),
    "25 %": lambda image: jpeg(resized(image, 0.25)),
    "200 %": lambda image: jpeg(resized(image, 2)),
    "50 %, quality 60": lambda image: jpeg(resized(image, 0.5), 60),
    "gray": lambda image: jpeg(ImageOps.grayscale(image).convert("RGB")),
    "brightness + 15 %": lambda image: jpeg(ImageEnhance.Brightness(image).enhance(1.15)),
    "brightness - 15 %": lambda image: jpeg(ImageEnhance.Brightness(image).enhance(0.85)),
    "contrast + 30 %": lambda image: jpeg(ImageEnhance.Contrast(image).enhance(1.3)),
    "watermark": lambda image: jpeg(watermarked(image)),
    "frame 2 %": lambda image: jpeg(framed(image)),
    "crop 1 % at each edge": lambda image: jpeg(cropped(image, 0.01)),
    "crop 2 %": lambda image: jpeg(cropped(image, 0.02)),
    "crop 3 %": lambda image: jpeg(cropped(image, 0.03)),
    "crop 5 %": lambda image: jpeg(cropped(image, 0.05)),
}
MOVES: dict[str, Image.Transpose] = {
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "quarter turn": Image.Transpose.ROTATE_90,
    "half turn": Image.Transpose.ROTATE_180,
}
AFTERWARDS = ("PNG", "50 %, quality 60", "watermark", "crop 1 % at each edge", "crop 2 %")  # of a moved picture


def _painted(rng: np.random.Generator, kind: str, strength: float) -> bytes:
    down, across = np.mgrid[-1:1:240j, -1:1:320j]
    turn = rng.uniform(0, 2 * np.pi)
    shades = {
        "one colour": np.zeros(1),
        "grain": rng.normal(0, 1, across.shape),
        "shade": (np.cos(turn) * across + np.sin(turn) * down) * 3**0.5,  # a deviation of 1
    }
    pixels = rng.integers(40, 216, 3) + strength * np.broadcast_to(shades[kind], across.shape)[..., None]
    return jpeg(Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8)))


def flat_pictures(seed: int, count: int) -> dict[str, list[bytes]]:
    """Return `count` files of each kind of picture that shows next to nothing, each of another colour."""
    rng = np.random.default_rng(seed)
    kinds = [("one colour", 0.0), *((kind, level) for kind in ("grain", "shade") for level in (1.0, 2.0, 4.0, 8.0))]
    return {
        f"{kind}, deviation {level:g}" if level else kind: [_painted(rng, kind, level) for _ in range(count)]
        for kind, level in kinds
    }
