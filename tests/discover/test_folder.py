from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.core.errors import SourceError
from tasks.core.local import place
from tasks.core.network import NetworkPolicy
from tasks.discover import folder
from tasks.discover.config import FolderSource
from tasks.discover.found import Ask, Page


def ask(path: Path, of: str | None = None, /, **fields: object) -> Ask[FolderSource]:
    source = FolderSource.model_validate({"source": "folder", "path": path, **fields})
    return Ask(source, of, NetworkPolicy(user_agent="t"))


def read(path: Path, of: str | None = None, /, **fields: object) -> Page:
    [page] = folder.pages(ask(path, of, **fields))
    return page


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def labels(page: Page) -> dict[str, str | None]:
    return dict(page.candidates.select("source_id", "label").iter_rows())


def test_every_image_below_the_folder_is_offered_with_an_address_that_leads_to_it(tmp_path: Path) -> None:
    root = fill(tmp_path, "b.JPG", "sub/deep/a b#1.png", "no-suffix", "photo.1", "x.jpg_large")
    page = read(root, "cats", licence="CC BY 4.0", creator="Ana")
    assert page.candidates["source_id"].to_list() == [
        "b.JPG", "no-suffix", "photo.1", "sub/deep/a b#1.png", "x.jpg_large"
    ]  # fmt: skip
    assert [place(url) for url in page.candidates["url"]] == [
        (root / path, None) for path in page.candidates["source_id"]
    ]
    assert page.candidates["licence"].unique().to_list() == ["cc-by"]
    assert page.candidates["creator"].unique().to_list() == ["Ana"]
    assert page.notes["rows"] == 5
    assert page.cursor is None


def test_hidden_files_and_other_files_are_left_out_and_counted(tmp_path: Path) -> None:
    names = ["a.jpg", "._a.jpg", ".git/x.jpg", "Thumbs.db", "labels.csv", "more.zip", "film.mp4"]
    page = read(fill(tmp_path, *names), "cats")
    assert page.candidates["source_id"].to_list() == ["a.jpg"]
    assert {reason: number for reason, number in page.notes.items() if number} == {
        "rows": 7, "hidden": 2, "not-an-image": 4
    }  # fmt: skip


def test_the_class_is_the_folder_an_image_lies_in_and_none_at_the_top(tmp_path: Path) -> None:
    page = read(fill(tmp_path, "cat/1.jpg", "train/dog/1.jpg", "top.jpg"))
    assert labels(page) == {"cat/1.jpg": "cat", "top.jpg": None, "train/dog/1.jpg": "dog"}


def test_a_pattern_tells_the_class_and_another_what_belongs_together(tmp_path: Path) -> None:
    root = fill(tmp_path, "film1/cat_001.jpg", "film1/dog_002.jpg", "film2/cat_003.jpg", "other.jpg")
    page = read(root, label={"pattern": r"([a-z]+)_\d+\.jpg"}, group=r"^(film\d+)/")
    assert labels(page) == {
        "film1/cat_001.jpg": "cat", "film1/dog_002.jpg": "dog", "film2/cat_003.jpg": "cat", "other.jpg": None
    }  # fmt: skip
    assert page.candidates["group_id"].to_list() == ["folder:film1", "folder:film1", "folder:film2", None]
    assert page.notes["without-group"] == 1


def test_links_are_followed_but_not_in_circles_nor_above_the_folder(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", "cat/1.jpg")
    elsewhere = fill(tmp_path / "elsewhere", "2.jpg")
    fill(tmp_path, "private.jpg")
    for name in ("a-cat", "z-cat"):
        (root / name).symlink_to(root / "cat")
    (root / "dog").symlink_to(elsewhere)
    (root / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (root / "cat" / "3.jpg").symlink_to(elsewhere / "2.jpg")
    (root / "broken.jpg").symlink_to(tmp_path / "none.jpg")
    page = read(root)
    assert labels(page) == {"cat/1.jpg": "cat", "cat/3.jpg": "cat", "dog/2.jpg": "dog"}
    assert page.notes["repeated-folder"] == 4
    assert page.notes["not-a-file"] == 1


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(fill(tmp_path, "a.jpg") / "pipe.jpg")
    page = read(tmp_path, "cats")
    assert page.candidates.height == 1
    assert page.notes["not-a-file"] == 1


def test_names_that_are_no_utf8_are_read_as_latin1_and_their_addresses_lead_back(tmp_path: Path) -> None:
    fill(tmp_path, os.fsdecode("ouriço/café 1.jpg".encode("latin-1")), "line\nbreak/1.jpg")
    page = read(tmp_path)
    assert labels(page) == {"line\nbreak/1.jpg": "line\nbreak", "ouriço/café 1.jpg": "ouriço"}
    for url in page.candidates["url"]:
        found = place(url)
        assert found is not None
        assert found[0].read_bytes() == b"x"


def test_the_order_does_not_depend_on_the_disk(tmp_path: Path) -> None:
    names = [f"{n % 3}/{n}.jpg" for n in range(40)]
    one, two = fill(tmp_path / "one", *names), fill(tmp_path / "two", *names[::-1])
    assert read(one).candidates["source_id"].to_list() == read(two).candidates["source_id"].to_list()
    assert read(one).candidates.equals(read(one).candidates)


def test_a_folder_without_an_image_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no image") as caught:
        read(fill(tmp_path, "a.csv", "b.csv", ".c"), "cats")
    assert caught.value.received == "3 files: 1 hidden, 2 not-an-image"


def test_a_folder_that_is_missing_or_a_file_is_a_problem_before_anything_is_read(tmp_path: Path) -> None:
    fill(tmp_path, "photos/1.jpg", "file")
    [missing] = folder.problems(ask(tmp_path / "photo", "cats"))
    assert "There is no folder" in str(missing)
    assert "Did you mean photos?" in str(missing)
    [file] = folder.problems(ask(tmp_path / "file", "cats"))
    assert "is not a folder" in str(file)
    assert list(folder.problems(ask(tmp_path / "photos", "cats"))) == []


def test_a_licence_that_nobody_knows_is_a_problem(tmp_path: Path) -> None:
    [problem] = folder.problems(ask(tmp_path, "cats", licence="ask Ana"))
    assert problem.received == "ask Ana"


@pytest.mark.parametrize(
    "fields", [{"label": "species"}, {"label": {"taxa": {"a": ["b"]}}}, {"group": "(", "label": None}, {"group": "x"}]
)
def test_rules_that_need_a_table_and_patterns_without_a_group_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"no columns|regular expression|needs a group"):
        FolderSource.model_validate({"source": "folder", "path": "x", **fields})


@pytest.mark.real
def test_real_video_frames_are_told_apart_by_folder_and_grouped_by_film(real_data: Path) -> None:
    page = read(real_data / "photos" / "fish", group=r"/(\w+)_fish\d+_frame\d+\.png$")
    files = list((real_data / "photos" / "fish").glob("*/*.png"))
    assert page.candidates.height == len(files) == 1053
    counts = dict(page.candidates.group_by("label").len().iter_rows())
    assert counts == Counter(file.parent.name for file in files)
    assert 7 < page.candidates["group_id"].n_unique() < 1053
    assert page.notes["without-group"] == page.candidates["group_id"].null_count() == 65  # named another way
    assert page.notes["not-an-image"] == 3
