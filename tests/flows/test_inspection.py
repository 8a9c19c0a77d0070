"""`harvestman inspect` as a person and a script meet it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.inspection import LISTED, Found, examine, expand
from flows.looking import look
from tasks.ingest.config import IngestConfig
from tasks.ingest.inspect import inspect


def picture(seed: int = 0, *, side: int = 160, image_format: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side)).save(buffer, image_format)
    return buffer.getvalue()


def flat() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (100, 80), "red").save(buffer, "PNG")
    return buffer.getvalue()


BODIES = {
    "whole.jpg": picture(),
    "half.jpg": picture(1, side=900)[:20_000],
    "page.jpg": b"<!doctype html><p>gone",
    "nothing.jpg": b"",
    "notes.txt": b"remember",
    "broken.png": b"\x89PNG\r\n\x1a\nrubbish",
    "tiny.gif": picture(2, side=20, image_format="GIF"),
    "red.png": flat(),
    "tiny and half.png": picture(3, side=20, image_format="PNG")[:-40],
}
EXPECTED = {
    "whole.jpg": ("ok", None),
    "half.jpg": ("damaged", "damaged"),
    "page.jpg": ("unreadable", "html"),
    "nothing.jpg": ("unreadable", "empty"),
    "notes.txt": ("unreadable", "not-an-image"),
    "broken.png": ("unreadable", "unreadable"),
    "tiny.gif": ("ok", "too-small"),
    "red.png": ("ok", "flat"),
    "tiny and half.png": ("damaged", "damaged"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for name, body in BODIES.items():
        (folder / name).write_bytes(body)
    return folder


def command(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "inspect", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_json_is_a_list_of_every_file_in_sorted_order_with_verdict_and_reason(folder: Path) -> None:
    text, errors = command(folder, "--json")
    rows = json.loads(text)
    assert errors == ""
    assert [row["path"] for row in rows] == [str(folder / name) for name in sorted(BODIES)]
    assert {Path(row["path"]).name: (row["verdict"], row["reason"]) for row in rows} == EXPECTED
    for row in rows:
        body = Path(row["path"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
        assert (row["detail"] is None) == (row["reason"] is None)
        assert (row["phash"] is None) == (row["width"] is None) == (row["verdict"] != "ok")
    assert list(rows[0]) == list(Found.__dataclass_fields__)


def test_an_image_is_measured_as_ingest_measures_it(folder: Path) -> None:
    config = IngestConfig()
    row = examine(folder / "whole.jpg", config)
    seen = inspect(folder / "whole.jpg", min_side=1, max_pixels=10**8)
    assert (row.format, row.width, row.height, row.phash) == ("JPEG", 160, 160, f"{seen.phash:016x}")
    assert row.contrast == pytest.approx(seen.contrast, abs=0.01)
    red = examine(folder / "red.png", config)
    assert (red.format, red.width, red.height, red.contrast) == ("PNG", 100, 80, 0)
    assert red.detail == "a contrast of 0.00, at least 1 is asked for"
    assert examine(folder / "half.jpg", config).format == "JPEG"
    assert examine(folder / "page.jpg", config).format is None


def test_a_file_larger_than_ingest_takes_is_not_decoded(folder: Path) -> None:
    row = examine(folder / "whole.jpg", IngestConfig(max_bytes=len(BODIES["whole.jpg"]) - 1))
    assert (row.verdict, row.reason, row.bytes) == ("unreadable", "too-large", len(BODIES["whole.jpg"]))
    assert row.sha256 == hashlib.sha256(BODIES["whole.jpg"]).hexdigest()
    assert examine(folder / "whole.jpg", IngestConfig(max_bytes=len(BODIES["whole.jpg"]))).verdict == "ok"


def test_people_get_a_line_a_file_and_a_summary(folder: Path) -> None:
    text, _ = command(folder)
    lines = text.splitlines()
    assert len(lines) == len(BODIES) + 1
    assert lines[-1] == (
        "9 files: 1 would be kept; refused: 2 damaged, 1 empty, 1 flat, 1 html, 1 not-an-image, 1 too-small, "
        "1 unreadable"
    )
    whole = next(line for line in lines if "whole.jpg" in line)
    assert whole.split()[:5] == ["ok", "-", "JPEG", "160x160", f"{len(BODIES['whole.jpg']):,}"]
    assert "(a page, not an image: " in next(line for line in lines if "page.jpg" in line)


def test_of_a_long_list_people_see_what_would_be_refused(folder: Path) -> None:
    for number in range(LISTED):
        (folder / f"more{number}.jpg").write_bytes(BODIES["whole.jpg"])
    lines = command(folder)[0].splitlines()
    assert len(lines) == len(BODIES) - 1 + 1
    assert not any("more" in line for line in lines)
    assert lines[-1].startswith(f"{len(BODIES) + LISTED} files: {LISTED + 1} would be kept")
    assert len(json.loads(command(folder, "--json")[0])) == len(BODIES) + LISTED


def test_what_cannot_be_read_is_told_at_the_end_and_is_1(folder: Path) -> None:
    text, errors = command(folder / "gone.jpg", folder / "whole.jpg", "/dev/null", "--json", code=1)
    assert [row["verdict"] for row in json.loads(text)] == ["ok"]
    assert "2 of the files named could not be read." in errors
    assert f"{folder / 'gone.jpg'}: No such file" in errors
    assert "/dev/null: neither a file nor a folder" in errors


def test_strict_is_1_when_any_file_would_be_refused(folder: Path) -> None:
    command(folder / "whole.jpg", "--strict")
    for name in ("half.jpg", "red.png", "page.jpg"):
        text, errors = command(folder / "whole.jpg", folder / name, "--strict", code=1)
        assert name in text
        assert errors == ""


def test_no_file_is_wrong_usage_and_an_empty_folder_an_empty_list(tmp_path: Path) -> None:
    command(code=2)
    assert json.loads(command(tmp_path, "--json")[0]) == []
    assert command(tmp_path)[0] == "0 files: 0 would be kept; refused: none\n"


def test_folders_are_walked_without_hidden_names_and_links_to_folders(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/1.jpg", "a.jpg", ".git/c.jpg", "b/.d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "round").symlink_to(tmp_path)
    files, problems = expand([tmp_path, tmp_path / "b" / ".d.jpg"])
    assert [str(path.relative_to(tmp_path)) for path in files] == ["a.jpg", "b/1.jpg", "b/2.jpg", "b/.d.jpg"]
    assert problems == []


def test_names_that_are_no_text_do_no_harm(folder: Path) -> None:
    strange = os.fsencode(folder) + b"/\xff\x1b[31m\n.jpg"
    Path(os.fsdecode(strange)).write_bytes(BODIES["whole.jpg"])
    text, _ = command(folder)
    assert "?" * 2 + "[31m?.jpg" in text
    assert "\x1b" not in text
    paths = [row["path"] for row in json.loads(command(folder, "--json")[0])]
    assert strange in [os.fsencode(path) for path in paths]


@pytest.mark.real
def test_decoders_that_talk_are_not_heard(real_data: Path) -> None:
    text, errors = command(real_data / "corrupt")
    assert errors == ""
    assert "would be kept" in text.splitlines()[-1]


def test_what_is_told_of_a_refused_file_keeps_none_of_its_bytes(folder: Path) -> None:
    refused = look(folder / "half.jpg", IngestConfig()).refused
    assert refused is not None
    assert refused.outcome == "damaged"
    assert refused.__traceback__ is None
    assert refused.__cause__ is None
    assert refused.__context__ is None
