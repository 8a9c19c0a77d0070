from __future__ import annotations

import hashlib
import resource
from pathlib import Path

import pytest

from tasks.core.errors import ImageRefusedError, WorkspaceError
from tasks.ingest.body import MEMORY, Body


def filled(part: Path, size: int, limit: int = 10 * MEMORY) -> Body:
    body = Body(part, limit)
    for start in range(0, size, 70_000):
        body.append(bytes([start // 70_000]) * min(70_000, size - start))
    return body


def expected(size: int) -> bytes:
    return b"".join(bytes([start // 70_000]) * min(70_000, size - start) for start in range(0, size, 70_000))


@pytest.mark.parametrize("size", [0, 1, MEMORY - 1, MEMORY])
def test_a_small_body_needs_no_file(tmp_path: Path, size: int) -> None:
    body = filled(tmp_path / "x.part", size)
    assert body.content == expected(size)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [MEMORY + 1, 3 * MEMORY])
def test_a_large_body_lies_whole_in_its_file(tmp_path: Path, size: int) -> None:
    body = filled(tmp_path / "x.part", size)
    assert isinstance(body.content, Path)
    assert body.content.read_bytes() == expected(size)
    body.discard()


@pytest.mark.parametrize("size", [10, 2 * MEMORY])
def test_the_hash_is_of_all_bytes(tmp_path: Path, size: int) -> None:
    body = filled(tmp_path / "x.part", size)
    assert body.sha256() == hashlib.sha256(expected(size)).hexdigest()
    body.discard()


@pytest.mark.parametrize("limit", [100_000, 2 * MEMORY])
def test_one_byte_over_the_limit_is_refused(tmp_path: Path, limit: int) -> None:
    body = filled(tmp_path / "x.part", limit, limit)
    with pytest.raises(ImageRefusedError) as error:
        body.append(b"x")
    assert error.value.outcome == "too-large"
    body.discard()


@pytest.mark.parametrize("size", [10, 2 * MEMORY])
def test_a_body_that_is_discarded_leaves_nothing_and_may_be_filled_again(tmp_path: Path, size: int) -> None:
    body = filled(tmp_path / "x.part", size)
    body.discard()
    assert (body.size, body.content, list(tmp_path.iterdir())) == (0, b"", [])
    body.append(b"again")
    assert body.content == b"again"


@pytest.mark.parametrize("size", [10, 2 * MEMORY])
def test_a_body_that_is_moved_is_whole_at_its_place_alone(tmp_path: Path, size: int) -> None:
    body = filled(tmp_path / "x.part", size)
    body.move_to(tmp_path / "photo.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    body.discard()  # as the one who made it does in any case
    assert (tmp_path / "photo.jpg").read_bytes() == expected(size)


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    body, before = Body(tmp_path / "x.part", 10 * MEMORY), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEMORY // 2, before[1]))
    try:
        with pytest.raises(WorkspaceError, match="disk is full"):
            body.append(bytes(2 * MEMORY))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        body.discard()
