"""Zip and tar files (plain, gz, bz2, xz) read where they lie, front to back, with bounded memory.

Owns what of an archive is refused: names that leave the folder, links, devices, locked members, bombs. Reads archives;
writes nothing, and nothing is ever unpacked under a name of the archive's.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

from tasks.core.errors import ImageRefusedError, SourceError
from tasks.core.forward import CHUNK, Forward

Kind = Literal["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]

_PACKED: tuple[tuple[bytes, Kind], ...] = (
    (b"\x1f\x8b", "tar.gz"),
    (b"BZh", "tar.bz2"),
    (b"\xfd7zXZ\0", "tar.xz"),
)
_RATIO = 100  # unpacked to packed; photos have 1, flat drawings without compression of their own below 50
_FREE = {"member": 1 << 20, "archive": 1 << 30}  # bytes that may be unpacked whatever the ratio
_PLAIN_ZIP = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # zipfile unpacks the others without a limit to its memory
_LOCKED = 0x1  # a zip member's flag
# What zipfile, tarfile and the decompressors raise on bytes that somebody made up.
_BROKEN = (
    OSError, EOFError, ValueError, IndexError, RuntimeError, MemoryError, struct.error,
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError,
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str
    """Its path in the archive; bytes that are no UTF-8 as surrogates."""
    refused: str | None
    """Why it is never read: `unsafe-name`, `not-a-file`, `encrypted`, `other-compression`; None = it may be."""


def kind(path: Path) -> Kind:
    """Say what the archive at `path` is, by its bytes.

    Raises:
        SourceError: there is none, or it is something else.
    """
    with _reading(path):
        with path.open("rb") as stream:
            head = stream.read(tarfile.BLOCKSIZE)
        for magic, name in _PACKED:
            if head.startswith(magic):
                return name
        with suppress(tarfile.TarError):  # before zip: a zip within a tar has its directory at the end as well
            tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
            return "tar"
        if zipfile.is_zipfile(path):
            return "zip"
    raise SourceError(
        f"{path} is not a zip or tar file.",
        received=f"it starts with {head[:8]!r}" if head else "an empty file",
        hint="Zip, and tar plain or packed with gz, bz2 or xz, are read; others must be unpacked into a folder first.",
    )


def one_pass(path: Path) -> bool:
    """Say whether the archive at `path` can only be read front to back: a tar file; anything unreadable is not."""
    try:
        return kind(path) != "zip"
    except SourceError:
        return False


def members(path: Path) -> Iterator[Member]:
    """Yield every file in the archive, in its order, folders left out. A packed tar file is unpacked to its end.

    Raises:
        SourceError: it cannot be read, is damaged, or unpacks to an absurd size.
    """
    with _reading(path):
        if kind(path) == "zip":
            with zipfile.ZipFile(path) as archive:
                yield from (
                    Member(info.filename, _zip_refusal(info)) for info in archive.infolist() if not _folder(info)
                )
        else:
            for _, info in _tar(path, to_end=True):
                if not info.isdir():
                    yield Member(info.name, _tar_refusal(info))


def bodies(path: Path, names: Collection[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield each of the members `names` that is there, as its name and its bytes in pieces, in the archive's order.

    The pieces must be taken before the next member is asked for, and raise ImageRefusedError (`damaged`, `unreadable`,
    `too-large`, `unreachable`) where they cannot be read. Of several members of one name the first is read.

    Raises:
        SourceError: the archive cannot be read, or not further.
    """
    wanted = set(names)
    with _reading(path):
        if kind(path) == "zip":
            yield from _zip_bodies(path, wanted)
        else:
            for archive, info in _tar(path):
                if info.name in wanted and not info.isdir() and not _tar_refusal(info):
                    wanted.remove(info.name)
                    yield info.name, _tar_chunks(archive, info)
                    if not wanted:
                        return


def read_member(path: Path, name: str, *, limit: int) -> bytes:
    """Return the whole member `name`, of at the most `limit` bytes.

    Raises:
        SourceError: it is not there, cannot be read, or is larger.
    """
    try:
        found = next((_whole(chunks, limit) for _, chunks in bodies(path, {name})), None)
    except ImageRefusedError as error:
        raise SourceError(
            f"{name} in the archive {path} cannot be read.",
            received=error.what,
            hint="Unpack it, and give its own path or that of the folder.",
        ) from error
    if found is None:
        raise SourceError(f"There is no {name} in the archive {path}.", hint="Upper and lower case count.")
    return found


def gunzipped(content: bytes, *, limit: int) -> bytes:
    """Return what gzip has packed, of at the most `limit` bytes and a hundred times its size.

    Raises:
        ImageRefusedError: `damaged` or `too-large`; no more than that is unpacked to find out.
    """
    most = min(limit, max(_FREE["member"], _RATIO * len(content)))
    with _member_errors(), gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        return _whole(iter(lambda: stream.read(CHUNK), b""), most)


def _whole(chunks: Iterator[bytes], limit: int) -> bytes:
    content = io.BytesIO()  # hands over what it holds without a copy
    for chunk in chunks:
        content.write(chunk)
        if content.tell() > limit:
            raise ImageRefusedError("too-large", f"more than {limit:,} bytes")
    return content.getvalue()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise SourceError(
            f"There is no archive {path}.", hint="Correct `path:` in the recipe (it starts at the recipe's folder)."
        ) from None
    except IsADirectoryError:
        raise SourceError(f"{path} is a folder.", hint="Use `source: folder` for it.") from None
    except PermissionError as error:
        raise SourceError(f"The archive {path} may not be read.", received=str(error)) from error
    except _BROKEN as error:
        raise SourceError(
            f"The archive {path} is damaged or cannot be read to its end.",
            received=f"{type(error).__name__}: {error}",
            hint="Fetch or pack it again; images that have been read from it already are kept.",
        ) from error


def _unsafe(name: str) -> bool:
    """Say whether a member's name is none, or points out of the folder that it would be unpacked into."""
    return (
        not name.strip("./\\")
        or name.startswith(("/", "\\"))
        or bool(re.match(r"[A-Za-z]:", name))
        or ".." in re.split(r"[/\\]", name)
    )


def _folder(info: zipfile.ZipInfo) -> bool:
    return info.is_dir() or info.filename.endswith("\\")


def _zip_refusal(info: zipfile.ZipInfo) -> str | None:
    unix_type = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was made elsewhere
    if _unsafe(info.filename):
        return "unsafe-name"
    if unix_type not in {0, stat.S_IFREG}:
        return "not-a-file"
    if info.flag_bits & _LOCKED:
        return "encrypted"
    return None if info.compress_type in _PLAIN_ZIP else "other-compression"


def _zip_bodies(path: Path, wanted: set[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        first: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            if info.filename in wanted and not _zip_refusal(info):
                first.setdefault(info.filename, info)
        for info in sorted(first.values(), key=lambda info: info.header_offset):
            yield info.filename, _zip_chunks(archive, info)


def _zip_chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    most = max(_FREE["member"], _RATIO * info.compress_size)
    with _member_errors(), archive.open(info) as stream:
        size = 0
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise ImageRefusedError("too-large", f"{info.compress_size:,} bytes unpack to more than {most:,}")
            yield chunk


def _tar_refusal(info: tarfile.TarInfo) -> str | None:
    if _unsafe(info.name):
        return "unsafe-name"
    return None if info.isreg() and not info.issparse() else "not-a-file"


def _tar_chunks(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    with _member_errors():
        stream = archive.extractfile(info)
        while stream and (chunk := stream.read(CHUNK)):
            yield chunk


@contextmanager
def _member_errors() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        # An error with a number comes from the disk and may pass; the others are the archive's own.
        passing = isinstance(error, OSError) and error.errno is not None
        reason = f"{type(error).__name__}: {error}"
        raise ImageRefusedError("unreachable" if passing else "damaged", reason) from error


def _tar(path: Path, *, to_end: bool = False) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield the members front to back. Their bytes can be read until the next one is asked for."""
    packed = kind(path)
    with path.open("rb") as raw, _unpacking(raw, packed) as stream:
        limit = None if packed == "tar" else max(_FREE["archive"], _RATIO * path.stat().st_size)
        forward = Forward(stream, limit)
        with tarfile.open(fileobj=cast("IO[bytes]", forward), mode="r:") as archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps them all, 1 KB each
                yield archive, info
            if forward.last.strip(b"\0"):  # tarfile takes a header that is none for the end
                raise tarfile.ReadError(f"no header at byte {archive.offset:,}")
            while to_end and forward.read(CHUNK):  # the checksum stands at the very end
                pass


def _unpacking(raw: IO[bytes], packed: Kind) -> IO[bytes]:
    if packed == "tar.gz":
        return cast("IO[bytes]", io.BufferedReader(gzip.GzipFile(fileobj=raw), CHUNK))
    if packed == "tar.bz2":
        return cast("IO[bytes]", bz2.BZ2File(raw))
    return cast("IO[bytes]", lzma.LZMAFile(raw)) if packed == "tar.xz" else raw
