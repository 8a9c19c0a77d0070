from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ingest.content_encoding import Inflater


def raw(data: bytes) -> bytes:
    return zlib.compress(data, 6, -zlib.MAX_WBITS)


def unpacked(encoding: str, packed: bytes, step: int = 1000) -> tuple[bytes, bool]:
    inflater = Inflater(encoding)
    pieces = [piece for at in range(0, len(packed), step) for piece in inflater.unpack(packed[at : at + step])]
    return b"".join(pieces), inflater.complete


PACKED = [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw)]


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
@given(data=st.binary(max_size=300), times=st.integers(1, 1200), step=st.integers(1, 70_000))
def test_what_was_packed_comes_back_however_it_is_cut(
    encoding: str, pack: type[bytes], data: bytes, times: int, step: int
) -> None:
    assert unpacked(encoding, pack(data * times), step) == (data * times, True)


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
def test_no_step_is_longer_than_64_kib_and_none_is_lost(encoding: str, pack: type[bytes]) -> None:
    for size in (65_535, 65_536, 65_537, 131_072, 1_000_000):
        pieces = list(Inflater(encoding).unpack(pack(b"a" * size)))
        assert max(map(len, pieces)) <= 65_536
        assert sum(map(len, pieces)) == size


@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_members_of_a_gzip_body_follow_each_other_and_rubbish_behind_them_is_passed_over(step: int) -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two") + b"\x00\x00 rubbish"
    assert unpacked("gzip", packed, step) == (b"one two", True)


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
def test_a_body_that_ends_early_is_not_complete(encoding: str, pack: type[bytes]) -> None:
    packed = pack(bytes(range(256)) * 40)
    assert not any(unpacked(encoding, packed[:end])[1] for end in range(len(packed) - 1))


def test_a_second_member_that_ends_early_is_not_complete() -> None:
    packed = gzip.compress(b"one") + gzip.compress(b"two" * 100)[:-9]
    assert not unpacked("gzip", packed)[1]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_was_never_packed_raises(encoding: str) -> None:
    with pytest.raises(zlib.error):
        unpacked(encoding, b"\xff\xd8\xff\xe0 a photo, sent plain")
