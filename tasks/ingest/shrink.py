"""A smaller image in place of a large one: `max_side` of a recipe.

Owns what is kept of an image that is stored shrunk. Reads the file's bytes; writes nothing.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tasks.core.errors import ImageRefusedError
from tasks.ingest.inspectors import inspectors
from tasks.ingest.pixels import orientation, reduced, upright
from tasks.ingest.sniff import sniff

# JPEG's decoder and a first coarse step may leave out pixels while they keep this many times the size asked for. Of 33
# photos brought to 100 pixels, the worst lies 54 dB from the whole decode's result with 3, 39 with 2, 29 with 1, for
# 1.4, 1.2 and 0.8 ms each where the whole decode takes 2.5. From 40 on the difference is not seen.
_GAP = 3.0
_OPAQUE = 255


@dataclass(frozen=True)
class Shrunk:
    """An image made smaller: a file of its own."""

    content: bytes
    format: str
    """Pillow's name: JPEG, or PNG where there is transparency."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


def shrunk(data: bytes | bytearray | memoryview | Path, *, max_side: int, quality: int) -> Shrunk | None:
    """Return `data` with its longer side brought down to `max_side`, or None where it is no longer than that.

    The first frame counts; the EXIF orientation is applied to the pixels and the rest of EXIF left out; the ICC
    profile is kept where it still fits (not that of CMYK, which becomes RGB). Deep pixels become 8 bits. Filter:
    LANCZOS. The same bytes, `max_side` and `quality` give the same result under the same version of Pillow.

    Args:
        data: the bytes of an image that `inspect` has let pass, or its path.
        max_side: the longer side of the result, in pixels.
        quality: of the JPEG, 1 to 100; what has transparency becomes PNG, without loss.

    Raises:
        ImageRefusedError: `unreadable`; Pillow cannot decode what `inspect` could.
        OSError: the path cannot be read.
    """
    content = data.read_bytes() if isinstance(data, Path) else data
    try:
        with Image.open(io.BytesIO(content), formats=[sniff(content)]) as image:
            if max(image.size) <= max_side:
                return None
            profile = image.info.get("icc_profile")
            with inspectors().room(image.width * image.height):
                small = _smaller(image, max_side)
                image.close()  # gives its memory back
            return _encoded(small, profile, quality)
    except ImageRefusedError:
        raise
    except Exception as error:  # as in `inspect`: Pillow's decoders raise whatever a file makes them trip over
        raise ImageRefusedError("unreadable", f"not to be shrunk: {type(error).__name__}: {error}") from error


def _smaller(image: Image.Image, max_side: int) -> Image.Image:
    """Return the current frame upright, in mode L, RGB, LA or RGBA, its longer side `max_side`."""
    turn = orientation(image)
    scale = max_side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Only JPEG has a draft: it decodes 1/2, 1/4 or 1/8 of the pixels, as many as still leave _GAP.
    image.draft(None, (round(size[0] * _GAP), round(size[1] * _GAP)))
    factor = max(1, int(max(image.size) / max_side / _GAP))
    box = (0, 0, image.width / factor, image.height / factor)
    coarse = _opaque(reduced(image, (factor, factor), _plain))
    return upright(coarse.resize(size, Image.Resampling.LANCZOS, box), turn)


def _plain(image: Image.Image) -> Image.Image:
    """Return `image` in the narrowest of L, RGB, LA and RGBA that holds it."""
    gray = image.mode in {"1", "L", "LA", "La"}
    if image.has_transparency_data:
        return image.convert("LA" if gray else "RGBA")
    return image.convert("L" if gray else "RGB")


def _opaque(image: Image.Image) -> Image.Image:
    """Return `image` without its transparency where no pixel has any."""
    if image.mode in {"LA", "RGBA"} and image.getchannel("A").getextrema()[0] == _OPAQUE:
        return image.convert(image.mode.removesuffix("A"))
    return image


def _encoded(image: Image.Image, profile: bytes | None, quality: int) -> Shrunk:
    buffer = io.BytesIO()
    kept = profile if profile and _fits(profile, image.mode) else None
    image_format = "PNG" if image.mode in {"LA", "RGBA"} else "JPEG"
    image.info = {}  # comments, times and resolutions of the original: its bytes are not these
    image.save(buffer, image_format, icc_profile=kept, quality=quality)
    return Shrunk(buffer.getvalue(), image_format, image.width, image.height)


def _fits(profile: bytes, mode: str) -> bool:
    """Say whether an ICC profile describes pixels of `mode`, by the colour space in its header."""
    return profile[16:20] == (b"GRAY" if mode in {"L", "LA"} else b"RGB ")
