"""What the names in a folder of images say: which class, which side of a split, which format.

Owns the words that name a split and the file name extensions of image formats. Reads names only; writes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

# Names that end a file, by Pillow's name of the format that they promise. What starts a list is the usual one.
FORMATS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif", "mpo"),  # the first picture of an MPO is a JPEG, read as one
    "PNG": ("png", "apng"),
    "GIF": ("gif",),
    "WEBP": ("webp",),
    "TIFF": ("tif", "tiff"),
    "BMP": ("bmp", "dib"),
    "AVIF": ("avif", "avifs"),
    "JPEG2000": ("jp2", "j2k", "jpf", "jpx", "j2c", "jpc"),
}
# Names of images that ingest does not read: someone means them as images all the same.
FOREIGN = frozenset(("heic", "heif", "ico", "jxl", "pbm", "pgm", "pnm", "ppm", "psd", "svg", "tga"))
_PROMISED = {extension: name for name, extensions in FORMATS.items() for extension in extensions}

# "train", "Training_set", "val2017", "test-images"
_SPLIT = re.compile(
    r"(?P<side>train(ing)?|val(id(ation)?)?|dev|test(ing)?|eval(uation)?|hold-?out)"
    r"[-_ ]?(set|split|data|dir|images|\d+)?",
    re.IGNORECASE,
)

Place = tuple[str | None, str | None]


def extension(path: str) -> str:
    """Return what a file name ends in, in lower case and without its dot; empty where there is none."""
    return os.path.splitext(path)[1][1:].lower()  # noqa: PTH122 - a Path of each of a million names takes seconds


def promised(path: str) -> str | None:
    """Return the format that a file name promises; null where it names none that ingest reads."""
    return _PROMISED.get(extension(path))


def named_image(path: str) -> bool:
    """Tell whether a file name says that this is an image."""
    ending = extension(path)
    return ending in _PROMISED or ending in FOREIGN


def places(paths: Sequence[str]) -> list[Place]:
    """Return split and class of each image, by its path below the folder.

    `<class>/…` or `<split>/<class>/…`: the uppermost folders are splits where one is named like the training side, or
    all are named like sides; their names stay as they are. In a tree of splits a folder beside them is neither a split
    nor a class. Null where there is no such folder.
    """
    parts = [path.split("/") for path in paths]
    sides = {name: _SPLIT.fullmatch(name) for name in {names[0] for names in parts if len(names) > 1}}
    named = [side["side"].lower() for side in sides.values() if side]
    splits = any(side.startswith("train") for side in named) or len(named) == len(sides)
    if not splits:
        return [(None, _above(names, 0)) for names in parts]
    return [(names[0], _above(names, 1)) if sides.get(names[0]) and len(names) > 1 else (None, None) for names in parts]


def _above(names: list[str], level: int) -> str | None:
    return names[level] if len(names) > level + 1 else None
