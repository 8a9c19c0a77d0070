from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tasks.core.errors import ImageRefusedError
from tasks.ingest.inspect import inspect
from tasks.ingest.shrink import Shrunk, shrunk

from .conftest import picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def small(data: bytes | bytearray | memoryview | Path, *, max_side: int = 200, quality: int = 92) -> Shrunk:
    found = shrunk(data, max_side=max_side, quality=quality)
    assert found is not None
    with opened(found.content) as image:
        assert (image.format, image.size) == (found.format, (found.width, found.height))
    return found


def photo(side: int = 1200) -> Image.Image:
    return opened(picture(3, side=side)).convert("RGB")


def test_small_enough_images_are_left_alone() -> None:
    assert shrunk(picture(side=200), max_side=200, quality=92) is None
    assert shrunk(saved(Image.new("RGBA", (10, 199)), "PNG"), max_side=200, quality=92) is None


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_every_format_becomes_a_jpeg_with_the_same_picture(image_format: str) -> None:
    body = saved(photo(600).resize((600, 450)), image_format)
    found = small(body)
    assert (found.format, found.width, found.height) == ("JPEG", 200, 150)
    seen = inspect(found.content, min_side=1, max_pixels=10**8)
    assert (seen.phash ^ inspect(body, min_side=1, max_pixels=10**8).phash).bit_count() <= 4


@pytest.mark.parametrize(("max_side", "decibels"), [(250, 50), (200, 43)])
def test_the_decoders_draft_costs_no_visible_quality(max_side: int, decibels: float) -> None:
    """Detail as fine as the result can show: whole pixels for the first size, half the pixels for the second."""
    cells = np.random.default_rng(0).integers(60, 196, (max_side, max_side), dtype=np.uint8)
    body = saved(Image.fromarray(cells).resize((1200, 1200), Image.Resampling.BICUBIC), "JPEG", quality=95)
    exact = np.asarray(opened(body).resize((max_side, max_side), Image.Resampling.LANCZOS), float)
    found = np.asarray(opened(small(body, max_side=max_side, quality=100).content), float)
    assert 10 * np.log10(255**2 / np.mean((found - exact) ** 2)) > decibels


def test_exif_orientation_is_applied_to_the_pixels_and_then_gone() -> None:
    upright = photo(400).resize((400, 300))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = small(saved(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif))
    assert (found.width, found.height) == (200, 150)
    assert not opened(found.content).getexif()
    wanted = np.asarray(upright.resize((200, 150), Image.Resampling.LANCZOS), float)
    assert np.abs(np.asarray(opened(found.content), float) - wanted).mean() < 4


def test_the_icc_profile_is_kept_where_it_still_fits() -> None:
    assert opened(small(saved(photo(), "JPEG", icc_profile=SRGB)).content).info["icc_profile"] == SRGB
    assert opened(small(saved(photo().convert("L"), "JPEG", icc_profile=SRGB)).content).info.get("icc_profile") is None
    ink = saved(photo().convert("CMYK"), "JPEG", icc_profile=SRGB[:16] + b"CMYK" + SRGB[20:])
    assert opened(small(ink).content).info.get("icc_profile") is None
    assert opened(small(ink).content).mode == "RGB"


def test_transparency_stays_and_opaque_alpha_does_not() -> None:
    hole = photo(400).convert("RGBA")
    hole.paste((0, 0, 0, 0), (0, 0, 200, 400))
    found = small(saved(hole, "PNG"))
    assert found.format == "PNG"
    assert opened(found.content).getchannel("A").getextrema() == (0, 255)
    assert small(saved(photo(400).convert("RGBA"), "PNG")).format == "JPEG"
    palette = photo(400).convert("P")
    assert small(saved(palette, "PNG", transparency=palette.getpixel((0, 0)))).format == "PNG"
    assert opened(small(saved(hole.convert("LA"), "PNG")).content).mode == "LA"


def test_invisible_colours_do_not_bleed_into_the_rim() -> None:
    disc = Image.new("RGBA", (400, 400), (255, 0, 0, 0))  # red where nothing is seen
    disc.paste((0, 0, 255, 255), (100, 100, 300, 300))
    pixels = np.asarray(opened(small(saved(disc, "PNG")).content))
    assert pixels[pixels[..., 3] > 128][:, 0].max() < 30


def test_deep_and_odd_modes_become_eight_bits() -> None:
    ramp = np.linspace(0, 65535, 400 * 400).astype(np.uint16).reshape(400, 400)
    found = opened(small(saved(Image.fromarray(ramp), "PNG")).content)
    assert found.mode == "L"
    assert found.getextrema()[1] > 250
    assert opened(small(saved(photo(400).convert("1"), "PNG")).content).mode == "L"
    assert opened(small(saved(Image.fromarray(np.eye(400, dtype=np.float32)), "TIFF")).content).mode == "L"


def test_the_first_of_several_frames_counts() -> None:
    frames = [opened(picture(seed, side=300)).convert("P") for seed in range(3)]
    found = small(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    first = inspect(saved(frames[0].convert("RGB"), "PNG"), min_side=1, max_pixels=10**8)
    assert (inspect(found.content, min_side=1, max_pixels=10**8).phash ^ first.phash).bit_count() <= 4


def test_a_line_keeps_a_pixel_of_height() -> None:
    found = small(saved(Image.new("L", (2000, 3)), "PNG"))
    assert (found.width, found.height) == (200, 1)


def test_bytes_are_the_same_every_time_and_from_every_kind_of_input(tmp_path: Path) -> None:
    body = saved(photo(), "JPEG", exif=b"Exif\0\0", comment=b"a comment")
    path = tmp_path / "a"
    path.write_bytes(body)
    assert len({small(data).content for data in (body, body, bytearray(body), memoryview(body), path)}) == 1
    assert b"a comment" not in small(body).content


def test_quality_is_obeyed() -> None:
    body = saved(photo(), "PNG")
    assert len(small(body, quality=95).content) > 1.3 * len(small(body, quality=60).content)


def test_what_cannot_be_decoded_is_refused() -> None:
    body = saved(photo(), "PNG")
    with pytest.raises(ImageRefusedError) as caught:
        shrunk(body[: len(body) // 2], max_side=200, quality=92)
    assert caught.value.outcome == "unreadable"


@pytest.mark.real
def test_every_odd_file_that_passes_the_door_can_be_shrunk(real_data: Path) -> None:
    done = 0
    for path in sorted((real_data / "corrupt").rglob("*")):
        try:
            seen = inspect(path, min_side=1, max_pixels=10**8) if path.is_file() else None
        except ImageRefusedError:
            continue
        if seen is not None and max(seen.width, seen.height) > 24:
            found = small(path, max_side=24)
            assert max(found.width, found.height) == 24, path
            done += 1
    assert done > 250
