"""`harvestman inspect`: what ingest would make of any file of this machine, and why.

Owns the command and both forms of its output. Reads the files; writes nothing. Imports nothing heavy at the top, for
`harvestman --help`.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, TypeAlias

import typer
from rich.console import Console
from rich.text import Text

from tasks.core.errors import ImageRefusedError, StopError

if TYPE_CHECKING:
    from tasks.ingest.config import IngestConfig
    from tasks.ingest.inspect import Inspected

# ruff: noqa: PLC0415 - imported when the command is called; see the docstring

OK, DAMAGED, UNREADABLE = "ok", "damaged", "unreadable"
LISTED = 50  # files; of more, only those that would be refused are shown to people
_QUIET = 2.0  # seconds of work before progress is shown
_RULES = {"too-small", "flat"}  # refusals of images that are whole: they are measured all the same
_STYLES = {OK: "", DAMAGED: "red", UNREADABLE: "red"}

Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Image files, or folders: all files in them.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON list, an object a file.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 when any file would be refused.")]


Judged: TypeAlias = "tuple[str | None, Inspected | None, ImageRefusedError | None]"


@dataclass(frozen=True)
class Found:
    """What one file is: a row of the output."""

    path: str
    verdict: str
    """`ok`: it decodes without an error; `damaged`: with errors; `unreadable`: not at all, or too large to try."""
    reason: str | None
    """The outcome slug with which ingest would refuse it, null where it would be kept."""
    detail: str | None
    """The decoder's words, or the rule's."""
    format: str | None
    width: int | None
    """Pixels, EXIF orientation applied."""
    height: int | None
    bytes: int
    sha256: str
    contrast: float | None
    """Standard deviation of the gray pixels, 0 to 127.5."""
    phash: str | None
    """64-bit DCT hash, 16 hexadecimal digits."""


def inspect(files: Files, as_json: Json = False, strict: Strict = False) -> None:
    """Say of image files whether they are whole, and whether and why ingest would refuse them.

    Verdict: ok (decodes without an error), damaged (decodes with errors), unreadable (does not decode, is no image, or
    is too large to try). Reason: the outcome as in the ledger, e.g. damaged, html, too-small, flat; none where it would
    be kept. An image that only breaks a rule (too-small, flat) is ok and has a reason. The rules are those of a recipe
    that sets none.

    Exit code 1: a file could not be read, or --strict and a file has a reason.
    """
    paths, problems = expand(files)
    found = []
    for result in followed(examine_all(paths), len(paths)):
        if isinstance(result, Found):
            found.append(result)
        else:
            problems.append(result)
    if as_json:
        sys.stdout.write(json.dumps([asdict(row) for row in found], indent=2) + "\n")
    else:
        show(found, Console())
    if problems:
        raise StopError(
            f"{len(problems)} of the files named could not be read.",
            received="\n".join(problems),
            hint="The others were inspected. Check the names and the permissions.",
        )
    if strict and any(row.reason for row in found):
        raise typer.Exit(1)


def expand(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Return the files that `paths` name, folders walked in sorted order, and what cannot be read.

    Links to folders are not followed and hidden names left out, below a folder; a file that is named is looked at.
    """
    files: list[Path] = []
    problems: list[str] = []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            problems.append(_problem(error, path))
            continue
        if stat.S_ISDIR(mode):
            files += _walked(path, problems)
        elif stat.S_ISREG(mode):
            files.append(path)
        else:  # a pipe would be waited for, a device never end
            problems.append(f"{path}: neither a file nor a folder")
    return files, problems


def _walked(root: Path, problems: list[str]) -> Iterator[Path]:
    def unread(error: OSError) -> None:
        problems.append(_problem(error, error.filename))

    for folder, folders, names in os.walk(root, onerror=unread):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _problem(error: OSError, path: object) -> str:
    return f"{path}: {error.strerror or error}"


def examine_all(paths: list[Path]) -> Iterator[Found | str]:
    """Yield what each file is, in their order; where it cannot be read, a sentence on that."""
    from tasks.ingest.config import IngestConfig
    from tasks.ingest.inspectors import hush_pillow, inspectors

    hush_pillow()
    yield from inspectors().pool.map(partial(_examined, config=IngestConfig()), paths)


def _examined(path: Path, config: IngestConfig) -> Found | str:
    try:
        return examine(path, config)
    except OSError as error:
        return _problem(error, path)


def examine(path: Path, config: IngestConfig) -> Found:
    """Return what one file is, under the rules of `config`.

    Raises:
        OSError: it cannot be read.
    """
    limit = int(config.max_bytes)
    with path.open("rb") as stream:
        content = stream.read(limit + 1)
        if len(content) > limit:
            stream.seek(0)
            digest, size = hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell()
            refused = ImageRefusedError("too-large", f"{size:,} bytes, {limit:,} allowed")
            return _found(path, (digest, size), (None, None, refused))
    return _found(path, (hashlib.sha256(content).hexdigest(), len(content)), _judged(content, config))


def _judged(content: bytes, config: IngestConfig) -> Judged:
    """Return the format it starts like, what can be measured of it, and why it is refused."""
    from tasks.ingest.inspect import inspect as look
    from tasks.ingest.sniff import sniff

    image_format = None
    try:
        image_format = sniff(content)
        seen = look(content, min_side=config.min_side, max_pixels=config.max_pixels, min_contrast=config.min_contrast)
    except ImageRefusedError as error:
        refused = error
    else:
        return image_format, seen, None
    if refused.outcome not in _RULES:
        return image_format, None, refused
    try:
        return image_format, look(content, min_side=1, max_pixels=config.max_pixels), refused
    except ImageRefusedError as error:  # too small is seen before it is decoded; that it is broken says more
        return image_format, None, error


def _found(path: Path, identity: tuple[str, int], judged: Judged) -> Found:
    image_format, seen, refused = judged
    unseen = DAMAGED if refused and refused.outcome == DAMAGED else UNREADABLE
    return Found(
        path=str(path),
        verdict=OK if seen else unseen,
        reason=refused.outcome if refused else None,
        detail=refused.reason or None if refused else None,
        format=image_format,
        width=seen.width if seen else None,
        height=seen.height if seen else None,
        bytes=identity[1],
        sha256=identity[0],
        contrast=round(seen.contrast, 2) if seen else None,
        phash=f"{seen.phash:016x}" if seen else None,
    )


def followed(results: Iterable[Found | str], total: int) -> Iterator[Found | str]:
    """Pass `results` on; show progress on the terminal once they have taken two seconds."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with _decoders_hushed() as stream:
        console = Console(file=stream)
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        task = progress.add_task("inspect", total=total)
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


def show(found: list[Found], console: Console) -> None:
    """Print one line a file and a summary: of long lists, the files that would be refused."""
    few = len(found) <= LISTED
    for row in found:
        if few or row.reason:
            console.print(Text(_line(row), style=_STYLES[row.verdict]), soft_wrap=True)
    reasons = Counter(row.reason for row in found if row.reason)
    refused = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items())) or "none"
    counts = f"{len(found)} files: {len(found) - reasons.total()} would be kept; refused: {refused}"
    console.print(Text(counts, style="bold"), soft_wrap=True)


def _line(row: Found) -> str:
    size = f"{row.width}x{row.height}" if row.width else "-"
    columns = f"{row.verdict:10} {row.reason or '-':12} {row.format or '-':8} {size:>11} {row.bytes:>11,}"
    detail = f"  ({row.detail})" if row.detail else ""
    # A file name may hold colour codes, line ends, or bytes that are no text.
    return columns + "  " + "".join(letter if letter.isprintable() else "?" for letter in row.path + detail)
