"""Files of the workspace: written whole or not at all, locked by the process that works on them.

Every write of every stage goes through here, so a full disk or a missing permission becomes one
readable error, and a reader never sees half a file.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from tasks.core.errors import BusyError, HarvestmanError, WorkspaceError

# The names that `write_atomic`, `publishing` and `check_writable` make up.
_UNFINISHED = re.compile(r"\.(?:.+\.[0-9a-f]{8}\.part|probe-[0-9a-f]{8})", re.DOTALL)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def storage_error(error: OSError, path: Path) -> WorkspaceError:
    """Translate an OSError met while writing `path` into words."""
    if error.errno in _FULL:
        return WorkspaceError(
            f"The disk is full: {path} could not be written.",
            received=f"{error.strerror} ({errno.errorcode.get(error.errno or 0, '?')})",
            hint="Free some space and run the same command again: what is stored is kept and not fetched again.",
        )
    return WorkspaceError(
        f"{path} could not be written.",
        received=f"{type(error).__name__}: {error.strerror or error}",
        hint="The workspace must be a folder that this user may write; choose another with HARVESTMAN_WORKSPACE.",
    )


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Translate OSErrors of the block, which writes `path`, into WorkspaceError."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it there."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as stream:
                write(stream)
            part.replace(path)
        except BaseException:  # Ctrl-C too must leave no half file; raised again
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
    return path


def write_all(stream: io.FileIO, data: bytes) -> None:
    """Hand all of `data` to the kernel through an unbuffered stream: nothing waits in this process to be lost.

    A buffered stream on a full disk keeps what it could not write and fails once more when closed.
    """
    with storing(Path(str(stream.name))):
        rest = memoryview(data)
        while rest:
            rest = rest[stream.write(rest) :]


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text to `path`, whole or not at all."""
    return write_atomic(path, lambda stream: stream.write(text.encode()))


def write_json(path: Path, value: object) -> Path:
    """Write `value` to `path` as indented JSON, whole or not at all."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Read the JSON file `path`."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` when the block ends well, and vanishes when not.

    Two processes may publish the same folder at once: its name is the fingerprint of its content, so
    the first to finish wins and the other's copy is dropped.
    """
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    with storing(folder):
        part.mkdir(parents=True)
    try:
        with storing(folder):
            yield part
            with suppress(FileExistsError):
                _rename_folder(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _rename_folder(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        raise FileExistsError(error.errno, error.strerror, str(folder)) from error


@contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path` for the block. The kernel releases it however the process ends.

    Raises:
        BusyError: `wait` is false and another process holds it.
        WorkspaceError: it cannot be written.
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab+", buffering=0)
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            raise BusyError(
                f"Another run is at work on {what}.",
                received=f"Process {stream.readall().decode().strip() or 'unknown'} holds {path}.",
                hint="Wait until it has ended, or stop it, and run the same command again.",
            ) from error
        with storing(path):
            stream.truncate(0)
        write_all(stream, str(os.getpid()).encode())
        yield


def check_writable(folder: Path) -> None:
    """Raise WorkspaceError unless a file can be made in `folder` (which is made where missing)."""
    probe = folder / f".probe-{uuid.uuid4().hex[:8]}"
    try:
        write_atomic(probe, lambda stream: stream.write(b"ok"))
        probe.unlink()
    except HarvestmanError:
        raise
    except OSError as error:
        raise storage_error(error, probe) from error


def sweep(folder: Path, *, older: timedelta = timedelta(days=1)) -> list[Path]:
    """Remove what processes that were killed have left unfinished in `folder` and below; return it, sorted.

    The names of unfinished files and folders do not tell who writes them, so age does: nothing in them may have changed
    for the time `older`. Nobody writes for a day without a change. Links are not followed. It may run beside anything,
    another sweep too.

    Raises:
        WorkspaceError: something cannot be removed.
    """
    before = time.time() - older.total_seconds()
    removed = []
    for parent, folders, files in os.walk(folder):
        unfinished = [name for name in (*folders, *files) if _UNFINISHED.fullmatch(name)]
        folders[:] = sorted(set(folders).difference(unfinished))
        for path in (Path(parent, name) for name in sorted(unfinished)):
            with storing(path), suppress(FileNotFoundError):  # its owner, or another sweep, was faster
                if _changed(path) < before:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                    removed.append(path)
    return sorted(removed)


def _changed(path: Path) -> float:
    """Return when anything in `path` last changed, in seconds since 1970."""
    tree = () if path.is_symlink() else os.walk(path)
    inside = (Path(parent, name) for parent, folders, files in tree for name in (*folders, *files))
    # Hard links keep the time of their original; the folder that they are made in tells when that was.
    return max(entry.lstat().st_mtime for entry in (path, *inside))
