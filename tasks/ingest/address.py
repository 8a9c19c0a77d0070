"""What a batch knows of an address; whether it can be fetched at all is told by `tasks.core.hosts`.

Reads and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx

from tasks.core.hosts import invalid, parsed, place, unfit

__all__ = ["Address", "invalid", "origin", "parsed", "unfit"]


@dataclass(frozen=True)
class Address:
    """One address of a batch."""

    url: str
    label: str
    part: Path
    """Where its body lies while it arrives."""
    local: bool = False
    """A file of this machine, offered by a source that reads this machine."""


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Return the scheme, the host (as `place` does) and the port of an address."""
    return url.scheme, *place(url)
