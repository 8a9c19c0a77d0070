from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from tasks.core.sheet import contact_sheet


def _picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (300, 200)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def _opened(sheet: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(sheet))
    assert image.format == "PNG"
    return image.convert("RGB")


def test_pictures_stand_in_reading_order_with_captions_below(tmp_path: Path) -> None:
    red, blue = _picture(tmp_path / "r.png", (255, 0, 0)), _picture(tmp_path / "b.jpg", (0, 0, 255))
    rows = [("red", red), ("пчела", blue), ("last", red)]
    sheet = _opened(contact_sheet(rows, columns=2, tile=64))
    wide, high = sheet.width // 2, sheet.height // 2
    assert sheet.getpixel((wide // 2, 36)) == (255, 0, 0)
    assert sheet.getpixel((wide + wide // 2, 36))[2] > 250
    assert sheet.getpixel((wide // 2, high + 36)) == (255, 0, 0)
    assert sheet.getpixel((wide + wide // 2, high + 36)) == (255, 255, 255)
    caption = sheet.crop((0, 70, wide, high)).convert("L")
    assert caption.getextrema()[0] < 128


def test_unreadable_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    good = _picture(tmp_path / "g.png", (0, 255, 0))
    rows = [("a", tmp_path / "broken.jpg"), ("b", tmp_path / "missing.png"), ("c", good)]
    assert contact_sheet(rows, columns=4) == contact_sheet([("c", good)], columns=4)


def test_a_sheet_without_pictures_says_so() -> None:
    assert _opened(contact_sheet([])).convert("L").getextrema()[0] < 128


def test_long_captions_stay_under_their_own_picture(tmp_path: Path) -> None:
    grey = _picture(tmp_path / "g.png", (128, 128, 128))
    rows = [("x" * 200, grey), ("", grey)]
    sheet = _opened(contact_sheet(rows, columns=2, tile=64))
    assert sheet.crop((sheet.width // 2, 70, sheet.width, sheet.height)).convert("L").getextrema() == (255, 255)


def test_transparency_shows_paper_and_sideways_photos_stand_upright(tmp_path: Path) -> None:
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(clear)
    assert _opened(contact_sheet([("", clear)], tile=64)).getpixel((36, 36)) == (255, 255, 255)
    lying = Image.new("RGB", (200, 100), (9, 9, 9))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "lying.jpg", exif=exif)
    sheet = _opened(contact_sheet([("", tmp_path / "lying.jpg")], tile=64))
    assert sheet.getpixel((36, 6))[0] < 40
    assert sheet.getpixel((6, 36)) == (255, 255, 255)
