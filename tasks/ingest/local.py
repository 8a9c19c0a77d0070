"""Images of this machine: files and members of archives, copied as downloads are, never moved or linked.

Reads the files that a folder or an archive source named; writes `.part` files. Knows nothing of images.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from tasks.core.archives import bodies
from tasks.core.errors import ImageRefusedError, SourceError
from tasks.core.local import place
from tasks.core.tables import KEPT
from tasks.ingest.address import Address
from tasks.ingest.body import Body
from tasks.ingest.fetch import Fetched

_CHUNK = 1 << 18  # bytes read at once


def read_local(addresses: Iterable[Address], *, max_bytes: int) -> Iterator[tuple[Address, Fetched]]:
    """Copy each of `addresses` to its part; yield them as they are done: files in their order, then each archive's.

    An archive is opened once, however many of its members are asked for, and read front to back.

    Raises:
        WorkspaceError: a part cannot be written (disk full, no permission).
    """
    archives: dict[Path, dict[str, Address]] = {}
    for address in addresses:
        found = place(address.url)
        if found is None:
            yield address, Fetched("invalid-address", "not the address of a file of this machine", attempts=0)
        elif found[1] is None:
            yield address, _receive(_file(found[0]), address.part, max_bytes)
        else:
            archives.setdefault(found[0], {})[found[1]] = address
    for path, wanted in archives.items():
        yield from _members(path, wanted, max_bytes)


def _members(path: Path, wanted: dict[str, Address], max_bytes: int) -> Iterator[tuple[Address, Fetched]]:
    rest = dict(wanted)
    missing = Fetched("not-found", "no such member of the archive")
    try:
        for name, chunks in bodies(path, wanted):
            address = rest.pop(name)
            yield address, _receive(chunks, address.part, max_bytes)
    except SourceError as error:
        reason = f"{error.what} {error.received}".replace("\n", " ").strip()
        missing = Fetched(_outcome(error.__cause__, path), reason)
    for address in rest.values():
        yield address, missing


def _outcome(cause: BaseException | None, path: Path) -> str:
    """Name what becomes of the members of an archive that could not be read, or not to its end."""
    if not path.exists():
        return "not-found"
    if isinstance(cause, PermissionError):
        return "forbidden"
    # An error with a number comes from the disk and may pass; the others are the archive's own.
    return "unreachable" if isinstance(cause, OSError) and cause.errno is not None else "damaged"


def _file(path: Path) -> Iterator[bytes]:
    """Yield the file in pieces. Anything else than a file is not opened: a pipe would never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageRefusedError("not-an-image", "not a file")
        with path.open("rb", buffering=0) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageRefusedError("not-found", "no such file") from error
    except PermissionError as error:
        raise ImageRefusedError("forbidden", f"this user may not read it: {error.strerror}") from error
    except OSError as error:
        raise ImageRefusedError("unreachable", f"{type(error).__name__}: {error.strerror}") from error


def _receive(chunks: Iterator[bytes], part: Path, limit: int) -> Fetched:
    body = Body(part, limit)
    try:
        for chunk in chunks:
            body.append(chunk)
    except ImageRefusedError as error:
        body.discard()
        return Fetched(error.outcome, error.reason)
    return Fetched(KEPT, body=body)
