from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.local import address, changed_at, place, shown

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: not {0, ord("/")} & set(name)).map(os.fsdecode)


@given(NAMES, NAMES)
def test_every_name_that_a_kernel_allows_comes_back_from_its_address(file: str, member: str) -> None:
    path = Path("/photos") / file
    assert place(address(path)) == (path, None)
    assert place(address(path, member)) == (path, member)
    assert address(path, member).isascii()


def test_a_file_has_its_uri_and_a_member_the_archives_with_its_name_behind_a_sharp() -> None:
    assert address(Path("/a/b c#d?.jpg")) == "file:///a/b%20c%23d%3F.jpg"
    assert address(Path("/a/x.zip"), "cats/1 #.jpg") == "file:///a/x.zip#cats/1%20%23.jpg"


@pytest.mark.parametrize("url", ["http://a.org/x", "file://host/x", "file:x", "/etc/passwd", "", "file:///a%00b"])
def test_anything_else_is_no_place(url: str) -> None:
    assert place(url) is None


def test_names_are_shown_as_utf8_else_latin1_with_accents_composed() -> None:
    assert shown(os.fsdecode("ouriço.jpg".encode("latin-1"))) == "ouriço.jpg"
    assert shown("ouric\u0327o.jpg") == "ouriço.jpg"


def test_a_file_has_changed_when_the_kernel_says_so_whatever_its_own_time(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(b"x")
    os.utime(path, (0, 0))
    changed = changed_at(address(path))
    assert changed is not None
    assert changed.year > 2000
    assert changed_at(address(path, "member")) == changed
    assert changed_at(address(tmp_path / "gone")) is None
