from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tasks.core.archives import bodies, gunzipped, kind, members, one_pass, read_member
from tasks.core.errors import ImageRefusedError, SourceError

Content = dict[str, bytes]
Peak = Callable[[], int]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


def tar(content: Content) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, body in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def make_zip(path: Path, content: Content, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, body in content.items():
            archive.writestr(name, body)
    return path


def make(path: Path, packed: str, content: Content) -> Path:
    if packed == "zip":
        return make_zip(path, content)
    path.write_bytes(PACKERS[packed](tar(content)))
    return path


def noise(seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(3000)


def read_all(path: Path, names: list[str]) -> Content:
    return {name: b"".join(chunks) for name, chunks in bodies(path, names)}


@pytest.fixture(params=["zip", *PACKERS])
def packed(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def peak() -> Iterator[Peak]:
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_members_and_their_bytes_come_back_in_the_archives_order(tmp_path: Path, packed: str) -> None:
    content = {"b/2.jpg": b"two" * 300_000, "a/1.jpg": b"", "meta.csv": b"x,y\n", "caf\u00e9.png": b"4"}
    path = make(tmp_path / "x", packed, content)
    assert kind(path) == packed
    assert one_pass(path) is (packed != "zip")
    assert [(member.name, member.refused) for member in members(path)] == [(name, None) for name in content]
    found = read_all(path, ["caf\u00e9.png", "b/2.jpg", "a/1.jpg", "none"])
    assert list(found.items()) == [(name, body) for name, body in content.items() if name != "meta.csv"]
    assert read_member(path, "meta.csv", limit=100) == b"x,y\n"


def test_a_body_that_is_not_taken_does_not_keep_the_next_from_being_read(tmp_path: Path, packed: str) -> None:
    path = make(tmp_path / "x", packed, {"a": bytes(range(256)) * 9000, "b": b"second"})
    got = []
    for name, chunks in bodies(path, ["a", "b"]):
        got.append((name, next(chunks)[:6]))
    assert got == [("a", bytes(range(6))), ("b", b"second")]


def test_a_member_that_is_missing_or_too_large_is_one_clear_error(tmp_path: Path, packed: str) -> None:
    path = make(tmp_path / "x", packed, {"meta.csv": b"x" * 1000})
    with pytest.raises(SourceError, match=r"There is no other.csv"):
        read_member(path, "other.csv", limit=10)
    with pytest.raises(SourceError, match="more than 999 bytes"):
        read_member(path, "meta.csv", limit=999)


def test_what_gzip_has_packed_in_several_pieces_comes_back_whole() -> None:
    pieces = [noise(1) * 200, b"", b"end"]
    assert gunzipped(b"".join(map(gzip.compress, pieces)), limit=600_003) == b"".join(pieces)


def test_a_gzip_bomb_is_stopped_on_the_way(peak: Peak) -> None:
    content = gzip.compress(bytes(300_000_000), 9)
    tracemalloc.reset_peak()
    with pytest.raises(ImageRefusedError, match=f"too-large: more than {100 * len(content):,} bytes"):
        gunzipped(content, limit=1 << 40)
    with pytest.raises(ImageRefusedError, match="too-large: more than 2,000,000 bytes"):
        gunzipped(content, limit=2_000_000)
    assert peak() < 70_000_000  # a hundred times 0.3 MB, and room for the buffer to grow


def test_names_that_leave_the_folder_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    bad = ["../up.jpg", "a/../../up.jpg", "/abs.jpg", "..\\up.jpg", "C:\\x.jpg", "\\\\host\\x.jpg"]
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in bad:
            archive.addfile(tarfile.TarInfo(name))
        for number, type_ in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(f"special{number}")
            info.type, info.linkname = type_, "/etc/passwd"
            archive.addfile(info)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    path = tmp_path / "x.tar"
    path.write_bytes(buffer.getvalue())
    refused = {member.name: member.refused for member in members(path)}
    assert refused == dict.fromkeys(bad, "unsafe-name") | {f"special{n}": "not-a-file" for n in range(4)}
    assert read_all(path, list(refused)) == {}

    zipped = make_zip(tmp_path / "x.zip", dict.fromkeys(bad, b"x"))
    with zipfile.ZipFile(zipped, "a") as archive_zip:
        link = zipfile.ZipInfo("link.jpg")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive_zip.writestr(link, "/etc/passwd")
        archive_zip.writestr("folder/", b"")
    assert {member.name: member.refused for member in members(zipped)} == dict.fromkeys(bad, "unsafe-name") | {
        "link.jpg": "not-a-file"
    }
    assert read_all(zipped, [*bad, "link.jpg"]) == {}


def test_locked_members_and_ways_of_packing_without_a_bound_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"open.jpg": b"x", "locked.jpg": b"secret"})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag stands in both headers
        content[content.rindex(signature) + offset] |= 1
    path.write_bytes(bytes(content))
    assert [member.refused for member in members(path)] == [None, "encrypted"]
    assert read_all(path, ["open.jpg", "locked.jpg"]) == {"open.jpg": b"x"}
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        odd = make_zip(tmp_path / "odd.zip", {"a.jpg": b"x"}, compression)
        assert [member.refused for member in members(odd)] == ["other-compression"]


def test_of_two_members_of_one_name_the_first_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    one, two = tar({"a.jpg": b"first"}), tar({"a.jpg": b"second"})
    path.write_bytes(one[:1024] + two)
    assert read_all(path, ["a.jpg"]) == {"a.jpg": b"first"}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jpg", b"first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.jpg", b"second")
    assert read_all(tmp_path / "x.zip", ["a.jpg"]) == {"a.jpg": b"first"}


def test_a_zip_bomb_is_stopped_on_the_way_whatever_its_header_says(tmp_path: Path, peak: Peak) -> None:
    path = make_zip(tmp_path / "x.zip", {"bomb.jpg": bytes(300_000_000)})
    content = path.read_bytes().replace((300_000_000).to_bytes(4, "little"), (2_000_000_000).to_bytes(4, "little"))
    path.write_bytes(content)
    read = 0
    tracemalloc.reset_peak()
    found = bodies(path, ["bomb.jpg"])
    with pytest.raises(ImageRefusedError, match=r"too-large: .* bytes unpack to more than"):  # noqa: PT012 - counts on the way
        for chunk in next(found)[1]:
            read += len(chunk)
    assert read < 40_000_000
    assert peak() < 20_000_000


def test_a_tar_that_unpacks_without_end_is_given_up(tmp_path: Path) -> None:
    info = tarfile.TarInfo("bomb.jpg")
    info.size = 1 << 40
    path = tmp_path / "x.tar.xz"
    path.write_bytes(lzma.compress(info.tobuf()) + lzma.compress(bytes(1 << 25)) * 33)  # streams add up
    with pytest.raises(SourceError, match="unpacks to more than"):
        list(members(path))


def test_a_tar_header_made_to_fill_the_memory_is_refused(tmp_path: Path, peak: Peak) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 200_000_000
    path = tmp_path / "x.tar.gz"
    with gzip.open(path, "wb", 1) as stream:
        stream.write(info.tobuf())
        stream.write(bytes(200_000_000))
    tracemalloc.reset_peak()
    with pytest.raises(SourceError, match="a header of 200,000,000 bytes"):
        list(members(path))
    assert peak() < 20_000_000


def test_a_zip_member_whose_bytes_are_wrong_is_damaged_and_the_others_are_read(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a": b"first" * 9, "b": b"second" * 9, "c": b"third" * 9}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"secondsecond", b"sXcondsecond", 1))
    read: dict[str, bytes | str] = {}
    for name, chunks in bodies(path, ["a", "b", "c"]):
        try:
            read[name] = b"".join(chunks)
        except ImageRefusedError as error:
            read[name] = error.outcome
    assert read == {"a": b"first" * 9, "b": "damaged", "c": b"third" * 9}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_an_archive_that_is_cut_is_damaged(tmp_path: Path, packed: str, share: float) -> None:
    path = make(tmp_path / "x", packed, {f"{n}.jpg": noise(n) for n in range(20)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content.rstrip(bytes(1))) * share)])
    with pytest.raises(SourceError, match=r"damaged|not a zip"):
        list(members(path))


def test_a_tar_whose_header_is_overwritten_in_the_middle_is_damaged_and_not_at_its_end(tmp_path: Path) -> None:
    content = bytearray(tar({"a": b"x" * 512, "b": b"y" * 512, "c": b"z"}))
    content[1024:1100] = b"?" * 76
    path = tmp_path / "x.tar"
    path.write_bytes(bytes(content))
    with pytest.raises(SourceError, match="no header at byte 1,024"):
        list(members(path))
    with pytest.raises(SourceError, match="damaged"):
        list(bodies(path, ["a", "c"]))


def test_a_packed_tar_whose_checksum_is_wrong_is_damaged(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(tar({"a": b"x"}) + bytes(1_000_000)))  # more than is read at once
    content[-8] ^= 1
    path = tmp_path / "x.tgz"
    path.write_bytes(bytes(content))
    with pytest.raises(SourceError, match="CRC"):
        list(members(path))


@pytest.mark.parametrize("content", [b"", b"Rar!\x1a\x07\x01\x00 ", b"\xff\xd8\xff\xe0 a photo" * 100, b"(\xb5/\xfd"])
def test_what_is_no_archive_is_refused_with_its_first_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="is not a zip or tar") as caught:
        kind(path)
    assert repr(content[:8]) in caught.value.received or caught.value.received == "an empty file"
    assert not one_pass(path)


def test_a_packed_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n" * 200))
    with pytest.raises(SourceError, match="damaged or cannot be read"):
        list(members(path))


def test_missing_archives_and_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="There is no archive"):
        kind(tmp_path / "none.zip")
    with pytest.raises(SourceError, match="source: folder"):
        kind(tmp_path)
