"""The photos a rehearsal shows: found in one sub-folder a class, grouped by observation.

Reads `<photos>/<class>/…`. Writes nothing.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from tasks.core.errors import DataError

Groups = list[list[Path]]  # photos of one class, those of one observation together


def find(photos: Path, classes: Mapping[str, Sequence[str]], *, observations: str | None) -> dict[str, Groups]:
    """Return the photos of each class, grouped by observation, in the order of their paths.

    Args:
        photos: Folder with one sub-folder a class; names match whatever their case.
        classes: Class names of the recipe, each with the names of the parts it is made of: where no sub-folder
            has its own name, those of its parts count.
        observations: Regular expression, searched in each file's name; its first group names the
            observation. None, or no match: each photo is its own observation.

    Raises:
        DataError: no such folder, a class without a sub-folder or without photos, a pattern that is none.
    """
    pattern = _pattern(observations)
    folders = _folders(photos)
    lie = {
        name: [folders[part.casefold()] for part in _found_as(name, parts, folders)] for name, parts in classes.items()
    }
    missing = [name for name, places in lie.items() if not places]
    if missing:
        raise DataError(
            f"{photos} has no photos of {_listed(missing)}.",
            received=f"Sub-folders found: {_listed(sorted(path.name for path in folders.values())) or 'none'}.",
            hint="Name one sub-folder after each class of the recipe.",
        )
    found = {
        name: [group for place in places for group in _grouped(_images(place), pattern)] for name, places in lie.items()
    }
    bare = [name for name, groups in found.items() if not groups]
    if bare:
        raise DataError(
            f"{photos} holds no picture of {_listed(bare)}.",
            received="Sub-folders without a file that Pillow opens.",
            hint="Put photos there, or take the class out of the recipe.",
        )
    return found


def size_of(picture: Path) -> tuple[int, int]:
    """Return width and height from the file's header, as stored."""
    with Image.open(picture) as image:
        return image.size


def folders_of(photos: Path) -> list[str]:
    """Return the names of the sub-folders of `photos`.

    Raises:
        DataError: no such folder.
    """
    return [path.name for path in _folders(photos).values()]


def _found_as(name: str, parts: Sequence[str], folders: Mapping[str, Path]) -> list[str]:
    if name.casefold() in folders:
        return [name]
    return [part for part in parts if part.casefold() in folders]


def _folders(photos: Path) -> dict[str, Path]:
    if not photos.is_dir():
        raise DataError(f"There is no folder {photos}.", hint="--photos takes a folder with one sub-folder a class.")
    return {path.name.casefold(): path for path in sorted(photos.iterdir()) if path.is_dir()}


def _pattern(observations: str | None) -> re.Pattern[str] | None:
    if observations is None:
        return None
    try:
        pattern = re.compile(observations)
    except re.error as error:
        raise DataError(
            "The pattern for observations is not a regular expression.", received=f"{observations!r}: {error}"
        ) from error
    if not pattern.groups:
        raise DataError(
            "The pattern for observations has no group.",
            received=repr(observations),
            hint=r"Put the part that names the observation into parentheses, like (.+)_\d+\.jpg.",
        )
    return pattern


def _images(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return [path for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix()) if _opens(path)]


def _opens(path: Path) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata and large pictures are the visitor's business
            Image.open(path).close()
    except Exception:  # noqa: BLE001 - Pillow's plugins raise anything from a SyntaxError to a struct.error here
        return False
    return True


def _grouped(files: list[Path], pattern: re.Pattern[str] | None) -> Groups:
    groups: dict[str, list[Path]] = {}
    for path in files:
        match = pattern.search(path.name) if pattern else None
        groups.setdefault(f"observation {match[1]}" if match else f"file {path}", []).append(path)
    return list(groups.values())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
