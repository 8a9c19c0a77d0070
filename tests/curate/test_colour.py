from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw

from tasks.core.workspace import Workspace
from tasks.curate import colour
from tasks.curate.colour import COLOUR, colour_of, measure_colour
from tasks.curate.rules.gray import GRAY_BELOW


def _encoded(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def _noise(*, seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """Patches of all colours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def _drawing(*, noise: float, seed: int) -> Image.Image:
    """Ink on paper, as a colour scanner sees it: with noise in every channel."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (500, 400), (240, 240, 240))
    draw = ImageDraw.Draw(image)
    for x, y, width, height in random.integers(10, 300, (40, 4)).tolist():
        draw.arc((x, y, x + width, y + height), 0, 300, (30, 30, 30), width=3)
    pixels = np.asarray(image) + random.normal(0, noise, (400, 500, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _store(workspace: Workspace, content: bytes, image_format: str) -> dict[str, str]:
    sha256 = hashlib.sha256(content).hexdigest()
    path = workspace.image(sha256, image_format)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"sha256": sha256, "format": image_format}


def _table(*rows: dict[str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"sha256": pl.String, "format": pl.String})


def _shards(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "colour").glob("*"))


def test_the_measure_is_the_spread_of_cb_and_cr() -> None:
    halves = Image.new("RGB", (64, 64), (128, 128, 128))
    halves.paste((128, 128, 248), (0, 0, 64, 32))
    # JFIF: 120 more of blue are 60.0 more of Cb and 9.8 less of Cr; two equal halves lie half of that from their mean.
    assert colour_of(_encoded(halves)) == pytest.approx(np.hypot(30.0, 4.9), abs=0.5)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_a_mode_without_colours_is_gray(mode: str) -> None:
    assert colour_of(_encoded(_noise().convert("L").convert(mode))) == 0


def test_deep_gray_is_gray() -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (50, 60), dtype=np.uint16)
    assert colour_of(_encoded(Image.fromarray(deep))) == 0


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_gray_stored_as_colours_is_gray_and_colours_are_not_in_any_format(image_format: str) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {}
    plain = colour_of(_encoded(_noise().convert("L").convert("RGB"), image_format, **options))
    vivid = colour_of(_encoded(_noise(), image_format, **options))
    assert plain == pytest.approx(0, abs=0.05)
    assert vivid is not None
    assert vivid > 20


def test_cmyk_and_palettes_are_measured() -> None:
    for image, image_format in ((_noise().convert("CMYK"), "JPEG"), (_noise().quantize(64), "PNG")):
        assert (colour_of(_encoded(image, image_format)) or 0) > 10


def test_a_cast_over_the_whole_picture_is_no_colour_but_a_small_coloured_thing_is() -> None:
    gray = np.asarray(_noise().convert("L").convert("RGB"), np.int16) // 2 + 60
    tinted = Image.fromarray((gray + np.array((8, 0, -8))).astype(np.uint8))
    assert (colour_of(_encoded(tinted)) or 0) < GRAY_BELOW
    ImageDraw.Draw(tinted).ellipse((50, 40, 60, 50), (200, 40, 40))  # 0.7 % of the picture
    assert (colour_of(_encoded(tinted)) or 0) > 3 * GRAY_BELOW


def test_scans_with_noise_in_every_channel_are_gray() -> None:
    for seed in range(5):
        scan = _encoded(_drawing(noise=5, seed=seed), "JPEG", quality=85)
        assert (colour_of(scan) or 0) < GRAY_BELOW


def test_what_is_transparent_counts_as_white() -> None:
    image = _noise().convert("RGBA")
    image.putalpha(0)
    assert colour_of(_encoded(image)) == 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_large_images_are_measured_band_by_band_to_the_same_figure(mode: str) -> None:
    small = _noise(size=(320, 256)).quantize(64) if mode == "P" else _noise(size=(320, 256)).convert(mode)
    large = small.resize((1600, 1280), Image.Resampling.NEAREST)
    of_small, of_large = (colour_of(_encoded(image, compress_level=1)) for image in (small, large))
    assert of_large == pytest.approx(of_small, abs=0.01)


def test_a_side_of_one_pixel_is_measured() -> None:
    assert (colour_of(_encoded(_noise(size=(3000, 1)))) or 0) > 5
    assert colour_of(_encoded(Image.new("RGB", (1, 1), "red"))) == 0


def test_what_cannot_be_decoded_has_no_colour() -> None:
    whole = _encoded(_noise())
    assert [colour_of(content) for content in (b"", b"no image", whole[: len(whole) // 2])] == [None] * 3


def test_images_of_more_than_the_limit_wait_for_their_turn() -> None:
    size = (colour.LARGE // 2000 + 1, 2000)
    content = {size: _encoded(Image.new("P", size)), (9, 9): _encoded(Image.new("P", (9, 9)))}
    turn, done = threading.Lock(), threading.Event()
    with turn:
        assert colour_of(content[9, 9], large=turn) == 0
        work = threading.Thread(target=lambda: (colour_of(content[size], large=turn), done.set()))
        work.start()
        assert not done.wait(0.3)
    work.join()
    assert done.is_set()


def test_each_image_is_read_once(workspace: Workspace, tmp_path: Path) -> None:
    first = _store(workspace, _encoded(_noise()), "PNG")
    second = _store(workspace, _encoded(_noise().convert("L"), "JPEG"), "JPEG")
    told = measure_colour(workspace, tmp_path, _table(first, first))
    assert told.schema == COLOUR
    assert told["sha256"].to_list() == [first["sha256"]]
    shards = _shards(tmp_path)
    workspace.image(first["sha256"], "PNG").unlink()
    both = measure_colour(workspace, tmp_path, _table(second, first))
    assert both["sha256"].to_list() == sorted((first["sha256"], second["sha256"]))
    colours = dict(both.iter_rows())
    assert colours[first["sha256"]] == told["colour"][0]
    assert colours[second["sha256"]] == 0
    assert set(shards) < set(_shards(tmp_path))
    again = _shards(tmp_path)
    assert measure_colour(workspace, tmp_path, _table(second, first)).equals(both)
    assert _shards(tmp_path) == again


def test_order_and_shards_change_no_byte(workspace: Workspace, tmp_path: Path) -> None:
    rows = [_store(workspace, _encoded(_noise(seed=seed)), "PNG") for seed in range(12)]
    one = measure_colour(workspace, tmp_path / "a", _table(*rows))
    two = measure_colour(workspace, tmp_path / "b", _table(*reversed(rows)))
    assert one.equals(two)
    assert _shards(tmp_path / "a") == _shards(tmp_path / "b")
    measure_colour(workspace, tmp_path / "c", _table(*rows[::2]))
    assert measure_colour(workspace, tmp_path / "c", _table(*rows)).equals(one)


def test_a_file_that_is_gone_is_null_now_and_asked_for_again(workspace: Workspace, tmp_path: Path) -> None:
    content = _encoded(_noise())
    row = {"sha256": hashlib.sha256(content).hexdigest(), "format": "PNG"}
    assert measure_colour(workspace, tmp_path, _table(row))["colour"].to_list() == [None]
    assert not _shards(tmp_path)
    _store(workspace, content, "PNG")
    assert measure_colour(workspace, tmp_path, _table(row))["colour"][0] > 20


def test_a_file_that_cannot_be_decoded_is_null_for_good(workspace: Workspace, tmp_path: Path) -> None:
    row = _store(workspace, b"no image", "PNG")
    assert measure_colour(workspace, tmp_path, _table(row))["colour"].to_list() == [None]
    shards = _shards(tmp_path)
    assert len(shards) == 1
    measure_colour(workspace, tmp_path, _table(row))
    assert _shards(tmp_path) == shards


def test_nulls_and_empty_tables_are_fine(workspace: Workspace, tmp_path: Path) -> None:
    empty = measure_colour(workspace, tmp_path, _table())
    assert (empty.height, empty.schema) == (0, COLOUR)
    unknown = _table({"sha256": None, "format": "PNG"}, {"sha256": "ab" * 32, "format": None})
    assert measure_colour(workspace, tmp_path, unknown).rows() == [("ab" * 32, None)]
    assert not _shards(tmp_path)


def test_half_a_shard_of_a_killed_run_is_not_read(workspace: Workspace, tmp_path: Path) -> None:
    row = _store(workspace, _encoded(_noise()), "PNG")
    (tmp_path / "colour").mkdir()
    (tmp_path / "colour" / f".{colour.METHOD}-0123456789abcdef.parquet.01234567.part").write_bytes(b"PAR1")
    assert measure_colour(workspace, tmp_path, _table(row))["colour"][0] > 20


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "images", "gray"),
    [("spiders", 300, 300), ("bees-google", 415, 0), ("bears-google", 480, 3), ("bears-polar", 79, 0)],
)
def test_real_gray_photos_are_told_from_colour_photos(real_data: Path, folder: str, images: int, gray: int) -> None:
    paths = [path for path in (real_data / "photos" / folder).rglob("*") if path.suffix in {".jpg", ".jpeg", ".png"}]
    colours = [colour_of(path.read_bytes()) for path in paths]
    assert len(colours) == images
    assert sum(found is not None and found < GRAY_BELOW for found in colours) == gray


@pytest.mark.real
def test_murky_water_is_not_gray(real_data: Path) -> None:
    paths = sorted((real_data / "photos" / "fish").rglob("*.png"))[::10]
    assert min(colour_of(path.read_bytes()) or 0 for path in paths) > GRAY_BELOW
