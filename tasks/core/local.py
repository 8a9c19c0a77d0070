"""Addresses of files of this machine: `file:///…` for a file, `file:///….zip#member` for a member of an archive.

Names are bytes to the kernel and to old archives: those that are no UTF-8 go there and back unharmed. Reads
only when a file was changed; writes nothing.
"""

from __future__ import annotations

import os
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes

SCHEME = "file://"


def address(path: Path, member: str | None = None) -> str:
    """Return the address of the file at the absolute `path`, or of the member of that name in the archive there."""
    return path.as_uri() if member is None else f"{path.as_uri()}#{quote(member, errors='surrogateescape')}"


def place(url: str) -> tuple[Path, str | None] | None:
    """Return the path and the member that `address` was given; None when `url` is no such address."""
    file, sharp, member = url.removeprefix(SCHEME).partition("#")
    if not url.startswith(f"{SCHEME}/") or "%00" in url:  # no name has a zero byte
        return None
    path = Path(os.fsdecode(unquote_to_bytes(file)))
    return path, unquote(member, errors="surrogateescape") if sharp else None


def changed_at(url: str) -> datetime | None:
    """Return when the file at a local address, or the archive it lies in, was last changed; None where it is gone.

    The kernel's own time of change counts, not the one that copying and unpacking set back.
    """
    found = place(url)
    try:
        return datetime.fromtimestamp(found[0].stat().st_ctime, UTC) if found else None
    except OSError:
        return None


def shown(name: str) -> str:
    """Return a file's name as text that can be written down: what is no UTF-8 is read as Latin-1, accents composed."""
    content = name.encode("utf-8", "surrogateescape")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return unicodedata.normalize("NFC", text)
