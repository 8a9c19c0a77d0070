"""The servers that settings name: base addresses of APIs, host:port pairs, and which of them can be.

Light: no HTTP library is loaded here. Reads and writes nothing.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

DEFAULT_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65535
_PAIR = re.compile(r"(?P<host>\S+):(?P<port>[1-9][0-9]{0,4})")  # compared as text: no zeros before a port
_HOST = re.compile(r"[a-z0-9_.-]*[a-z0-9_-]", re.IGNORECASE)

APIS: dict[str, str] = {
    "inaturalist": "https://api.inaturalist.org/v1",
    "inaturalist_photos": "https://inaturalist-open-data.s3.amazonaws.com/photos",  # of the tables of its open data
    "gbif": "https://api.gbif.org/v1",
    "custom_search": "https://www.googleapis.com/customsearch/v1",
    "serpapi": "https://serpapi.com/search.json",
    "serper": "https://google.serper.dev/images",
    "openverse": "https://api.openverse.org/v1",
    "wikimedia_commons": "https://commons.wikimedia.org/w/api.php",
    "s3": "https://s3.us-east-1.amazonaws.com",  # what answers for s3:// addresses
}


def is_port(port: int) -> bool:
    """Return whether a server can be asked at `port`: 0 is reserved, and there are 16 bits for it."""
    return 0 < port <= _LAST_PORT


def _known(apis: dict[str, str]) -> dict[str, str]:
    for name, base in apis.items():
        if name not in APIS:
            near = difflib.get_close_matches(name, APIS, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"there is no API {name}: {meant}known are {', '.join(APIS)}")
        try:
            parts = urlsplit(base)
            good = parts.scheme in DEFAULT_PORTS and parts.hostname and (parts.port is None or is_port(parts.port))
        except ValueError:
            good = False
        if not good:
            raise ValueError(f"{name}: {base} is no base address; expected is one such as {APIS[name]}")
    return apis


Apis = Annotated[dict[str, str], AfterValidator(_known)]
"""Base addresses by the names of APIS."""


def _pairs(hosts: tuple[str, ...]) -> tuple[str, ...]:
    for pair in hosts:
        found = _PAIR.fullmatch(pair)
        host = found["host"] if found else ""
        if not found or not is_port(int(found["port"])) or not (_HOST.fullmatch(host) or _is_ipv6(host)):
            raise ValueError(f"{pair!r} is no host:port pair; expected is one such as localhost:8000 or [::1]:8000")
    return hosts


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


AllowedHosts = Annotated[tuple[str, ...], AfterValidator(_pairs)]
"""`host:port` pairs."""
