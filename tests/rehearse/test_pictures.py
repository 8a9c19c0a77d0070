from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tasks.core.errors import DataError
from tasks.rehearse.pictures import find, folders_of


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("Perch/b_1.png", "Perch/b_2.png", "Perch/a_1.png", "Perch/deep/c.png", "chub/x.png", "other/y.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(path)
    (tmp_path / "Perch" / "notes.txt").write_text("not a picture")
    (tmp_path / "Perch" / "broken.jpg").write_bytes(b"neither")
    (tmp_path / "empty").mkdir()
    return tmp_path


def names(groups: list[list[Path]]) -> list[list[str]]:
    return [[path.name for path in group] for group in groups]


def test_classes_match_whatever_their_case_and_files_are_sorted(photos: Path) -> None:
    found = find(photos, dict.fromkeys(["perch", "CHUB"], ()), observations=None)
    assert names(found["perch"]) == [["a_1.png"], ["b_1.png"], ["b_2.png"], ["c.png"]]
    assert names(found["CHUB"]) == [["x.png"]]


def test_the_pattern_keeps_an_observation_together(photos: Path) -> None:
    found = find(photos, dict.fromkeys(["perch"], ()), observations=r"(.+)_\d")
    assert names(found["perch"]) == [["a_1.png"], ["b_1.png", "b_2.png"], ["c.png"]]


def test_missing_classes_are_named_beside_the_folders_found(photos: Path) -> None:
    with pytest.raises(DataError, match=r"no photos of pike, eel\.\nSub-folders found: Perch, chub, empty, other"):
        find(photos, dict.fromkeys(["perch", "pike", "eel"], ()), observations=None)


def test_a_class_without_a_picture_is_named(photos: Path) -> None:
    with pytest.raises(DataError, match="no picture of empty"):
        find(photos, dict.fromkeys(["perch", "empty"], ()), observations=None)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        find(tmp_path / "nowhere", dict.fromkeys(["perch"], ()), observations=None)


@pytest.mark.parametrize(("pattern", "complaint"), [("(", "not a regular expression"), ("fish", "has no group")])
def test_a_pattern_that_cannot_be_used_is_refused(photos: Path, pattern: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        find(photos, dict.fromkeys(["perch"], ()), observations=pattern)


def test_a_class_made_of_parts_has_their_photos_unless_it_has_its_own(photos: Path) -> None:
    found = find(photos, {"minnows": ("chub", "other", "roach"), "Perch": ("other",)}, observations=None)
    assert names(found["minnows"]) == [["x.png"], ["y.png"]]
    assert len(found["Perch"]) == 4
    with pytest.raises(DataError, match="no photos of herring"):
        find(photos, {"herring": ("roach",)}, observations=None)


def test_the_sub_folders_are_named_as_they_are(photos: Path) -> None:
    assert folders_of(photos) == ["Perch", "chub", "empty", "other"]
