from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.core.workspace import Workspace
from tasks.split.report.pictures import BUDGET, Tile, draw, web_page


def _stored(workspace: Workspace, name: str, image: Image.Image) -> Path:
    path = workspace.image(name, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def _tiles(*names: str) -> list[Tile]:
    return [Tile(name, "PNG", alt=name) for name in names]


def _opened(address: str) -> Image.Image:
    kind, _, data = address.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_are_small_and_unreadable_ones_missing(workspace: Workspace) -> None:
    _stored(workspace, "aa", Image.new("RGB", (900, 600), (200, 30, 30)))
    broken = _stored(workspace, "bb", Image.new("RGB", (9, 9)))
    broken.write_bytes(b"\x89PNG no image")
    unknown = Tile("dd", None, alt="never stored")
    found = draw(workspace, [*_tiles("aa", "bb", "cc"), unknown])
    assert set(found) == {"aa"}
    assert _opened(found["aa"]).size == (240, 160)


def test_all_pictures_together_keep_to_the_budget(workspace: Workspace) -> None:
    """Noise is what compresses worst; a page of it has as many bytes as one may have."""
    noise = np.random.default_rng(0).integers(0, 256, (240, 240, 3), np.uint8)
    _stored(workspace, "aa", Image.fromarray(noise))
    tiles = _tiles("aa") * 2000
    (address,) = draw(workspace, tiles).values()
    assert len(base64.b64decode(address.partition(",")[2])) * len(tiles) <= BUDGET
    assert max(_opened(address).size) >= 60


@pytest.mark.parametrize(
    ("addresses", "page"),
    [
        (("https://a.example/1",), "https://a.example/1"),
        ((None, "http://b.example"), "http://b.example"),
        (("javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//c.example", "http:///x", "x"), None),
        ((" java\nscript:alert(1)", "http://[", ""), None),
        (("https://d.example/" + "x" * 500,), None),
    ],
)
def test_only_web_pages_are_linked(addresses: tuple[str | None, ...], page: str | None) -> None:
    assert web_page(*addresses) == page
