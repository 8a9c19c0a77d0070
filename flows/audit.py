"""`harvestman audit`: what is wrong with any folder of images, a class folder or a tree of splits.

Owns the command and both forms of its output. Reads the files, each once; writes nothing. Imports nothing heavy at the
top, for `harvestman --help`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from flows.looking import UNREADABLE, Look, Problem, is_file, look, looking, walk
from tasks.core.errors import DataError, ImageRefusedError, StopError
from tasks.curate.layout import Place, named_image, places

if TYPE_CHECKING:
    from tasks.curate.audit import File, Findings

# ruff: noqa: PLC0415 - imported when the command is called; see the docstring

SCHEMA = 1  # of the JSON: raised when a key goes or changes its meaning
RADIUS, VERIFY_RADIUS = 12, 60  # the defaults of a recipe, which --help tells without loading its schema
_START = 1024  # bytes that tell what a file is

# `readable`: one that is not is told as every other that cannot be read, and not as wrong usage.
Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", readable=False, help="FOLDER/<class>/… or FOLDER/<split>/<class>/…")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, every finding in full: docs/audit.md.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 when anything is found.")]
Radius = Annotated[int, typer.Option(min=0, max=16, help="Bits of the 64-bit hash in which candidates may differ.")]
Verify = Annotated[
    int, typer.Option(min=0, max=256, help="Bits of the 256-bit hash in which near-duplicates may differ.")
]
Invariance = Annotated[
    Literal["none", "mirror", "rotation"],
    typer.Option(help="Find mirrored copies too, or mirrored and turned ones."),
]


@dataclass(frozen=True)
class _Limits:
    """An audit judges what is there, not what a recipe would take."""

    max_bytes: int = 256_000_000
    max_pixels: int = 178_956_970  # the most that Pillow opens
    min_side: int = 1
    min_contrast: float = 0


Looked: TypeAlias = "Look | OSError | None"


@dataclass(frozen=True)
class Audited:
    """What an audit of a folder tells."""

    folder: str
    findings: Findings
    other: list[str]
    """Files that are no images and are not named like one."""
    problems: list[Problem]
    """Folders that could not be read, and links that were not followed."""

    @property
    def found(self) -> bool:
        """Whether anything is wrong, or was not looked at."""
        return bool(self.problems) or any(self.findings.faults().values())


def audit(  # noqa: PLR0917 - Typer reads parameters, not positions
    folder: Folder,
    as_json: Json = False,
    strict: Strict = False,
    radius: Radius = RADIUS,
    verify_radius: Verify = VERIFY_RADIUS,
    invariance: Invariance = "none",
) -> None:
    """Find what is wrong with a folder of images, whoever made it.

    Damaged and unreadable files, wrong extensions, suspects (flat images, stray GIFs), identical files,
    near-duplicates, the same picture in two classes, the same picture in two splits. The folder holds one folder
    a class, or one a split (train, val, test, …) with the classes in it. Nothing is changed.

    Exit code 1: the folder cannot be read or holds no image, or --strict and something was found.
    """
    audited = examine(folder, radius=radius, verify_radius=verify_radius, invariance=invariance)
    if as_json:
        sys.stdout.writelines(as_text(audited))
    else:
        from rich.console import Console

        from flows.audit_report import show

        show(audited, Console())
    if strict and audited.found:
        raise typer.Exit(1)


def examine(folder: Path, *, radius: int, verify_radius: int, invariance: str) -> Audited:
    """Look at every file of a folder and return what is wrong.

    Raises:
        StopError: the folder cannot be read.
        DataError: there is no image in it.
    """
    problems: list[Problem] = []
    entries = _entries(folder, problems)
    names = _names(entries.values())
    with looking(_look, list(names), "audit") as results:
        gc.disable()  # loading modules makes no garbage
        from tasks.curate.audit import findings  # meanwhile the threads are at work
        from tasks.curate.config import NearDuplicates

        gc.freeze()
        gc.enable()
        told = dict(zip(names, results, strict=True))
    looks = {_below(folder, entry.path): told[first] for first, same in names.items() for entry in same}
    files = _files({path: seen for path, seen in looks.items() if seen is not None})
    if not files:
        raise DataError(
            f"There is no image in {folder}.",
            received=f"{len(looks)} other files" + "".join(f"\n{fault}" for fault in problems),
            hint="Name a folder with one folder of images a class, or with train, val and test folders of such.",
        )
    config = NearDuplicates.model_validate({"radius": radius, "verify_radius": verify_radius, "invariance": invariance})
    other = sorted(path for path, seen in looks.items() if seen is None)
    faults = [Problem(_below(folder, fault.path), fault.detail) for fault in problems]
    return Audited(str(folder), findings(files, config), other, sorted(faults, key=str))


def _entries(folder: Path, problems: list[Problem]) -> dict[str, os.DirEntry[str]]:
    """Return the files of a folder by their path below it, and links named like an image that lead nowhere."""
    try:
        with os.scandir(folder):
            pass
    except OSError as error:
        raise StopError(
            f"{folder} cannot be read.",
            received=error.strerror or str(error),
            hint="Name a folder; `harvestman inspect` looks at single files." if folder.is_file() else "",
        ) from error
    files = {}
    for entry in walk(folder, problems, links=True):
        if is_file(entry) or (entry.is_symlink() and named_image(entry.name)):
            files[_below(folder, entry.path)] = entry
        elif not entry.is_symlink():  # a pipe would be waited for, a device never end
            problems.append(Problem(entry.path, "neither a file nor a folder"))
    return files


def _below(folder: Path, path: str) -> str:
    return path.removeprefix(os.path.join(folder, "")).replace(os.sep, "/")  # noqa: PTH118 - "/" at the end is wanted


def _names(entries: Iterable[os.DirEntry[str]]) -> dict[str, list[os.DirEntry[str]]]:
    """Return all entries of each file, links and hard links too, by the path at which it is read."""
    names: dict[object, list[os.DirEntry[str]]] = {}
    for entry in entries:
        names.setdefault(_identity(entry), []).append(entry)
    return {same[0].path: same for same in names.values()}


def _identity(entry: os.DirEntry[str]) -> object:
    try:
        told = entry.stat()
    except OSError:  # a link that leads nowhere; a file that has just gone
        return entry.path
    # Whether other bytes than an image's are a fault depends on the name. Some file systems number no files.
    return (told.st_dev, told.st_ino, named_image(entry.name)) if told.st_ino else entry.path


def _look(path: str) -> Looked:
    """Return what a file is, null where it is no image and is not named like one."""
    named = named_image(path)
    try:
        if not named and not _starts_like_image(path):
            return None
        seen = look(path, _Limits())
    except OSError as error:
        return error if named else None
    # Any text may begin with the two letters of a BMP.
    return None if not named and seen.format == "BMP" and seen.verdict == UNREADABLE else seen


def _starts_like_image(path: str) -> bool:
    from tasks.ingest.sniff import sniff

    with Path(path).open("rb") as stream:
        start = stream.read(_START)
    try:
        sniff(start)
    except ImageRefusedError:
        return False
    return True


def _files(looks: Mapping[str, Look | OSError]) -> list[File]:
    paths = sorted(looks)
    return [_file(path, looks[path], place=place) for path, place in zip(paths, places(paths), strict=True)]


def _file(path: str, seen_as: Look | OSError, *, place: Place) -> File:
    from tasks.curate.audit import File

    split, label = place
    if isinstance(seen_as, OSError):
        reason = "not-found" if isinstance(seen_as, FileNotFoundError) else "forbidden"
        return File(path, split, label, UNREADABLE, reason=reason, detail=seen_as.strerror or str(seen_as))
    seen = seen_as.seen
    return File(
        path,
        split,
        label,
        seen_as.verdict,
        reason=seen_as.reason,
        detail=seen_as.detail,
        format=seen_as.format,
        width=seen.width if seen else None,
        height=seen.height if seen else None,
        size=seen_as.bytes,
        sha256=seen_as.sha256,
        contrast=seen.contrast if seen else None,
        phash=seen.phash if seen else None,
        verify_hash=seen.verify_hash if seen else None,
    )


def as_text(audited: Audited) -> Iterator[str]:
    """Yield the JSON of an audit, one finding a line; ASCII, so that any terminal and locale takes it."""
    head: dict[str, Any] = {"schema": SCHEMA, "folder": audited.folder}
    lists: dict[str, list[Any]] = {
        **vars(audited.findings),
        "other": [{"path": path} for path in audited.other],
        "not_read": [{"path": fault.path, "detail": fault.detail} for fault in audited.problems],
    }
    yield "{\n" + "".join(f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    for number, (key, rows) in enumerate(lists.items()):
        yield f"{json.dumps(key)}: ["
        yield ",".join(f"\n  {json.dumps(row)}" for row in rows)
        yield ("\n]" if rows else "]") + (",\n" if number + 1 < len(lists) else "\n}\n")
