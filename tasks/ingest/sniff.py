"""What the first bytes of a body say it is: the magic numbers of image formats, web pages, nothing.

Owns the list of formats that pass the door. Reads bytes; writes nothing.
"""

from __future__ import annotations

import re

from tasks.core.errors import ImageRefusedError

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"BM", "BMP"),
)
_MARKUP = re.compile(rb"<(!doctype|\?xml|!--|html|head|body|title|script|meta|div|p|h1|a|center)[\s>-]", re.IGNORECASE)
_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_JSON = re.compile(rb'(\{\s*["}]|\[\s*[\[\]{"\d])')
_WINDOW = 1024  # bytes looked at for markup; a declaration and a comment fit in it
_KNOWN = "JPEG, PNG, GIF, WebP, TIFF, BMP, AVIF or JPEG 2000"


def sniff(content: bytes | bytearray | memoryview) -> str:
    """Return Pillow's name of the image format that `content` starts like.

    The declared content type and the file name play no part: both are wrong often enough.

    Raises:
        ImageRefusedError: `empty`, `html` (pages, XML, JSON) or `not-an-image`.
    """
    if not content:
        raise ImageRefusedError("empty", "no bytes")
    start = bytes(content[:_WINDOW])
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp" and re.search(rb"avi[fs]", start[8:64]):
        return "AVIF"
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _SVG.search(head):
        raise ImageRefusedError("not-an-image", "an SVG drawing, not pixels")
    if _MARKUP.match(head) or _JSON.match(head):
        raise ImageRefusedError("html", f"a page, not an image: {_shown(head)}")
    raise ImageRefusedError("not-an-image", f"not a {_KNOWN} file: it starts with {_shown(start)}")


def _shown(content: bytes) -> str:
    return repr(content[:24])[1:]
