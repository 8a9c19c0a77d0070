"""What names of files and folders are taken to say."""

from __future__ import annotations

import pytest

from tasks.curate.layout import FORMATS, extension, named_image, places, promised
from tasks.ingest.sniff import _MAGIC


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a/1.jpg", "b/x/2.jpg", "3.jpg"], [(None, "a"), (None, "b"), (None, None)]),
        (["train/a/1.jpg", "val/a/x/2.jpg"], [("train", "a"), ("val", "a")]),
        (["Train/a/1.jpg", "VALID/2.jpg"], [("Train", "a"), ("VALID", None)]),
        (["training_set/a/1.jpg", "test-set/a/1.jpg"], [("training_set", "a"), ("test-set", "a")]),
        (["train2017/1.jpg", "val2017/2.jpg"], [("train2017", None), ("val2017", None)]),
        (["dev/a/1.jpg", "validation/a/1.jpg"], [("dev", "a"), ("validation", "a")]),
        (["1.jpg", "2.jpg"], [(None, None), (None, None)]),
        ([], []),
    ],
)
def test_uppermost_folders_are_classes_or_splits_by_their_names(
    paths: list[str], expected: list[tuple[str | None, str | None]]
) -> None:
    assert places(paths) == expected


def test_a_class_that_happens_to_be_named_like_a_side_stays_a_class() -> None:
    assert places(["cat/1.jpg", "test/1.jpg"]) == [(None, "cat"), (None, "test")]
    assert places(["trainer/1.jpg", "valley/1.jpg"]) == [(None, "trainer"), (None, "valley")]


def test_a_folder_beside_the_splits_is_neither_split_nor_class() -> None:
    assert places(["train/a/1.jpg", "all/a/1.jpg", "2.jpg"]) == [("train", "a"), (None, None), (None, None)]


def test_a_file_named_like_a_side_is_no_side() -> None:
    assert places(["train", "a/1.jpg"]) == [(None, None), (None, "a")]


@pytest.mark.parametrize("name", ["a.jpg", "b/A.JPEG", "c.jfif", "d.JPE", "e.mpo"])
def test_spellings_of_jpeg_are_one(name: str) -> None:
    assert promised(name) == "JPEG"
    assert named_image(name)


@pytest.mark.parametrize(
    ("name", "ending", "image"),
    [
        ("a.jpg?w=300", "jpg?w=300", False),
        ("a", "", False),
        ("x.d/a", "", False),
        ("a.HEIC", "heic", True),
        ("a.txt", "txt", False),
        (".jpg", "", False),
    ],
)
def test_other_names_promise_nothing(name: str, ending: str, image: bool) -> None:
    assert (extension(name), promised(name), named_image(name)) == (ending, None, image)


def test_every_format_that_passes_the_door_has_extensions() -> None:
    assert set(FORMATS) == {name for _, name in _MAGIC} | {"WEBP", "AVIF"}
    every = [ending for endings in FORMATS.values() for ending in endings]
    assert len(every) == len(set(every))
