"""Images in a folder of this machine, read in place: an image's class is the sub-folder it lies in, or its path's.

Reads the names in the folder; writes nothing.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.local import address, shown
from tasks.discover.config import FolderSource
from tasks.discover.found import Ask, Page
from tasks.discover.licences import slug
from tasks.discover.names import folder_of, left_out, searched, unknown_licence


def problems(ask: Ask[FolderSource]) -> Iterable[HarvestmanError]:
    """Yield an error where there is no such folder, or its licence has no slug."""
    path = ask.source.path
    yield from unknown_licence(ask.source.licence, "folder")
    if not path.is_dir():
        beside = [item.name for item in path.parent.iterdir() if item.is_dir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.6)
        yield SourceError(
            f"{path} is not a folder." if path.exists() else f"There is no folder {path}.",
            hint=(f"Did you mean {near[0]}? " if near else "")
            + "Correct `path:` in the recipe (a relative path starts at the recipe's folder).",
        )


def pages(ask: Ask[FolderSource]) -> Iterator[Page]:
    """Yield one page: every image below the folder, ordered by path.

    Hidden files, files with the suffix of something else, and what is no file are left out and counted. Links to
    folders are followed, each folder once: one that leads back, or to a folder that was there before, is counted as
    `repeated-folder`.

    Raises:
        SourceError: the folder or one below it cannot be read, or holds no image.
    """
    source = ask.source
    root = source.path.resolve()
    notes: Counter[str] = Counter(rows=0)
    try:
        files = sorted(_files(root, notes), key=os.fsencode)
    except OSError as error:
        raise SourceError(
            f"The folder {error.filename or root} cannot be read.",
            received=f"{type(error).__name__}: {error.strerror}",
            hint="Let this user read it, or take it out of the folder.",
        ) from error
    if not files:
        left = ", ".join(f"{number} {name}" for name, number in sorted(notes.items()) if number and name != "rows")
        raise SourceError(
            f"The folder {root} holds no image.",
            received=f"{notes['rows']} files: {left}" if notes["rows"] else "no files",
            hint="Names that end in a suffix must end in that of an image format, such as .jpg or .png.",
        )
    paths = [shown(file) for file in files]
    frame = pl.DataFrame(
        {
            "url": [address(root / file) for file in files],
            "source_id": paths,
            "group_id": list(_groups(source.group, paths, notes)),
            "licence": [slug(source.licence)] * len(paths),
            "creator": [source.creator] * len(paths),
        },
        schema_overrides={"group_id": pl.String, "licence": pl.String, "creator": pl.String},
    )
    if ask.label is None:
        frame = frame.with_columns(pl.Series("label", list(_labels(source, paths)), dtype=pl.String))
    yield Page(frame, notes)


def _labels(source: FolderSource, paths: list[str]) -> Iterable[str | None]:
    if source.label is not None and source.label.pattern is not None:
        return searched(source.label.pattern, paths)
    return (folder_of(path) for path in paths)


def _groups(pattern: str | None, paths: list[str], notes: Counter[str]) -> Iterator[str | None]:
    if pattern is None:
        yield from (None for _ in paths)
        return
    for found in searched(pattern, paths):
        notes["without-group"] += found is None
        yield found and f"folder:{found}"


def _files(root: Path, notes: Counter[str]) -> Iterator[str]:
    """Yield the path below `root` of each file to be looked at.

    Folders reached through links come last, so that what a folder holds keeps its own path.
    """
    # Never above the folder, never twice: a link may lead anywhere.
    seen = {_identity(parent) for parent in root.parents}
    linked = deque([str(root)])
    while linked:
        folders = [linked.popleft()]
        while folders:
            folder = folders.pop()
            if (identity := _identity(folder)) in seen:
                notes["repeated-folder"] += 1
                continue
            seen.add(identity)
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
                    if entry.is_dir() and not entry.name.startswith("."):
                        (linked if entry.is_symlink() else folders).append(entry.path)
                        continue
                    notes["rows"] += 1
                    if reason := _left_out(entry):
                        notes[reason] += 1
                    else:
                        yield entry.path[len(str(root)) :].lstrip("/")


def _left_out(entry: os.DirEntry[str]) -> str | None:
    return left_out(entry.name) or (None if entry.is_file() else "not-a-file")


def _identity(folder: Path | str) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116 - a Path each would double the time of a walk
    return status.st_dev, status.st_ino
