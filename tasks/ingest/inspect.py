"""One look at an image file: is it one, is it whole, how large is it, what are its perceptual hashes.

Owns the verdict and the single decode behind it. Reads the file's bytes; writes nothing.
"""

from __future__ import annotations

import importlib.metadata
import io
import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageSequence

from tasks.core.errors import ImageRefusedError
from tasks.ingest.hashes import METHOD, Pixels, perceptual_hashes
from tasks.ingest.inspectors import inspectors
from tasks.ingest.pixels import Gray, orientation, reduced, to_gray, upright, upright_size
from tasks.ingest.sniff import sniff

Bytes = bytes | bytearray | memoryview
Content = Bytes | Path

HASH_SIDE = 128  # pixels; decoding no smaller than this changes a phash by 4 bits at the most (p99: 2)
LONG_SIDE = 8192  # pixels; drawn-out images, whose short side allows no factor, would be kept whole beyond
_SMALL = 1 << 20  # pixels of a reduced image, of which a copy as floats is worth its 8 MB
MAX_FRAMES = 256  # decoded of one image; 20 MB of GIF can hold a million frames of one pixel
VERSIONS = " ".join(
    [*(f"{name}={importlib.metadata.version(name)}" for name in ("pillow", "simplejpeg")), f"hashes={METHOD}"]
)

# Complaints of libjpeg about files whose pixels are whole. Extraneous bytes count as harmless only
# before a header marker (APPn, COM, DQT, SOF, DRI): before EOI or RSTn they are a hole in the scan.
_BENIGN = re.compile(
    r"bad ICC marker|Invalid SOS parameters for sequential JPEG|Unknown Adobe color transform code"
    r"|extraneous bytes before marker 0x(e[0-9a-f]|fe|db|c[0-2]|dd)$"
)

_STREAM = re.compile(r" <_io\.BytesIO[^>]*>")  # in Pillow's words, with an address in memory that is never the same
_MARKER, _APP1, _SCAN = 0xFF, 0xE1, 0xDA  # of JPEG segments: what each starts with, EXIF, the pixels


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
    turn: int
    """EXIF orientation, 1 to 8."""


def inspect(data: Content, *, min_side: int, max_pixels: int, min_contrast: float = 0.0) -> Inspected:
    """Decode an image once and return its size and hashes.

    JPEG goes through one strict, gray, scaled libjpeg-turbo decode, which reports holes that Pillow
    skips over; every other format through Pillow, all frames. The hashes are those of `hashes`. simplejpeg,
    Pillow and NumPy let go of the interpreter's lock in all that takes time, so threads do.

    Args:
        data: the bytes of the file, or its path.
        min_side: shorter side below which the image is refused, in pixels.
        max_pixels: width x height above which it is refused undecoded.
        min_contrast: standard deviation of the gray pixels (0 to 127.5) below which it is refused.

    Raises:
        ImageRefusedError: `empty`, `html`, `not-an-image`, `too-large`, `too-small`, `damaged`, `unreadable` or
            `flat`; in this order, where several hold.
        OSError: the path cannot be read.
    """
    content = data.read_bytes() if isinstance(data, Path) else data
    image_format = sniff(content)
    limits = _Limits(min_side, max_pixels)
    decoded = _jpeg(content, limits) if image_format == "JPEG" else _pillow(content, image_format, limits)
    gray = decoded.gray
    if decoded.turn != 1:
        gray = np.asarray(upright(Image.fromarray(gray), decoded.turn))
    pixels = gray.astype(np.float64) if gray.size <= _SMALL else gray  # once, for both that follow
    contrast = _contrast(pixels)
    if contrast < min_contrast:
        raise ImageRefusedError("flat", f"a contrast of {contrast:.2f}, at least {min_contrast:g} is asked for")
    width, height = upright_size((decoded.width, decoded.height), decoded.turn)
    phash, verify_hash = perceptual_hashes(pixels)
    return Inspected(image_format, width, height, contrast, phash, verify_hash)


def _contrast(pixels: Pixels) -> float:
    """Return the standard deviation: of whole numbers, so both sums are exact, in any order and on any machine."""
    if pixels.dtype == np.float64:
        total, squares = int(pixels.sum()), int(np.einsum("ij,ij->", pixels, pixels))
    else:  # eight times the memory would be too much
        counts, levels = np.array(Image.fromarray(pixels).histogram()), np.arange(256)
        total, squares = int(counts @ levels), int(counts @ levels**2)
    size = int(pixels.size)
    return math.sqrt(size * squares - total * total) / size


def _jpeg(content: Bytes, limits: _Limits) -> _Decoded:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:  # unusual sampling factors, bad ICC marker: Pillow has the last word
        return _pillow(content, "JPEG", limits)
    limits.check(width, height)
    try:
        with inspectors().room(width * height):
            gray = _scaled_gray(content, strict=True)
    except ValueError as error:
        message = str(error)
        if not _BENIGN.search(message) and _decodes(content):
            raise ImageRefusedError("damaged", message) from error
        return _pillow(content, "JPEG", limits)
    if colours in {"CMYK", "YCCK"}:  # the gray plane of these ignores the black ink
        return _pillow(content, "JPEG", limits)
    return _Decoded(gray, width, height, _jpeg_orientation(content))


def _scaled_gray(content: Bytes, *, strict: bool) -> Gray:
    pixels: Gray = simplejpeg.decode_jpeg(content, "GRAY", min_height=HASH_SIDE, min_width=HASH_SIDE, strict=strict)
    return pixels[:, :, 0]


def _decodes(content: Bytes) -> bool:
    try:
        _scaled_gray(content, strict=False)
    except ValueError:
        return False
    return True


def _jpeg_orientation(content: Bytes) -> int:
    if not _may_have_exif(content):  # spares most web images a second header parse
        return 1
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            return orientation(image)
    except Exception:  # noqa: BLE001 - as in _pillow; the pixels are known to be whole, only the label is odd
        return 1


def _may_have_exif(content: Bytes) -> bool:
    """Walk the segments before the pixels; where one is out of place, Pillow is asked."""
    at = 2
    while at + 10 <= len(content) and content[at] == _MARKER:
        if content[at + 1] == _SCAN:
            return False
        if content[at + 1] == _APP1 and content[at + 4 : at + 10] == b"Exif\0\0":
            return True
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return True


def _pillow(content: Bytes, image_format: str, limits: _Limits) -> _Decoded:
    whole = False
    try:
        with Image.open(io.BytesIO(content), formats=[image_format]) as image:
            limits.check(*image.size)
            with inspectors().room(image.width * image.height):
                image.load()
                decoded = _Decoded(_gray(image), *image.size, orientation(image))
                whole = True
                _load_frames(image, limits.max_pixels)
                image.close()  # gives its memory back
    except ImageRefusedError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRefusedError("too-large", str(error)) from error
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them trip over, a dozen types
        reason = _STREAM.sub("", f"{type(error).__name__}: {error}")
        raise ImageRefusedError("damaged" if whole or "truncated" in str(error) else "unreadable", reason) from error
    return decoded


def _load_frames(image: Image.Image, max_pixels: int) -> None:
    """Decode the further frames while the pixel limit and MAX_FRAMES allow: nothing after the door reads them."""
    budget = max_pixels - image.width * image.height
    for frame in itertools.islice(ImageSequence.Iterator(image), 1, MAX_FRAMES):
        budget -= frame.width * frame.height
        if budget < 0:
            return
        frame.load()


def _gray(image: Image.Image) -> Gray:
    """Shrink by a whole factor while both sides keep HASH_SIDE pixels, as the JPEG decoder does; bound long sides."""
    factor = max(1, min(8, min(image.size) // HASH_SIDE))
    block = (max(factor, image.width // LONG_SIDE), max(factor, image.height // LONG_SIDE))
    return np.asarray(reduced(image, block, to_gray))
