"""Which site an address is at, and whether it is one: one reading for forecasts, plans, reports, limits and our name.

Reads and writes nothing.
"""

from __future__ import annotations

import re

import httpx
import polars as pl

from tasks.core.endpoints import DEFAULT_PORTS, is_port
from tasks.core.network import default_port, literal, site_port

_SCHEMES = {"http", "https"}
_NAME = re.compile(r"[a-z0-9_.-]+", re.IGNORECASE)  # other letters have become xn--… when an address is parsed

_BEGINNING = r"(?i)^(https?://[^/?#]*)"
# What needs no parser; the rest is letters of other alphabets, escapes, IPv6 and what is no host.
_PLAIN = r"(?i)^https?://(?:[^/?#]*@)?([a-z0-9_.-]*[a-z0-9_-])\.*(?::[0-9]*)?$"
_PORT = r":0*([0-9]+)$"


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
    if not (readable and (_NAME.fullmatch(host) or literal(host))):
        return f"{host} is no name of a host"
    return None if url.port is None or is_port(url.port) else "its port is not from 1 to 65535"


def place(url: httpx.URL) -> tuple[str, int]:
    """Return the host of an http(s) address, in small ASCII letters without a dot at its end, and the port."""
    # Not `url.host`: it raises where a name in ASCII (`xn--zzzz`) stands for no other.
    port = default_port(url.scheme) if url.port is None else url.port  # not `or`: 0 is no port, and not the default one
    return url.raw_host.decode("ascii").lower().rstrip("."), port


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Return the scheme, the host (as `place` does) and the port of an address."""
    return url.scheme, *place(url)


def site(host: str, port: int) -> str:
    """Return the name of a site: the host, and its port unless that is http's or https's own.

    The two schemes of a host are one site: one machine answers them.

    Args:
        host: in small letters, without a dot at its end.
        port: the port asked.
    """
    name = f"[{host}]" if ":" in host else host
    return name if site_port(port) == DEFAULT_PORTS["https"] else f"{name}:{port}"


def sites(urls: pl.Series) -> pl.Series:
    """Return the site of each address, as `site` names it; null where there is no host.

    Sites are few among addresses, and each spelling of one is read once: 3 x as fast.
    """
    begun = urls.str.extract(_BEGINNING).alias("begun").to_frame()
    port = pl.col("begun").str.extract(_PORT)
    own = port.is_null() | port.is_in([*map(str, DEFAULT_PORTS.values())])
    name = pl.col("begun").str.extract(_PLAIN).str.to_lowercase()
    plain = pl.when(own).then(name).otherwise(name + ":" + port)
    known = begun.unique().drop_nulls().with_columns(plain.alias("site"))
    odd = known.filter(pl.col("site").is_null())["begun"].to_list()
    read = pl.DataFrame(
        {"begun": odd, "read": [_read(url) for url in odd]}, schema=dict.fromkeys(("begun", "read"), pl.String)
    )
    known = known.join(read, on="begun", how="left").select("begun", pl.coalesce("site", "read").alias("site"))
    return begun.join(known, on="begun", how="left", maintain_order="left")["site"]


def _read(url: str) -> str | None:
    try:
        host, port = place(httpx.URL(url))
    except (httpx.InvalidURL, ValueError):
        return None
    return site(host, port) if host else None
