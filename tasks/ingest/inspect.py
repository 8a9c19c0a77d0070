"""One look at an image file: is it one, is it whole, how large is it, what are its perceptual hashes.

Owns the verdict and the single decode behind it. Reads the file's bytes; writes nothing.
"""

from __future__ import annotations

import importlib.metadata
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageSequence

from tasks.core.errors import ImageRefusedError
from tasks.ingest.sniff import sniff

Gray = npt.NDArray[np.uint8]

HASH_SIDE = 128  # pixels; decoding no smaller than this changes a phash by 4 bits at the most (p99: 2)
VERSIONS = " ".join(f"{name}={importlib.metadata.version(name)}" for name in ("pillow", "simplejpeg", "imagehash"))

# Complaints of libjpeg about files whose pixels are whole. Extraneous bytes count as harmless only
# before a header marker (APPn, COM, DQT, SOF, DRI): before EOI or RSTn they are a hole in the scan.
_BENIGN = re.compile(
    r"bad ICC marker|Invalid SOS parameters for sequential JPEG|Unknown Adobe color transform code"
    r"|extraneous bytes before marker 0x(e[0-9a-f]|fe|db|c[0-2]|dd)$"
)
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


@dataclass(frozen=True)
class Inspected:
    """What one decode tells of an image. Sizes have the EXIF orientation applied."""

    format: str
    """Pillow's name of the format."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    contrast: float
    """Standard deviation of the gray pixels, 0 to 127.5."""
    phash: int
    """64-bit DCT hash, most significant bit first."""
    verify_hash: bytes
    """256-bit DCT hash of the same pixels, 32 bytes."""


@dataclass(frozen=True)
class _Limits:
    min_side: int
    max_pixels: int

    def check(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise ImageRefusedError("too-large", f"{width} x {height} is more than {self.max_pixels:,} pixels")
        if min(width, height) < self.min_side:
            raise ImageRefusedError("too-small", f"{width} x {height}, the shorter side must have {self.min_side}")


@dataclass(frozen=True)
class _Decoded:
    gray: Gray
    width: int
    height: int
    orientation: int


def inspect(data: bytes | Path, *, min_side: int, max_pixels: int) -> Inspected:
    """Decode an image once and return its size and hashes.

    JPEG goes through one strict, gray, scaled libjpeg-turbo decode, which reports holes that Pillow
    skips over; every other format through Pillow, all frames. phash: Zauner 2010, as in `imagehash`.

    Args:
        data: the bytes of the file, or its path.
        min_side: shorter side below which the image is refused, in pixels.
        max_pixels: width x height above which it is refused undecoded.

    Raises:
        ImageRefusedError: `empty`, `html`, `not-an-image`, `too-large`, `too-small`, `damaged` or `unreadable`.
    """
    content = data if isinstance(data, bytes) else data.read_bytes()
    image_format = sniff(content)
    limits = _Limits(min_side, max_pixels)
    decoded = _jpeg(content, limits) if image_format == "JPEG" else _pillow(content, image_format, limits)
    upright = Image.fromarray(decoded.gray)
    if decoded.orientation in _TRANSPOSE:
        upright = upright.transpose(_TRANSPOSE[decoded.orientation])
    sideways = decoded.orientation in _SIDEWAYS
    return Inspected(
        format=image_format,
        width=decoded.height if sideways else decoded.width,
        height=decoded.width if sideways else decoded.height,
        contrast=float(decoded.gray.std()),
        phash=int.from_bytes(_bits(upright, 8)),
        verify_hash=_bits(upright, 16),
    )


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's remarks on odd files for the block: the ledger's outcome says what matters.

    Entered once around a batch, not per image: `catch_warnings` swaps state of the whole process, so
    the threads that decode must not each do it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield


def _bits(image: Image.Image, side: int) -> bytes:
    return np.packbits(imagehash.phash(image, hash_size=side).hash.ravel()).tobytes()


def _jpeg(content: bytes, limits: _Limits) -> _Decoded:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:  # unusual sampling factors, bad ICC marker: Pillow has the last word
        return _pillow(content, "JPEG", limits)
    limits.check(width, height)
    try:
        gray = _scaled_gray(content, strict=True)
    except ValueError as error:
        message = str(error)
        if not _BENIGN.search(message) and _decodes(content):
            raise ImageRefusedError("damaged", message) from error
        return _pillow(content, "JPEG", limits)
    if colours in {"CMYK", "YCCK"}:  # the gray plane of these ignores the black ink
        return _pillow(content, "JPEG", limits)
    return _Decoded(gray, width, height, _jpeg_orientation(content))


def _scaled_gray(content: bytes, *, strict: bool) -> Gray:
    pixels: Gray = simplejpeg.decode_jpeg(content, "GRAY", min_height=HASH_SIDE, min_width=HASH_SIDE, strict=strict)
    return pixels[:, :, 0]


def _decodes(content: bytes) -> bool:
    try:
        _scaled_gray(content, strict=False)
    except ValueError:
        return False
    return True


def _jpeg_orientation(content: bytes) -> int:
    if b"Exif\0\0" not in content[:65536]:  # spares most web images a second header parse
        return 1
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            return _orientation(image)
    except Exception:  # noqa: BLE001 - as in _pillow; the pixels are known to be whole, only the label is odd
        return 1


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken EXIF raises a dozen types and says nothing of the pixels
        return 1
    return value if isinstance(value, int) else 1


def _pillow(content: bytes, image_format: str, limits: _Limits) -> _Decoded:
    whole = False
    try:
        with Image.open(io.BytesIO(content), formats=[image_format]) as image:
            limits.check(*image.size)
            image.load()
            decoded = _Decoded(_reduced(_to_gray(image)), *image.size, _orientation(image))
            whole = True
            _load_frames(image, limits.max_pixels)
    except ImageRefusedError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRefusedError("too-large", str(error)) from error
    except Exception as error:
        # Pillow's decoders raise whatever a broken file makes them trip over: OSError, SyntaxError,
        # ValueError, struct.error, KeyError, ZeroDivisionError, EOFError, MemoryError among them.
        reason = f"{type(error).__name__}: {error}"
        raise ImageRefusedError("damaged" if whole or "truncated" in str(error) else "unreadable", reason) from error
    return decoded


def _load_frames(image: Image.Image, max_pixels: int) -> None:
    """Decode the further frames, as many as fit in the pixel limit: nothing after the door reads them."""
    budget = max_pixels - image.width * image.height
    for number, frame in enumerate(ImageSequence.Iterator(image)):
        if number == 0:
            continue
        budget -= frame.width * frame.height
        if budget < 0:
            return
        frame.load()


def _to_gray(image: Image.Image) -> Image.Image:
    """Return the first frame as 8-bit gray: transparency over white, deep pixels brought to 0-255."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in {"I", "F"}:
        return Image.fromarray(_stretched(np.asarray(image, dtype=np.float64)))
    if image.mode == "LAB":  # Pillow converts it to nothing else; its first channel is the lightness
        return image.getchannel(0)
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        white = Image.new("RGBA", colour.size, "white")
        return Image.alpha_composite(white, colour).convert("L")
    return image.convert("L")


def _stretched(pixels: npt.NDArray[np.float64]) -> Gray:
    finite = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    return ((finite - low) * scale).astype(np.uint8)


def _reduced(gray: Image.Image) -> Gray:
    """Shrink by a whole factor while both sides keep HASH_SIDE pixels, as the JPEG decoder does."""
    factor = min(8, min(gray.size) // HASH_SIDE)
    return np.asarray(gray.reduce(factor) if factor > 1 else gray)
