"""Bodies sent compressed although plain bytes were asked for, unpacked in small steps.

Owns no file. A kilobyte may unpack to gigabytes, so nothing here ever holds more than one step of the result.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_STEP = 1 << 16  # bytes unpacked at once
_GZIP = 16 + zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
_ZLIB_METHOD = 8
_MAGIC = b"\x1f\x8b"

PLAIN = frozenset({"", "identity"})
ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})


class Inflater:
    """Unpacks one body. gzip files may have several members; `deflate` is sent with and without zlib's header."""

    def __init__(self, encoding: str) -> None:
        """Take one of ENCODINGS."""
        self._gzip = encoding != "deflate"
        self._stream: zlib._Decompress | None = None
        self._first = b""

    @property
    def complete(self) -> bool:
        """Whether the compressed data has come to its end."""
        return self._stream is not None and self._stream.eof

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what `chunk` unpacks to, at most 64 KiB at a time; what follows the end is passed over.

        Raises:
            zlib.error: it does not unpack.
        """
        data = self._first + chunk
        self._first = b""
        while data:
            if self._stream is None or self._stream.eof:
                if len(data) < len(_MAGIC):
                    self._first = data  # a byte more tells what it is
                    return
                if self._stream is not None and not (self._gzip and data.startswith(_MAGIC)):
                    return
                self._stream = zlib.decompressobj(self._window(data))
            piece = self._stream.decompress(data, _STEP)
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if piece:
                yield piece
            while len(piece) == _STEP and not data and not self._stream.eof:  # what the last step held back
                piece = self._stream.decompress(b"", _STEP)
                yield piece

    def _window(self, start: bytes) -> int:
        if self._gzip:
            return _GZIP
        # RFC 1950: the method in the low bits of the first byte, and both bytes together a multiple of 31.
        zlib_header = start[0] & 0x0F == _ZLIB_METHOD and int.from_bytes(start[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if zlib_header else _RAW
