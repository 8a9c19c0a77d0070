"""Which site an address is at: one reading of it for plans, reports, limits and the name we give ourselves.

Reads and writes nothing.
"""

from __future__ import annotations

import httpx
import polars as pl

from tasks.core.network import DEFAULT_PORTS, default_port, site_port

_BEGINNING = r"(?i)^(https?://[^/?#]*)"
# What needs no parser; the rest is letters of other alphabets, escapes, IPv6 and what is no host.
_PLAIN = r"(?i)^https?://(?:[^/?#]*@)?([a-z0-9_.-]*[a-z0-9_-])\.*(?::[0-9]*)?$"
_PORT = r":0*([0-9]*)$"


def place(url: httpx.URL) -> tuple[str, int]:
    """Return the host of an http(s) address, in small ASCII letters without a dot at its end, and the port."""
    # Not `url.host`: it raises where a name in ASCII (`xn--zzzz`) stands for no other.
    return url.raw_host.decode("ascii").lower().rstrip("."), url.port or default_port(url.scheme)


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
    own = port.is_null() | port.is_in(["", *map(str, DEFAULT_PORTS.values())])
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
