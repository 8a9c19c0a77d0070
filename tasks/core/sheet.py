"""A contact sheet: many pictures in one, each with a line of text under it.

Owns the drawing; reads the image files it is given, returns encoded bytes and writes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from tasks.core.thumbnails import PAPER, thumbnail

_MARGIN = 4  # pixels around each picture
_TEXT = 12  # pixels of type; below 10 it cannot be read on a screen
_LINE = _TEXT + 4  # pixels from one line of text to the next
_INK = (40, 40, 40)
# DejaVu, which Matplotlib brings along, has Latin, Greek, Cyrillic and Arabic letters; Pillow's own font only Latin.
_FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def contact_sheet(rows: Sequence[tuple[str, Path]], *, columns: int = 8, tile: int = 128) -> bytes:
    """Draw pictures in reading order, each shrunk into a square with its caption below, a line or more.

    Args:
        rows: caption and image file of each picture; a file that cannot be read is left out.
        columns: pictures side by side.
        tile: side of a picture's square, in pixels.

    Returns:
        A PNG. Without any readable picture it says so.
    """
    tiles = [(caption, picture) for caption, path in rows if (picture := thumbnail(path, tile))]
    columns = max(1, min(columns, len(tiles)))
    lines = max((caption.count("\n") + 1 for caption, _ in tiles), default=1)
    cell = (tile + 2 * _MARGIN, tile + 3 * _MARGIN + _TEXT + (lines - 1) * _LINE)
    sheet = Image.new("RGB", (columns * cell[0], max(1, -(-len(tiles) // columns)) * cell[1]), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.truetype(str(_FONT), _TEXT)
    if not tiles:
        draw.text((_MARGIN, _MARGIN), "no readable image", _INK, font)
    for place, (caption, picture) in enumerate(tiles):
        left, top = place % columns * cell[0] + _MARGIN, place // columns * cell[1] + _MARGIN
        sheet.paste(picture, (left + (tile - picture.width) // 2, top + (tile - picture.height) // 2))
        draw.text((left, top + tile + _MARGIN // 2), _fitted(caption, tile, font), _INK, font, spacing=2)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _fitted(caption: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """Shorten each line of `caption` with an ellipsis until it is at most `width` pixels long."""
    return "\n".join(_fitted_line(line, width, font) for line in caption.splitlines())


def _fitted_line(caption: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(caption) <= width:
        return caption
    while caption and font.getlength(caption + "…") > width:
        caption = caption[:-1]
    return caption.rstrip() + "…"
