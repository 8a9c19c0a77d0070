"""The catalogue of a photo site's behaviours, and the spoilt pictures some of them need.

Owns what each behaviour must end as in the ledger and in curation. Writes derived pictures where told to.
"""

from __future__ import annotations

import functools
import gzip
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from pydantic import ByteSize, TypeAdapter

from tasks.core.files import write_atomic

KEPT = "kept"
_SMALL = 140  # pixels: seven tenths of it are still above any usual `min_side`
_HOLE = 4096  # bytes zeroed: a page of a disk or a block of a file system that never was written
BOMB = 64_000_000  # bytes that the gzip bomb unpacks to; it is a thousandth of that on the wire
FLAT_SIDES = (512, 384)  # pixels of a placeholder: as large as a photo


@dataclass(frozen=True)
class Kind:
    """How one kind of address behaves."""

    about: str
    expected: str | None = KEPT  # slug in the ledger; None = must never be asked for
    verdict: str | None = None  # what curation must say
    most: int | None = None  # cap on how many are planted: some cost a visitor seconds each


# Good photos, each a real one of its class; all but `photo` try a visitor's patience.
GOOD: dict[str, Kind] = {
    "photo": Kind("the picture, at once"),
    "slow": Kind("the picture, in two halves with pauses", most=6),
    "busy-once": Kind("429 with Retry-After: 1 the first time, then the picture", most=6),
    "busy-dated": Kind("429 with Retry-After as a date the first time, then the picture", most=2),
    "redirected": Kind("two redirects, then the picture", most=6),
    "gzipped": Kind("the picture with Content-Encoding: gzip, though nobody asked for it", most=6),
    "resumable": Kind("half of the picture the first time; ranges of it are served", most=4),
}

# Extra addresses: no real photo is lost to them.
EXTRA: dict[str, Kind] = {
    "missing": Kind("404", "not-found"),
    "gone": Kind("410", "not-found"),
    "forbidden": Kind("403", "forbidden"),
    "throttled": Kind("429 with Retry-After: 1, every time", "rate-limited", most=4),
    "unavailable": Kind("503, every time", "server-error", most=4),
    "hanging": Kind("no answer at all", "timeout", most=4),
    "cut-short": Kind("the connection ends before Content-Length", "incomplete", most=4),
    "reset": Kind("the connection is reset in the middle of the body", "incomplete", most=2),
    "overstated": Kind("the whole picture, with a Content-Length beyond it", "incomplete", most=2),
    "understated": Kind("the picture, with half its Content-Length", "damaged"),
    "truncated": Kind("half a JPEG with a right Content-Length", "damaged"),
    "truncated-90": Kind("nine tenths of a JPEG", "damaged"),
    "truncated-99": Kind("a JPEG without its last hundredth", "damaged"),
    "zeroed": Kind("a JPEG with 4 KB of zeros in the middle", "damaged"),
    "page": Kind("an HTML page", "html"),
    "nothing": Kind("200 without a body", "empty"),
    "pixel": Kind("a GIF of one pixel", "too-small"),
    "flat": Kind("a GIF of one colour, as large as a photo", "flat"),
    "gzip-bomb": Kind("64 KB with Content-Encoding: gzip that unpack to 64 MB", "too-large"),
    "pixel-bomb": Kind("a PNG of 1 KB that declares 30,000 x 30,000 pixels", "too-large"),
    "tagged": Kind("the picture, with X-Robots-Tag: noai, noimageai", "opted-out"),
    "disallowed": Kind("a picture that robots.txt keeps from everybody", "opted-out"),
    "private": Kind("a redirect to a private address", "blocked-address"),
    "metadata": Kind("a redirect to a cloud's metadata service", "blocked-address"),
    "loopback": Kind("a redirect to another port of this machine", "blocked-address"),
    "endless": Kind("a redirect to itself", "too-many-redirects"),
    "recoded": Kind("a picture of the class, compressed again", verdict="near-duplicate"),
    "misnamed": Kind("a PNG of a picture of the class, named .jpg", verdict="near-duplicate"),
    "resized": Kind("a picture of the class at another size", verdict="near-duplicate"),
    "copied": Kind("the bytes of a picture of the class", verdict="duplicate-bytes"),
    "conflict": Kind("one picture under two classes", verdict="label-conflict"),
}

# Photos that the recipe's filters must leave out.
BARRED: dict[str, Kind] = {
    "unlicensed": Kind("a photo without an accepted licence", None),
    "low-grade": Kind("a photo of an observation without an accepted quality grade", None),
    "elsewhere": Kind("a row without an accepted value in a column of `where:`", None),
    "unlabelled": Kind("a row of no class", None),
    "unwanted": Kind("a row of a class that the recipe drops", None),
}

# Behaviours that cost a visitor minutes or hundreds of megabytes, or are much like another: served where a plan has
# them, never planted.
SERVED: dict[str, Kind] = {
    "dripping": Kind("a byte every tenth of a second", "timeout"),
    "vast": Kind("200 MB, as its Content-Length says", "too-large"),
    "vast-unannounced": Kind("200 MB without a Content-Length", "too-large"),
    "understated-at-once": Kind("the picture, with half its Content-Length, in one piece with it", "unreachable"),
    "throttled-dated": Kind("429 with Retry-After as a date, every time", "rate-limited"),
}

# Behaviours that a file of this machine can have.
IN_FILES = ("truncated", "truncated-90", "truncated-99", "zeroed", "page", "nothing", "pixel", "flat", "pixel-bomb",
            "recoded", "misnamed", "resized", "copied", "conflict")  # fmt: skip

# Served as they are, whatever size is asked for: there is nothing to shrink, or their fault would be lost with it.
UNSCALED = ("truncated", "truncated-90", "truncated-99", "zeroed")

SUFFIXES = {"pixel": ".gif", "flat": ".gif", "pixel-bomb": ".png", "misnamed": ".jpg"}
"""Endings of addresses that do not follow from the picture's file."""

KINDS = GOOD | EXTRA | BARRED | SERVED

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Please sign in</h1></body></html>\n"


def met(rules: dict[str, Any], kind: str) -> bool:
    """Whether a visitor with `rules` (an `ingest:` block, complete) ends as `kind`, one of EXTRA, says it must."""
    redirects = rules["max_redirects"] > 0
    possible = {
        "private": redirects,
        "loopback": redirects,
        "metadata": redirects,
        "flat": rules["min_contrast"] > 0 and rules["min_side"] <= min(FLAT_SIDES),
        "gzip-bomb": _BYTES.validate_python(rules["max_bytes"]) < BOMB,
        "tagged": rules["robots_tag"],
        "disallowed": rules["robots_txt"],
    }
    return bool(possible.get(kind, True))


def truncated(picture: Path, share: float = 0.5) -> bytes:
    """Return a baseline JPEG of `picture` of whose scan only a share is there."""
    body = _jpeg(_loaded(picture), quality=90)
    start = body.rindex(b"\xff\xda")
    return body[: start + int((len(body) - start) * share)]


def zeroed(picture: Path) -> bytes:
    """Return a baseline JPEG of `picture` with zeros in the middle of its scan, enlarged until they leave room.

    Raises:
        ValueError: there is too little to see in it.
    """
    image = _loaded(picture)
    for _ in range(4):
        body = _jpeg(image, quality=90)
        start = body.rindex(b"\xff\xda")
        if len(body) - start > 3 * _HOLE:
            first = start + (len(body) - start - _HOLE) // 2
            return body[:first] + bytes(_HOLE) + body[first + _HOLE :]
        image = image.resize((image.width * 2, image.height * 2))
    raise ValueError(f"{picture} compresses too well to have a hole of {_HOLE} bytes")


def misnamed(picture: Path) -> bytes:
    """Return `picture` as a PNG."""
    stream = io.BytesIO()
    _loaded(picture).save(stream, "PNG")
    return stream.getvalue()


@functools.cache
def gzip_bomb() -> bytes:
    """Return what unpacks to BOMB bytes."""
    return gzip.compress(bytes(BOMB), mtime=0)


@functools.cache
def pixel_bomb() -> bytes:
    """Return a PNG whose header declares 30,000 x 30,000 gray pixels and whose data is whole for a few rows."""
    side = 30_000
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(16 * (side + 1)), 9)
    parts = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


@functools.cache
def flat() -> bytes:
    """Return a GIF of one colour, as sites send in the place of a photo that is gone."""
    stream = io.BytesIO()
    Image.new("P", FLAT_SIDES, 0).save(stream, "GIF")
    return stream.getvalue()


def recoded(picture: Path) -> bytes:
    """Return `picture` as a JPEG of lower quality: other bytes, the same look."""
    return _jpeg(_loaded(picture), quality=72)


def resized(picture: Path) -> bytes:
    """Return `picture` at seven tenths of its size, or at fourteen tenths where that would be a thumbnail."""
    image = _loaded(picture)
    scale = 0.7 if min(image.size) >= _SMALL else 1.4
    size = (round(image.width * scale), round(image.height * scale))
    return _jpeg(image.resize(size, Image.Resampling.LANCZOS), quality=88)


def mirrored(picture: Path) -> bytes:
    """Return `picture` with left and right swapped: a new picture to a plain perceptual hash."""
    return _jpeg(ImageOps.mirror(_loaded(picture)), quality=90)


def body_of(kind: str, picture: Path) -> bytes:
    """Return the content of a file of `kind` made from `picture`."""
    made = _CONSTANT.get(kind)
    return picture.read_bytes() if made is None else made()


def shrunk(body: bytes, side: int, *, square: bool) -> bytes:
    """Return the picture `body` within `side` pixels, in its own format; never enlarged, cropped if `square`."""
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        kind = image.format or "JPEG"
        small = ImageOps.fit(image, (side, side)) if square else image
        small.thumbnail((side, side))
        stream = io.BytesIO()
        small.save(stream, kind)
    return stream.getvalue()


_BYTES = TypeAdapter(ByteSize)
_CONSTANT: dict[str, Callable[[], bytes]] = {
    "page": lambda: PAGE,
    "nothing": bytes,
    "pixel": lambda: PIXEL,
    "flat": flat,
    "pixel-bomb": pixel_bomb,
}
_RECIPES: dict[str, Callable[[Path], bytes]] = {
    "truncated": truncated,
    "truncated-90": partial(truncated, share=0.9),
    "truncated-99": partial(truncated, share=0.99),
    "zeroed": zeroed,
    "misnamed": misnamed,
    "recoded": recoded,
    "resized": resized,
    "conflict": mirrored,
    **dict.fromkeys(BARRED, mirrored),
}


def derived(kind: str, picture: Path, target: Path) -> Path:
    """Return the file that an address of `kind` made from `picture` serves, writing `target` (no suffix) if needed."""
    spoil = _RECIPES.get(kind)
    if spoil is None:
        return picture
    target = target.with_name(target.name + (".png" if kind == "misnamed" else ".jpg"))
    body = spoil(picture)  # before the file is opened: an OSError is of the picture here, of the disk there
    return write_atomic(target, lambda out: out.write(body))


def _loaded(picture: Path) -> Image.Image:
    """Return the upright picture, gray stays gray, everything else becomes RGB."""
    with Image.open(picture) as image:
        upright = ImageOps.exif_transpose(image)
        return upright.convert("L" if upright.mode in {"L", "1", "I", "I;16"} else "RGB")


def _jpeg(image: Image.Image, *, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
