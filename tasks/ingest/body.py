"""What has come of one address so far: its bytes, in memory while they are few, in a file beyond, and an outcome.

Owns one `.part` file, which most images never need. Knows neither the network nor images.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from tasks.core.errors import ImageRefusedError
from tasks.core.files import storing, write_all

MEMORY = 1 << 20  # bytes; a file of its own costs more time than the download of a small image


class Body:
    """The bytes of one image as they come, at most `limit` of them."""

    def __init__(self, part: Path, limit: int) -> None:
        """Nothing is written to `part` before there are more than MEMORY bytes."""
        self.size = 0
        self._part, self._limit = part, limit
        self._memory = bytearray()
        self._stream: FileIO | None = None

    def append(self, chunk: bytes) -> None:
        """Add what came.

        Raises:
            ImageRefusedError: `too-large`.
            WorkspaceError: the file cannot be written (disk full, no permission).
        """
        self.size += len(chunk)
        if self.size > self._limit:
            raise ImageRefusedError("too-large", f"more than {self._limit:,} bytes")
        if self._stream is None and self.size <= MEMORY:
            self._memory += chunk
            return
        if self._stream is None:
            with storing(self._part):
                self._stream = self._part.open("wb", buffering=0)
            write_all(self._stream, bytes(self._memory))
            self._memory = bytearray()
        write_all(self._stream, chunk)

    @property
    def content(self) -> bytearray | Path:
        """The bytes, or the file that holds them."""
        return self._memory if self._stream is None else self._part

    def sha256(self) -> str:
        """Return the SHA-256 of the bytes, hexadecimal."""
        if self._stream is None:
            return hashlib.sha256(self._memory).hexdigest()
        with self._part.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def discard(self) -> None:
        """Forget the bytes."""
        self.size, self._memory = 0, bytearray()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            with suppress(OSError):
                self._part.unlink(missing_ok=True)

    def replace(self, data: bytes) -> None:
        """Take `data` for the bytes, whatever the limit."""
        self.discard()
        self.size, self._memory = len(data), bytearray(data)

    def move_to(self, target: Path) -> None:
        """Give the bytes their place: written beside it and renamed, so that nobody sees half of them.

        Where a file of the same size stands there already, it stays: its name says that it holds the same bytes.

        Raises:
            WorkspaceError: it cannot be written.
        """
        with storing(target):
            if _size(target) == self.size:
                self.discard()
                return
            if self._stream is None:
                with self._part.open("wb", buffering=0) as stream:
                    write_all(stream, bytes(self._memory))
            else:
                self._stream.close()
            try:
                self._part.replace(target)
            except FileNotFoundError:  # the first of its folder
                target.parent.mkdir(parents=True, exist_ok=True)
                self._part.replace(target)


@dataclass(frozen=True)
class Fetched:
    """What became of one address. `outcome` is `kept` while nothing speaks against it."""

    outcome: str
    reason: str | None = None
    http_status: int | None = None
    attempts: int = 1
    received: int = 0
    """Bytes of bodies that came over the network, in all attempts."""
    seconds: float | None = None
    """The last request, from sending it to the last byte."""
    etag: str | None = None
    last_modified: str | None = None
    """As the server wrote it."""
    body: Body | None = None
    """The bytes, where `outcome` is `kept`."""
    final: bool = False
    """Whether asking again within this run cannot help, though the outcome may pass."""


class Slot:
    """A place for one body among those that come and those that wait to be looked at: when all are taken, none comes.

    So downloads wait for inspectors, and what waits in memory is bounded.
    """

    def __init__(self, room: asyncio.Semaphore) -> None:
        """Take none yet."""
        self._room, self._held = room, False

    async def take(self) -> None:
        """Wait for a place; at once where one is held."""
        if not self._held:
            await self._room.acquire()
            self._held = True

    def leave(self) -> None:
        """Give the place back, where one is held."""
        if self._held:
            self._held = False
            self._room.release()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
