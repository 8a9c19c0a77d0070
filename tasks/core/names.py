"""Which class names can be folders side by side, on whatever file system a data set is copied to.

Owns the check; a recipe's own classes, those that sources tell and those that are published all pass it.
Reads and writes nothing.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

_FORBIDDEN = set('/\\:*?"<>|\0')
# Windows takes these for devices, in any case and whatever follows a dot.
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    port + n for port in ("com", "lpt") for n in "0123456789¹²³"
}
_JOINERS = "\u200c\u200d"  # not printable, yet ordinary letters' company in Persian, Hindi and others
_LONGEST = 255  # bytes of UTF-8 in a folder's name, on ext4, XFS, APFS and NTFS alike


def name_fault(classes: Iterable[str]) -> str | None:
    """Say why `classes` cannot all be folders' names side by side; None when they can.

    Names stay as they are, in whatever script. Some file systems take names that differ only in case, or in how an
    accent is encoded (NFC or NFD), for one.
    """
    names = sorted(set(classes))
    for name in names:
        if fault := _fault(name):
            return fault
    if twins := _twins(names, _composed):
        return f"classes {', '.join(map(ascii, twins))} differ only in how Unicode writes their letters"
    if twins := _twins(names, _folded):
        return f"classes {', '.join(twins)} differ only in upper and lower case"
    return None


def _fault(name: str) -> str | None:
    """Say why a folder cannot be called `name` on some file system; None when it can."""
    if not name.strip() or name.startswith(".") or any(_unfit(letter) for letter in name):
        return (
            f"class {name!r} cannot be a folder's name; avoid a leading dot, "
            f"control characters and any of {' '.join(sorted(_FORBIDDEN - {chr(0)}))}"
        )
    if name.endswith((".", " ")):
        return f"class {name!r} cannot be a folder's name on Windows, which drops the dot or blank at its end"
    if name.partition(".")[0].rstrip().lower() in _DEVICES:
        return f"class {name!r} cannot be a folder's name on Windows, which takes it for a device"
    if len(name.encode()) > _LONGEST:
        return f"class {name[:40]!r}… is too long for a folder's name: {len(name.encode())} bytes, {_LONGEST} fit"
    return None


def _unfit(letter: str) -> bool:
    return letter in _FORBIDDEN or not (letter.isprintable() or letter in _JOINERS)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(_composed(name).casefold())


def _twins(names: list[str], same: Callable[[str], str]) -> list[str]:
    count = Counter(same(name) for name in names)
    return [name for name in names if count[same(name)] > 1]
