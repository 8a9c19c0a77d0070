from __future__ import annotations

import csv
import io
import time
import warnings
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from tasks.core.errors import ImageRefusedError
from tasks.ingest.inspect import Inspected, inspect, quiet_pillow

from .conftest import picture


def look(data: bytes | Path, *, min_side: int = 1, max_pixels: int = 100_000_000) -> Inspected:
    return inspect(data, min_side=min_side, max_pixels=max_pixels)


def refusal(data: bytes | Path, *, min_side: int = 1, max_pixels: int = 100_000_000) -> str:
    with pytest.raises(ImageRefusedError) as caught:
        look(data, min_side=min_side, max_pixels=max_pixels)
    return caught.value.outcome


def saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_every_format_that_passes_the_door_is_named_and_measured(image_format: str) -> None:
    seen = look(saved(opened(picture(side=200)).resize((200, 150)), image_format))
    assert (seen.format, seen.width, seen.height) == (image_format, 200, 150)
    assert seen.contrast > 10


def test_hashes_are_imagehashs_own_on_the_same_gray_pixels() -> None:
    gray = opened(picture(3, side=150)).convert("L")
    seen = look(saved(gray, "PNG"))
    assert f"{seen.phash:016x}" == str(imagehash.phash(gray))
    assert seen.verify_hash.hex() == str(imagehash.phash(gray, hash_size=16))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_same_picture_has_nearly_the_same_hash_in_every_format_and_size(image_format: str) -> None:
    whole = opened(picture(5, side=900))
    reference = look(saved(whole, "PNG")).phash
    other = look(saved(whole.resize((300, 300)), image_format)).phash
    assert (reference ^ other).bit_count() <= 4
    assert (reference ^ look(picture(6)).phash).bit_count() > 12


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_to_size_and_hash(image_format: str) -> None:
    upright = opened(picture(7, side=200)).resize((200, 150))
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    seen = look(saved(lying, image_format, exif=exif, quality=95))
    assert (seen.width, seen.height) == (200, 150)
    assert (seen.phash ^ look(saved(upright, "PNG")).phash).bit_count() <= 4


def test_flat_pictures_have_next_to_no_contrast() -> None:
    assert look(saved(Image.new("RGB", (64, 64), "red"), "PNG")).contrast == pytest.approx(0)


def test_transparency_is_white_as_in_the_flattened_copy() -> None:
    drawing = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    drawing.paste((0, 0, 0, 255), (20, 40, 100, 120))
    flat = Image.new("RGB", (160, 160), "white")
    flat.paste((0, 0, 0), (20, 40, 100, 120))
    assert look(saved(drawing, "PNG")).phash == look(saved(flat, "PNG")).phash


def test_sixteen_bit_pictures_are_not_clipped_to_white() -> None:
    ramp = np.linspace(0, 65535, 160 * 160).astype(np.uint16).reshape(160, 160)
    assert look(saved(Image.fromarray(ramp), "PNG")).contrast > 60


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"", "empty"),
        (b"<!doctype html><p>404", "html"),
        (b"\xef\xbb\xbf \n<HTML>", "html"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "html"),
        (b'{"error": "gone"}', "html"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">', "not-an-image"),
        (b"%PDF-1.4", "not-an-image"),
        (b"Not found", "not-an-image"),
        (b"\x89PNG\r\n\x1a\nrubbish", "unreadable"),
        (b"\xff\xd8\xff\xe0 rubbish", "unreadable"),
        (b"GIF89a", "unreadable"),
    ],
)
def test_what_is_no_picture_says_what_it_is(data: bytes, outcome: str) -> None:
    assert refusal(data) == outcome


def test_limits_are_checked_before_any_pixel_is_decoded() -> None:
    for image_format in ("JPEG", "PNG"):
        cut = picture(side=100, image_format=image_format)[:700]  # no decoder would accept it
        assert refusal(cut, min_side=101) == "too-small"
        assert refusal(cut, max_pixels=9999) == "too-large"


def test_a_decompression_bomb_is_too_large() -> None:
    bomb = bytearray(saved(Image.new("1", (10, 10)), "BMP"))
    bomb[18:26] = (60_000).to_bytes(4, "little") * 2
    assert refusal(bytes(bomb), max_pixels=10**12) == "too-large"


def holed(data: bytes, start: int, length: int) -> bytes:
    return data[:start] + bytes(length) + data[start + length :]


def test_jpegs_with_holes_that_pillow_skips_over_are_damaged() -> None:
    body = picture(side=900)
    for broken in (body[: len(body) * 9 // 10], holed(body, len(body) // 2, 1000), body[:5000] + body[6000:]):
        assert refusal(broken) == "damaged"
    with opened(holed(body, len(body) // 2, 1000)) as image:
        image.load()  # Pillow sees nothing


def test_a_truncated_png_is_damaged() -> None:
    body = picture(side=300, image_format="PNG")
    assert refusal(body[: len(body) // 2]) == "damaged"


def test_a_broken_later_frame_is_damaged() -> None:
    frames = [opened(picture(seed, side=200)).convert("P") for seed in range(3)]
    body = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert look(body).format == "GIF"
    assert refusal(body[: len(body) * 5 // 6]) == "damaged"


def test_harmless_oddities_of_jpegs_stay_accepted() -> None:
    body = picture(1)
    first = 4 + int.from_bytes(body[4:6])  # where the second header segment starts
    reference = look(body)
    for odd in (
        body + b"trailing junk" * 8,
        body[:first] + b"\x01\x02" + body[first:],
        body[:first] + b"\xff\x00" + body[first:],
    ):
        seen = look(odd)
        assert (seen.width, seen.height) == (reference.width, reference.height)
        assert (seen.phash ^ reference.phash).bit_count() <= 4
    assert look(body[:2] + b"\xff\xe1\x00\x10Exif\0\0rubbish!" + body[2:]) == reference  # broken EXIF


def test_cmyk_jpegs_are_read_with_their_black() -> None:
    ink = Image.new("CMYK", (160, 160), (0, 0, 0, 0))
    ink.paste((0, 0, 0, 255), (0, 0, 80, 160))
    assert look(saved(ink, "JPEG")).contrast > 100


def test_pillows_remarks_do_not_turn_into_refusals() -> None:
    body = saved(Image.new("P", (64, 64)), "PNG", transparency=b"\x00\x80")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet_pillow():
            assert look(body).format == "PNG"


@pytest.mark.real
def test_the_verdict_on_362_odd_files_is_pillows_or_stricter(real_data: Path) -> None:
    folder = real_data / "corrupt"
    with (folder / "labels_A.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 362
    outcomes: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for row in rows:
        start = time.perf_counter()
        with quiet_pillow():
            try:
                look(folder / row["file"])
                outcome = "kept"
            except ImageRefusedError as error:
                outcome = error.outcome
        assert time.perf_counter() - start < 2, row["file"]
        outcomes[row["pillow_load"] == "ok"].append((row["file"], outcome))
    assert [name for name, outcome in outcomes[False] if outcome == "kept"] == []
    assert [name for name, outcome in outcomes[True] if outcome != "kept"] == []
    assert len(outcomes[True]) == 318
    assert any(name.endswith("icc-after-SOF.jpg") for name, _ in outcomes[True])


@pytest.mark.real
def test_no_real_photo_is_called_damaged(real_data: Path) -> None:
    files = sorted(
        path for path in (real_data / "photos").rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"}
    )[::25]
    assert len(files) > 100
    for path in files:
        assert look(path).phash.bit_length() <= 64, path


@pytest.mark.real
def test_every_hole_in_real_photos_is_seen(real_data: Path) -> None:
    files = sorted((real_data / "photos" / "bees-hornets").rglob("*.jpg"))[::30][:20]
    assert len(files) == 20
    for path in files:
        body = path.read_bytes()
        middle = len(body) // 2
        for broken in (body[:middle], body[:-9], holed(body, middle, 4096), body[:middle] + body[middle + 1024 :]):
            assert refusal(broken) in {"damaged", "unreadable"}, path
