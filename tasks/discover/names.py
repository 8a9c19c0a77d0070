"""What the names of image files tell, in folders and in archives: whether to look at them, their class and group.

Reads and writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from tasks.core.errors import HarvestmanError, RecipeError
from tasks.discover.licences import slug

_IMAGES = frozenset(
    "jpg jpeg jpe jfif jif pjpeg pjpg mpo png apng gif webp tif tiff bmp dib avif jp2 j2k j2c jpc jpf jpx".split()  # noqa: SIM905 - a list of words reads better
)
# A dot and more is a suffix only if it looks like one: `photo.1`, `IMG_2020.01.02` and `x.jpg_large` have none.
_SUFFIX = re.compile(r"\.([a-z][a-z0-9]{0,5})$", re.IGNORECASE)


def left_out(name: str) -> str | None:
    """Say why the file `name` is not looked at: `hidden` or `not-an-image`; None when it is.

    A name without a suffix is no reason: the door looks at the bytes.
    """
    if name.startswith("."):
        return "hidden"
    suffix = _SUFFIX.search(name)
    return "not-an-image" if suffix and suffix[1].lower() not in _IMAGES else None


def folder_of(path: str) -> str | None:
    """Return the name of the folder that the file at the relative `path` lies in; None at the top."""
    return PurePosixPath(path).parent.name or None


def searched(pattern: str, paths: Iterable[str]) -> Iterator[str | None]:
    """Yield what the first group of `pattern` matches in each of `paths`; None where it matches nothing."""
    compiled = re.compile(pattern)
    for path in paths:
        found = compiled.search(path)
        yield (found[1] or "").strip() or None if found else None


def unknown_licence(licence: str | None, source: str) -> Iterator[HarvestmanError]:
    """Yield an error where a recipe states a licence for the images of `source` that has no slug."""
    if licence is not None and slug(licence) is None:
        yield RecipeError(
            f"The licence of the source {source} is not one that is known.",
            received=licence,
            hint="Known: cc0, cc-by, cc-by-sa, cc-by-nd, cc-by-nc, cc-by-nc-sa, cc-by-nc-nd, public-domain and "
            "all-rights-reserved; leave `licence:` out where it is another.",
        )
