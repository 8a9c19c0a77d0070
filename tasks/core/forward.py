"""What tarfile reads from: a stream that goes forward only, and can neither fill the memory nor unpack for ever.

Reads a stream; writes nothing.
"""

from __future__ import annotations

import io
import tarfile
from typing import IO

CHUNK = 1 << 18  # bytes read at once
_LONGEST_HEADER = 1 << 20  # bytes; a longer one is made to fill the memory: tarfile reads a header in one piece


class Forward(io.BufferedIOBase):
    """A stream read front to back.

    `limit` is the number of bytes after which it is given up, for streams that are unpacked on the way; None for
    files, where `seek` costs nothing.
    """

    def __init__(self, stream: IO[bytes], limit: int | None) -> None:
        self._stream, self._limit, self._position = stream, limit, 0
        self.last = b""  # what the last call of `read` returned

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next `size` bytes."""
        if size is None or not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes" if size else "a header without a size")
        self.last = self._stream.read(size)
        self._position += len(self.last)
        if self._limit is not None and self._position > self._limit:
            raise tarfile.ReadError(f"it unpacks to more than {self._limit:,} bytes, an absurd size for its own")
        return self.last

    def tell(self) -> int:
        """Return the number of bytes read or passed over."""
        return self._position

    def seek(self, position: int, whence: int = 0, /) -> int:
        """Pass over the bytes up to `position`; where they end before, the next `read` returns none."""
        if self._limit is None:
            self._position = self._stream.seek(position, whence)
            return self._position
        if position < self._position:
            raise tarfile.ReadError("a header that points backwards")
        while self._position < position and self.read(min(CHUNK, position - self._position)):
            pass
        return self._position
