"""`harvestman inspect`: what ingest would make of any file of this machine, and why.

Owns the command and both forms of its output. Reads the files, through flows/looking.py; writes nothing. Imports
nothing heavy at the top, for `harvestman --help`.
"""

from __future__ import annotations

import json
import stat
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from flows.looking import DAMAGED, OK, UNREADABLE, Problem, is_file, look, looking, problem, walk
from flows.terminal import printable
from tasks.core.errors import StopError

if TYPE_CHECKING:
    from tasks.ingest.config import IngestConfig

# ruff: noqa: PLC0415 - imported when the command is called; see the docstring

LISTED = 50  # files; of more, only those that would be refused are shown to people
_STYLES = {OK: "", DAMAGED: "red", UNREADABLE: "red"}

# `readable`: one that is not is told beside the others, and not as wrong usage.
Files = Annotated[
    list[Path], typer.Argument(metavar="FILE…", readable=False, help="Image files, or folders: all files in them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON list, an object a file.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 when any file would be refused.")]


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
    from tasks.ingest.config import IngestConfig

    paths, problems = expand(files)
    found = []
    with looking(partial(_examined, config=IngestConfig()), paths, "inspect") as results:
        for result in results:
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
    problems: list[Problem] = []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            problems.append(problem(error, path))
            continue
        if stat.S_ISDIR(mode):
            files += (Path(entry.path) for entry in walk(path, problems) if is_file(entry))
        elif stat.S_ISREG(mode):
            files.append(path)
        else:  # a pipe would be waited for, a device never end
            problems.append(Problem(str(path), "neither a file nor a folder"))
    return files, [str(fault) for fault in problems]


def _examined(path: Path, config: IngestConfig) -> Found | str:
    try:
        return examine(path, config)
    except OSError as error:
        return str(problem(error, path))


def examine(path: Path, config: IngestConfig) -> Found:
    """Return what one file is, under the rules of `config`.

    Raises:
        OSError: it cannot be read.
    """
    seen_as = look(path, config)
    seen = seen_as.seen
    return Found(
        path=str(path),
        verdict=seen_as.verdict,
        reason=seen_as.reason,
        detail=seen_as.detail,
        format=seen_as.format,
        width=seen.width if seen else None,
        height=seen.height if seen else None,
        bytes=seen_as.bytes,
        sha256=seen_as.sha256,
        contrast=round(seen.contrast, 2) if seen else None,
        phash=f"{seen.phash:016x}" if seen else None,
    )


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
    return columns + "  " + printable(row.path + detail)
