"""Looking at files of this machine: found in folders, read once each, judged in threads as ingest judges.

Owns what `harvestman inspect` and `harvestman audit` share: the walk, the threads, the progress shown meanwhile. Reads
the files; writes nothing. Imports nothing heavy at the top, for `harvestman --help`.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TextIO, TypeAlias, TypeVar

from tasks.core.errors import ImageRefusedError

if TYPE_CHECKING:
    from tasks.ingest.inspect import Inspected

# ruff: noqa: PLC0415 - imported when a command is called; see the docstring

OK, DAMAGED, UNREADABLE = "ok", "damaged", "unreadable"
_QUIET = 2.0  # seconds of work before progress is shown
_RULES = {"too-small", "flat"}  # refusals of images that are whole: they are measured all the same
_CHUNK = 8  # files a thread is handed at once: one by one, the handing over took 3 % of the CPU time

Judged: TypeAlias = "tuple[str | None, Inspected | None, ImageRefusedError | None]"
Item = TypeVar("Item")
Result = TypeVar("Result")


class Limits(Protocol):
    """What a file is held to: the fields of IngestConfig, or of whoever does not want to load its schema (75 ms)."""

    @property
    def max_bytes(self) -> int:
        """Read of one file."""
        ...

    @property
    def max_pixels(self) -> int:
        """Width times height."""
        ...

    @property
    def min_side(self) -> int:
        """Pixels of the shorter side."""
        ...

    @property
    def min_contrast(self) -> float:
        """Standard deviation of the gray pixels."""
        ...


@dataclass(frozen=True)
class Problem:
    """What could not be read, and why."""

    path: str
    detail: str

    def __str__(self) -> str:
        """Return both, as a line for people."""
        return f"{self.path}: {self.detail}"


@dataclass(frozen=True)
class Look:
    """What one file is: the digest and the size of its bytes, and what one decode of them tells."""

    sha256: str
    bytes: int
    format: str | None
    """Pillow's name of the format it starts like."""
    seen: Inspected | None
    """What is measured of it, where it decodes without an error."""
    refused: ImageRefusedError | None
    """Why ingest would refuse it."""

    @property
    def verdict(self) -> str:
        """`ok`: it decodes without an error; `damaged`: with errors; `unreadable`: not at all, or too large to try."""
        if self.seen:
            return OK
        return DAMAGED if self.reason == DAMAGED else UNREADABLE

    @property
    def reason(self) -> str | None:
        """The outcome slug with which ingest would refuse it, null where it would be kept."""
        return self.refused.outcome if self.refused else None

    @property
    def detail(self) -> str | None:
        """What the decoder or the rule says of it."""
        return (self.refused.reason or None) if self.refused else None


def walk(root: str | Path, problems: list[Problem], *, links: bool = False) -> Iterator[os.DirEntry[str]]:
    """Yield what lies below a folder and is no folder, in sorted order; hidden names are left out.

    A folder that cannot be read goes to `problems`. Links to folders are followed only with `links`, and then neither
    where they lead back up, nor inside a folder that is itself reached by a link: these go to `problems` too.
    """
    waiting = [(str(root), links)]
    while waiting:
        folder, follow = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                shown = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            problems.append(problem(error, folder))
            continue
        below = []
        for entry in shown:
            if not _leads(entry.is_dir):
                yield entry
            elif not entry.is_symlink():
                below.append((entry.path, follow))
            elif links and (fault := _astray(folder, entry.path, follow=follow)):
                problems.append(Problem(entry.path, fault))
            elif links:
                below.append((entry.path, False))
        waiting += reversed(below)


def _astray(folder: str, link: str, *, follow: bool) -> str | None:
    """Return why the link to a folder is not followed, if so."""
    here, there = Path(folder).resolve(), Path(link).resolve()
    if there == here or there in here.parents:
        return "a link that leads back to a folder it lies in, not followed"
    return None if follow else "a link to a folder in a folder that is reached by a link, not followed"


def is_file(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a file, or a link to one."""
    return _leads(entry.is_file)


def _leads(test: Callable[[], bool]) -> bool:
    with suppress(OSError):  # a link to itself
        return test()
    return False


def problem(error: OSError, path: object) -> Problem:
    """Return in words what an OSError says of a path."""
    return Problem(str(path), error.strerror or str(error))


@contextmanager
def looking(work: Callable[[Item], Result], items: Sequence[Item], what: str) -> Iterator[Iterator[Result]]:
    """Set the inspectors' threads to work, and yield the results in the order of `items`, with progress on a terminal.

    Within the block nothing else is heard on standard error; when it is left, what has not been begun is not done.
    """
    from tasks.ingest.inspectors import hush_pillow, inspectors

    hush_pillow()
    # What is loaded stays; looking through it at each collection, and at the end, took 5 % of an audit's time.
    gc.freeze()
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    with _decoders_hushed() as stream:
        pool = inspectors().pool
        futures = [pool.submit(lambda part: [work(item) for item in part], chunk) for chunk in chunks]
        try:
            results = itertools.chain.from_iterable(future.result() for future in futures)
            yield _followed(results, len(items), what=what, stream=stream)
        finally:
            for future in futures:  # Ctrl-C; Python would wait for all of them
                future.cancel()


def look(path: str | Path, limits: Limits) -> Look:
    """Return what one file is, held to `limits`.

    Raises:
        OSError: it cannot be read.
    """
    limit = int(limits.max_bytes)
    with open(path, "rb") as stream:  # noqa: PTH123 - a Path for each file takes as long as its digest
        content = _read(stream, limit + 1)
        if len(content) > limit:
            stream.seek(0)
            digest, size = hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell()
            refused = ImageRefusedError("too-large", f"{size:,} bytes, {limit:,} allowed")
            return Look(digest, size, None, None, refused)
    return Look(hashlib.sha256(content).hexdigest(), len(content), *_judged(content, limits))


def _read(stream: BinaryIO, most: int) -> bytes:
    """Read up to `most` bytes of a file, in room for its size: that for `most` takes as long as a small decode."""
    size = os.fstat(stream.fileno()).st_size
    content = stream.read(min(size + 1, most))
    return content if len(content) <= size else content + stream.read(most - len(content))  # it has grown


def _judged(content: bytes, limits: Limits) -> Judged:
    """Return the format it starts like, what can be measured of it, and why it is refused."""
    from tasks.ingest.inspect import inspect
    from tasks.ingest.sniff import sniff

    image_format = None
    try:
        image_format = sniff(content)
        seen = inspect(
            content, min_side=limits.min_side, max_pixels=limits.max_pixels, min_contrast=limits.min_contrast
        )
    except ImageRefusedError as error:
        refused = _told(error)
    else:
        return image_format, seen, None
    if refused.outcome not in _RULES:
        return image_format, None, refused
    try:
        return image_format, inspect(content, min_side=1, max_pixels=limits.max_pixels), refused
    except ImageRefusedError as error:  # too small is seen before it is decoded; that it is broken says more
        return image_format, None, _told(error)


def _told(error: ImageRefusedError) -> ImageRefusedError:
    """Return what an error says without where it was raised: its frames would keep the file's bytes in memory."""
    return ImageRefusedError(error.outcome, error.reason)


def _followed(results: Iterable[Result], total: int, *, what: str, stream: TextIO) -> Iterator[Result]:
    """Pass `results` on; show progress on the terminal once they have taken two seconds."""
    if not stream.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(file=stream), transient=True)
    task = progress.add_task(what, total=total)
    began = time.monotonic()
    try:
        for result in results:
            progress.advance(task)
            if not progress.live.is_started and time.monotonic() - began > _QUIET:
                progress.start()
            yield result
    finally:
        progress.stop()


@contextmanager
def _decoders_hushed() -> Iterator[TextIO]:
    """Yield standard error, to which nothing else can write meanwhile: libtiff does, a line for each odd tag."""
    sys.stderr.flush()
    kept = os.dup(2)
    with os.fdopen(os.dup(2), "w") as stream, Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield stream
        finally:
            os.dup2(kept, 2)
            os.close(kept)
