"""The catalogue of a photo site's behaviours, and the spoilt pictures some of them need.

Owns what each behaviour must end as in the ledger and in curation. Writes derived pictures where told to.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from tasks.core.files import write_atomic

KEPT = "kept"
_SMALL = 140  # pixels: seven tenths of it are still above any usual `min_side`


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
    "redirected": Kind("two redirects, then the picture", most=6),
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
    "truncated": Kind("half a JPEG with a right Content-Length", "damaged"),
    "page": Kind("an HTML page", "html"),
    "nothing": Kind("200 without a body", "empty"),
    "pixel": Kind("a GIF of one pixel", "too-small"),
    "private": Kind("a redirect to a private address", "blocked-address"),
    "loopback": Kind("a redirect to another port of this machine", "blocked-address"),
    "endless": Kind("a redirect to itself", "too-many-redirects"),
    "recoded": Kind("a picture of the class, compressed again", verdict="near-duplicate"),
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

# Behaviours that a file of this machine can have.
IN_FILES = ("truncated", "page", "nothing", "pixel", "recoded", "resized", "copied", "conflict")

KINDS = GOOD | EXTRA | BARRED

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Please sign in</h1></body></html>\n"


def truncated(picture: Path) -> bytes:
    """Return a baseline JPEG of `picture` that ends in the middle of its scan."""
    body = _jpeg(_loaded(picture), quality=90)
    start = body.rindex(b"\xff\xda")
    return body[: start + (len(body) - start) // 2]


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
    made = {"page": PAGE, "nothing": b"", "pixel": PIXEL}.get(kind)
    return picture.read_bytes() if made is None else made


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


_RECIPES: dict[str, Callable[[Path], bytes]] = {
    "truncated": truncated,
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
    target = target.with_name(target.name + ".jpg")
    return write_atomic(target, lambda out: out.write(spoil(picture)))


def _loaded(picture: Path) -> Image.Image:
    """Return the upright picture, gray stays gray, everything else becomes RGB."""
    with Image.open(picture) as image:
        upright = ImageOps.exif_transpose(image)
        return upright.convert("L" if upright.mode in {"L", "1", "I", "I;16"} else "RGB")


def _jpeg(image: Image.Image, *, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
