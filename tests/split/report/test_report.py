from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks.core.errors import WorkspaceError

EVIL = '"><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>{{ 7*7 }}'
VOID = {"meta", "link", "img", "ellipse", "path", "br"}


class Page(HTMLParser):
    """Every element with its attributes; complains of elements that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _rows(row: Callable[..., Any]) -> list[dict[str, Any]]:
    kept = row("k0", "пчела", creator="Анна", licence="cc-by", page_url="https://p.example/1?a=1&b=2")
    return [
        kept,
        *(row(f"k{n}", "пчела", split=("train", "val", "test")[n % 3]) for n in range(1, 9)),
        *(row(f"w{n}", "wasp", split=("train", "val", "test")[n % 3]) for n in range(6)),
        row("n", "пчела", verdict="near-duplicate", cluster_id=kept["sha256"]),
        row("c1", "пчела", picture="c", verdict="label-conflict"),
        row("c2", "wasp", picture="c", verdict="label-conflict"),
        row("p", "wasp", verdict="placeholder", detail="12 addresses"),
        row("l", "wasp", split=None, left="leaks"),
        row("h", "wasp", outcome="html", verdict=None, reason="text/html"),
    ]


@pytest.fixture
def page(row: Callable[..., Any], scene: Callable[..., Any], tmp_path: Path) -> Page:
    return Page(scene(_rows(row), paint=True).write(tmp_path))


def test_every_section_shows_what_the_tables_say(page: Page) -> None:
    text = re.sub(r"\s+", " ", " ".join(page.text))
    for words in (
        "15 images in 2 classes", "seed 1337", "d" * 64, "4f00c0ffee001234", "пчела", "Анна", "cc-by",
        "1 placeholder the same file under many addresses", "12 addresses", "1 label-conflict", "text/html",
        "https://photos.example/h.jpg", "2 images form 1 cluster of one picture", "1 picture is claimed",
        "leaks an old image", "pillow=13",
    ):  # fmt: skip
        assert words in text, words
    assert "{" not in text.replace("{color", "").partition("</style>")[2]


def test_every_picture_has_words_and_every_table_headers(page: Page) -> None:
    pictures = page.all("img")
    assert len(pictures) == 15 + 2 + 1 + 1 + 1
    assert all(picture["alt"] for picture in pictures)
    assert all(picture["src"].startswith("data:image/webp;base64,") for picture in pictures)
    assert page.all("table")
    assert len(page.all("thead")) == len(page.all("table"))
    assert {header["scope"] for header in page.all("th")} == {"col", "row"}
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")} <= ids


def test_links_lead_to_web_pages_and_tell_them_nothing(page: Page) -> None:
    links = [a for a in page.all("a") if not a["href"].startswith("#")]
    assert {"https://p.example/1?a=1&b=2", "https://photos.example/w1.jpg"} <= {a["href"] for a in links}
    assert all(a["href"].startswith(("https://", "http://")) for a in links)
    assert {a["rel"] for a in links} == {"noreferrer noopener"}


def test_nothing_on_the_page_is_fetched_or_run(page: Page) -> None:
    (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {name for name, _ in page.elements}
    assert {link["href"] for link in page.all("link")} == {"data:,"}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_what_strangers_wrote_stays_text(row: Callable[..., Any], scene: Callable[..., Any], tmp_path: Path) -> None:
    rows = [
        *(row(f"https://a.example/{n}{EVIL}", EVIL, picture=f"k{n}", creator=EVIL, licence=EVIL, source=EVIL,
              detail=EVIL, versions=EVIL, page_url=f"javascript:{EVIL}") for n in range(3)),
        row("n", EVIL, verdict="near-duplicate", cluster_id=row("k0")["sha256"], detail=EVIL),
        row("c", EVIL, picture="k1", verdict="label-conflict"), row("c2", "b", picture="k1", verdict="label-conflict"),
        row("r", EVIL, verdict=EVIL, detail="\u202eturned\x07"),
        row("h", EVIL, outcome=EVIL, verdict=None, reason=EVIL), row("l", EVIL, split=None, left=EVIL),
    ]  # fmt: skip
    page = Page(scene(rows, paint=True).write(tmp_path, seed=EVIL))
    assert not page.all("script")
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert all(a["href"].startswith(("#", "https://a.example/", "https://photos.example/")) for a in page.all("a"))
    assert "{{ 7*7 }}" in " ".join(page.text)
    assert "turned" in " ".join(page.text)
    assert not any(letter in "\u202e\x07" for text in page.text for letter in text)


def test_the_same_tables_give_the_same_bytes_whatever_their_order(
    row: Callable[..., Any], scene: Callable[..., Any], tmp_path: Path
) -> None:
    made = scene(_rows(row), paint=True)
    first = made.write(tmp_path / "a")
    again = scene(_rows(row)[::-1])
    again.manifest = again.manifest.sort("path", descending=True)
    assert again.write(tmp_path / "b") == first


def test_an_image_that_cannot_be_read_is_shown_as_missing(
    row: Callable[..., Any], scene: Callable[..., Any], tmp_path: Path
) -> None:
    made = scene(_rows(row), paint=True)
    made.workspace.image(row("w0")["sha256"], "PNG").write_bytes(b"\x89PNG\r\n\x1a\n no image")
    made.workspace.image(row("w1")["sha256"], "PNG").unlink()
    text = made.write(tmp_path)
    assert text.count("not readable</span>") == 2
    assert len(Page(text).all("img")) == 18


def test_two_classes_and_nothing_else_make_a_page(
    row: Callable[..., Any], scene: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [row(f"{label}{split}", label, split=split) for label in ("bee", "wasp") for split in ("train", "test")]
    page = Page(scene(rows, paint=True).write(tmp_path, val=0.0))
    text = " ".join(page.text)
    for words in ("No two stored images", "No picture is claimed", "Nothing was.", "Every address that was asked"):
        assert words in text
    assert "val" not in [span.get("class") for span in page.all("span")]


def test_a_collection_that_has_been_removed_leaves_the_figures_of_the_tables(
    row: Callable[..., Any], scene: Callable[..., Any], tmp_path: Path
) -> None:
    made = scene(_rows(row), paint=True)
    made.workspace.collection("insects").rename(tmp_path / "aside")
    assert "<strong>15</strong> images" in made.write(tmp_path)


def test_many_classes_of_noise_stay_below_eight_megabytes(
    row: Callable[..., Any], scene: Callable[..., Any], tmp_path: Path
) -> None:
    """202 classes as the largest recipe has; every picture is noise, which compresses worst."""
    long = "https://p.example/" + "&" * 470
    made = scene([
        row(f"{label:03}-{n}", f"{label:03}" + "\u871c" * 70, picture=f"p{n}", page_url=long)
        for label in range(202)
        for n in range(6)
    ])  # fmt: skip
    Image.effect_noise((130, 130), 90).convert("RGB").save(tmp_path / "noise.png")
    for sha256 in made.manifest["sha256"].unique():
        target = made.workspace.image(sha256, "PNG")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(tmp_path / "noise.png")
    text = made.write(tmp_path)
    assert len(Page(text).all("img")) == 202 * 5 + 6  # those six, which every class claims
    assert 3_000_000 < len(text.encode()) < 8_000_000


def test_a_folder_that_cannot_be_written_is_one_clear_error(
    row: Callable[..., Any], scene: Callable[..., Any], tmp_path: Path
) -> None:
    made = scene([row("a"), row("b", "wasp")], paint=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").mkdir()
    with pytest.raises(WorkspaceError, match="could not be written"):
        made.write(tmp_path / "out")
