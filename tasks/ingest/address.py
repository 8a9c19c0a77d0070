"""Whether a string is an address that can be fetched at all. Reads and writes nothing."""

from __future__ import annotations

import httpx

_SCHEMES = {"http", "https"}


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
