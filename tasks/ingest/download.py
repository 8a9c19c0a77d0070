"""The body of one address over all its attempts: checked, unpacked, and continued where it broke off.

Reads answers; writes the body, to a `.part` file where it is large. Knows neither hosts nor images.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from dataclasses import dataclass, replace

import httpx

from tasks.core.errors import ImageRefusedError
from tasks.core.hosts import origin
from tasks.core.tables import KEPT
from tasks.core.transport import http_date
from tasks.ingest.body import Body, Fetched, Slot
from tasks.ingest.content_encoding import ENCODINGS, PLAIN, Inflater
from tasks.ingest.robots import AGENT, opted_out

_RANGE = re.compile(r"bytes (?P<first>[0-9]{1,18})-(?P<last>[0-9]{1,18})/(?P<total>[0-9]{1,18}|\*)", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,18}")  # Python refuses to read numbers of thousands of digits
_PART = 206
_NO_SUCH_RANGE = 416


@dataclass(frozen=True)
class _Bookmark:
    """What the rest of a body that broke off can be asked by."""

    url: httpx.URL
    validator: str
    """A strong ETag, else a Last-Modified date: the server sends all anew when it has changed."""
    total: int | None
    """Bytes of the whole."""


class Download:
    """One address' body over all its attempts, and the slot it takes up while it comes."""

    def __init__(self, body: Body, *, limit: int, obey_tag: bool, room: asyncio.Semaphore) -> None:
        """Nothing is asked yet.

        Args:
            body: where the bytes go.
            limit: bytes a body may have, on the network and unpacked.
            obey_tag: whether an `X-Robots-Tag` is obeyed.
            room: slots for bodies; one is held while a body comes, and until it is left.
        """
        self.body = body
        self.login: dict[tuple[str, str, int], dict[str, str]] = {}
        """Headers that one origin, and no other, is sent."""
        self.received = 0
        self.seconds: float | None = None
        self.etag: str | None = None
        self.last_modified: str | None = None
        self.slot = Slot(room)
        self._limit, self._obey_tag = limit, obey_tag
        self._bookmark: _Bookmark | None = None
        self._rest = False  # whether the request under way asks for the rest only

    def headers(self, url: httpx.URL) -> dict[str, str]:
        """Ask for the rest where some of the body lies here, and for all of it else."""
        mark = self._bookmark
        login = self.login.get(origin(url), {}) if self.login else {}
        self._rest = mark is not None and mark.url == url and self.resumable
        if mark is None or not self._rest:
            return login
        return {**login, "Range": f"bytes={self.body.size}-", "If-Range": mark.validator}

    @property
    def resumable(self) -> bool:
        """Whether some of the body lies here, and its rest can be asked for."""
        return self._bookmark is not None and self.body.size > 0

    def forget(self) -> None:
        """Drop what has come: the next request asks for all."""
        self.body.discard()
        self._bookmark = None

    def judged(self, result: Fetched) -> Fetched:
        """Return `result`, or what it means where only the rest was asked for."""
        if self._rest and result.http_status == _NO_SUCH_RANGE:
            return self._lost("the rest of the body is not to be had: HTTP 416", _NO_SUCH_RANGE)
        return result

    async def read(self, answer: httpx.Response) -> Fetched:
        """Read the body of a 2xx answer, or as much of it as tells that it is not wanted.

        Raises:
            WorkspaceError: the body cannot be written (disk full, no permission).
        """
        headers, status = answer.headers, answer.status_code
        rest = status == _PART and self._rest
        if not rest:
            self.etag, self.last_modified = headers.get("ETag"), headers.get("Last-Modified")
        if self._obey_tag and (tag := opted_out(headers, AGENT)):
            return Fetched("opted-out", tag, status)
        encoding = headers.get("Content-Encoding", "").strip().lower()
        if encoding not in PLAIN and encoding not in ENCODINGS:
            reason = f"sent as {encoding} although plain bytes were asked for"
            return Fetched("not-an-image", reason, status)
        length = headers.get("Content-Length", "")
        announced = int(length) if _LENGTH.fullmatch(length) else None
        if rest:
            total, reason = self._continued(headers)
        else:
            total, reason = announced, _piece(answer)
        if reason:
            return self._lost(f"the rest of the body is not to be had: {reason}" if rest else reason, status)
        if not rest:
            self.forget()
        whole = max(total or 0, self.body.size + (announced or 0))
        if whole > self._limit:
            return Fetched("too-large", f"{whole:,} bytes announced, {self._limit:,} allowed", status)
        if encoding not in PLAIN:
            return await self._unpack(answer, Inflater(encoding))
        self._mark(answer.request.url, headers, total)
        return await self._receive(answer, total)

    def _continued(self, headers: httpx.Headers) -> tuple[int | None, str]:
        """Return the bytes of the whole, where a 206 says them, and why it is not what was asked for, if so."""
        encoding = headers.get("Content-Encoding", "").strip().lower()
        if encoding not in PLAIN:
            return None, f"it is sent as {encoding}"
        told = headers.get("Content-Range", "")
        found = _RANGE.fullmatch(told.strip())
        if found is None or int(found["first"]) != self.body.size:
            return None, f"bytes from {self.body.size:,} were asked for, sent is {told or 'a part without a place'}"
        total = None if found["total"] == "*" else int(found["total"])
        mark = self._bookmark
        if mark is None:
            return total, ""
        if mark.total is not None and total != mark.total:
            return None, f"it is of {told.rpartition('/')[2]} bytes, the first part was of {mark.total:,}"
        validator = headers.get("ETag" if mark.validator.startswith('"') else "Last-Modified", mark.validator)
        if validator != mark.validator:  # a server that does not heed If-Range
            return None, f"it is of another version: {validator} instead of {mark.validator}"
        self._bookmark = replace(mark, total=total)
        return total, ""

    def _mark(self, url: httpx.URL, headers: httpx.Headers, total: int | None) -> None:
        """Remember how to ask for the rest, if the body breaks off and the server can send one."""
        validator = _strong(headers)
        if validator and headers.get("Accept-Ranges", "").strip().lower() == "bytes":
            self._bookmark = _Bookmark(url, validator, total)

    async def _receive(self, answer: httpx.Response, total: int | None) -> Fetched:
        try:
            async for chunk in answer.aiter_raw():
                self.body.append(chunk)
        except ImageRefusedError as error:
            return Fetched(error.outcome, error.reason, answer.status_code)
        if total is not None and self.body.size < total:  # a part that was sent in parts
            return Fetched("incomplete", f"{self.body.size:,} of {total:,} bytes came", answer.status_code)
        return Fetched(KEPT, None, answer.status_code)

    async def _unpack(self, answer: httpx.Response, inflater: Inflater) -> Fetched:
        wire = 0
        try:
            async for chunk in answer.aiter_raw():
                wire += len(chunk)
                if wire > self._limit:  # of empty blocks, say, which unpack to nothing
                    return Fetched("too-large", f"more than {self._limit:,} bytes", answer.status_code)
                for piece in inflater.unpack(chunk):
                    self.body.append(piece)
        except ImageRefusedError as error:
            return Fetched(error.outcome, f"{error.reason}, from {wire:,} on the network", answer.status_code)
        except zlib.error as error:
            return Fetched("damaged", f"all bytes came, and do not unpack: {error}", answer.status_code)
        if wire and not inflater.complete:
            return Fetched("incomplete", "the compressed data ends early", answer.status_code)
        return Fetched(KEPT, None, answer.status_code)

    def _lost(self, why: str, status: int) -> Fetched:
        """Drop what has come, as the whole of it is not to be had so."""
        self.forget()
        return Fetched("incomplete", why, status)


def _piece(answer: httpx.Response) -> str:
    """Say what is wrong with an answer to a request for all: a 206 that is not of all of it; "" where nothing is."""
    told = answer.headers.get("Content-Range", "")
    found = _RANGE.fullmatch(told.strip())
    if answer.status_code != _PART or (found and not int(found["first"]) and _ends(found)):
        return ""
    return f"all of it was asked for, sent is {told or 'a part without a place'}"


def _ends(found: re.Match[str]) -> bool:
    return found["total"] != "*" and int(found["last"]) + 1 == int(found["total"])


def _strong(headers: httpx.Headers) -> str | None:
    """Return what tells a file from all its other versions: a strong ETag, else a date; None where nothing does.

    A file may change twice in a second, so a date counts only when the answer is younger by one (RFC 9110, 8.8.2.2).
    """
    etag = headers.get("ETag", "")
    if etag.startswith('"') and etag.isascii():  # no other can be sent back
        return str(etag)
    text = headers.get("Last-Modified", "")
    modified, sent = http_date(text), http_date(headers.get("Date", ""))
    return text if modified and sent and (sent - modified).total_seconds() >= 1 and text.isascii() else None
