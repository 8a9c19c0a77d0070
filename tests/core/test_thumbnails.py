from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tasks.core.thumbnails import spread, thumbnail


def test_the_choice_is_evenly_spaced_from_the_first_to_the_last() -> None:
    rows = pl.DataFrame({"n": range(11)})
    assert spread(rows, 3)["n"].to_list() == [0, 5, 10]
    assert spread(rows, 99).equals(rows)
    assert spread(rows, 1)["n"].to_list() == [0]
    assert spread(rows.clear(), 3).is_empty()


def test_an_image_is_shrunk_into_the_square_and_never_enlarged(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (9, 99, 9)).save(tmp_path / "a.jpg")
    Image.new("L", (20, 10), 7).save(tmp_path / "b.png")
    large, small = thumbnail(tmp_path / "a.jpg", 60), thumbnail(tmp_path / "b.png", 60)
    assert large is not None
    assert small is not None
    assert (large.size, large.mode, small.size, small.mode) == ((60, 40), "RGB", (20, 10), "RGB")


def _exif_that_ends_early() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    return stream.getvalue()[:-40]


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff no image", b"GIF89a", b"<html>", _exif_that_ends_early()[:120]], ids=range(5)
)
def test_a_file_that_cannot_be_read_is_no_picture(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    assert thumbnail(path, 60) is None
    assert thumbnail(tmp_path / "missing.jpg", 60) is None
    assert thumbnail(tmp_path, 60) is None
