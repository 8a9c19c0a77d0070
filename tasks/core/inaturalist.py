"""Addresses of iNaturalist: of its photos, on whichever host and in whatever size, and of its observations.

Owns the patterns, which Python and Polars read alike. Reads and writes nothing.
"""

from __future__ import annotations

import re

import polars as pl

PHOTO_HOSTS = (
    r"inaturalist-open-data\.s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com"
    r"|s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com/inaturalist-open-data|static\.inaturalist\.org|inaturalist\.org"
)
PHOTO = rf"(?i)^https?://(?:www\.)?(?:{PHOTO_HOSTS})/photos/(\d+)/"
"""Of the file of a photo; its group is the photo's number."""
OBSERVATION = r"^https?://(?:[a-z0-9-]+\.)*inaturalist(?:\.[a-z]+)+/observations/(\d+)"
"""Of the page of an observation, on the sites of its network too (inaturalist.ca, inaturalist.ala.org.au)."""
SIZES = "square|thumb|small|medium|large|original"
_SIZE = rf"/(?:{SIZES})(\.[^/]*)$"


def observation_group(page: str | None) -> str | None:
    """Return the `group_id` of the observation that `page` shows; None when it shows none."""
    found = re.match(OBSERVATION, page or "")
    return f"inaturalist:{found[1]}" if found else None


def sized(url: str, size: str) -> str | None:
    """Return the address of another size of a photo; None when `url` names no size."""
    resized, changed = re.subn(_SIZE, rf"/{size}\1", url)
    return resized if changed else None


def all_sized(urls: pl.Expr, size: str) -> pl.Expr:
    """Return the addresses of another size of photos; those that name no size as they are."""
    return urls.str.replace(_SIZE, f"/{size}$1")
