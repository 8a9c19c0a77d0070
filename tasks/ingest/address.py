"""What a batch knows of an address, and whether it can be fetched at all. Reads and writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx

_SCHEMES = {"http", "https"}


@dataclass(frozen=True)
class Address:
    """One address of a batch."""

    url: str
    label: str
    part: Path
    """Where its body lies while it arrives."""
    local: bool = False
    """A file of this machine, offered by a source that reads this machine."""


def invalid(url: str) -> str | None:
    """Say why `url` is no absolute http(s) address; None when it is one."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        return f"not an address: {error}"
    if parsed.scheme not in _SCHEMES:
        return f"{parsed.scheme or 'no'} scheme, only http and https are fetched"
    if not parsed.host:
        return "no host"
    return None
