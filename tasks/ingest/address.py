"""What a batch knows of an address, and whether it can be fetched at all. Reads and writes nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import httpx

from tasks.core.hosts import place
from tasks.core.network import literal

_SCHEMES = {"http", "https"}
_NAME = re.compile(r"[a-z0-9_.-]+", re.IGNORECASE)  # other letters have become xn--… when an address is parsed


@dataclass(frozen=True)
class Address:
    """One address of a batch."""

    url: str
    label: str
    part: Path
    """Where its body lies while it arrives."""
    local: bool = False
    """A file of this machine, offered by a source that reads this machine."""


def parsed(url: str) -> httpx.URL | str:
    """Return an absolute http(s) address, parsed; or why `url` is none."""
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        return f"not an address: {error}"
    return unfit(address) or address


def invalid(url: str) -> str | None:
    """Say why `url` is no absolute http(s) address; None when it is one."""
    address = parsed(url)
    return address if isinstance(address, str) else None


def unfit(url: httpx.URL) -> str | None:
    """Say why an address that can be parsed cannot be fetched; None when it can."""
    if url.scheme not in _SCHEMES:
        return f"{url.scheme or 'no'} scheme, only http and https are fetched"
    if not url.raw_host:
        return "no host"
    host = url.raw_host.decode("ascii")
    try:
        readable = bool(url.host)  # httpx decodes it when it sends: `xn--zzzz` stands for nothing
    except UnicodeError:
        readable = False
    return None if readable and (_NAME.fullmatch(host) or literal(host)) else f"{host} is no name of a host"


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Return the scheme, the host (as `place` does) and the port of an address."""
    return url.scheme, *place(url)
