"""The pictures inside a report: which words stand beside each, and the image itself as a small data address.

Reads the image store, the shown images only; writes nothing.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from PIL import Image

from tasks.core.thumbnails import thumbnail
from tasks.core.workspace import Workspace

# Raw bytes of all pictures together. In base64, with the words around them, a report stays below 8 MB.
BUDGET = 4_200_000
# Side of a picture in pixels, by how many of them there are at the most: a few may be larger.
_SIDES = ((300, 240), (800, 160))
_SMALL = 120
_QUALITIES = (70, 35)  # of 100; the second where the first takes too many bytes
_LONGEST = 500  # letters of an address: 1,500 of them stand on a page
_LAST_SIDE = 24  # pixels; what no quality makes small enough is shrunk, down to this


@dataclass(frozen=True)
class Tile:
    """A picture and its words."""

    sha256: str
    format: str | None
    alt: str
    """What stands in the picture's place for those who cannot see it."""
    caption: tuple[str, ...] = ()
    """Lines below it."""
    page: str | None = None
    """Where the image was found: an http(s) address."""
    kept: bool = False
    """It is in the data set, or stands for its cluster."""


def web_page(*addresses: str | None) -> str | None:
    """Return the first of `addresses` that a browser may be led to: absolute, http or https, not endless."""
    for address in addresses:
        if not address or len(address) > _LONGEST:
            continue
        try:
            parts = urlsplit(address)
        except ValueError:  # `http://[`
            continue
        if parts.scheme in {"http", "https"} and parts.netloc:
            return address
    return None


def draw(workspace: Workspace, tiles: Sequence[Tile]) -> dict[str, str]:
    """Return the data address of each tile's picture by SHA-256; an image that cannot be read is missing.

    Each image is decoded once, in threads; all tiles together take at most BUDGET bytes before base64.
    """
    wanted = sorted({(tile.sha256, tile.format) for tile in tiles if tile.format})
    side = next((side for count, side in _SIDES if len(tiles) <= count), _SMALL)
    limit = BUDGET // max(1, len(tiles))

    def drawn_small(image: tuple[str, str]) -> str | None:
        picture = thumbnail(workspace.image(*image), side)
        return None if picture is None else _data_address(_encoded(picture, limit))

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        drawn = list(threads.map(drawn_small, wanted))
    return {sha256: data for (sha256, _), data in zip(wanted, drawn, strict=True) if data}


def _encoded(picture: Image.Image, limit: int) -> bytes:
    """Return `picture` as WebP of at most `limit` bytes, as good as they allow."""
    data = _webp(picture, _QUALITIES[0])
    while len(data) > limit:
        data = _webp(picture, _QUALITIES[1])
        if len(data) <= limit or max(picture.size) <= _LAST_SIDE:
            break
        share = min(0.9, (limit / len(data)) ** 0.5)
        picture = picture.resize((max(1, int(picture.width * share)), max(1, int(picture.height * share))))
    return data


def _webp(picture: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=quality, method=2)  # method 4 takes twice the time for 4 % fewer bytes
    return stream.getvalue()


def _data_address(data: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
