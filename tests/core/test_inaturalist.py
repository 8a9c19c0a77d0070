"""Addresses of iNaturalist: one pattern each, read by Python and Polars alike."""

from __future__ import annotations

import re

import polars as pl
import pytest

from tasks.core.inaturalist import OBSERVATION, PHOTO, all_sized, observation_group, sized

FILES = {
    "https://inaturalist-open-data.s3.amazonaws.com/photos/12/medium.jpg": "12",
    "https://inaturalist-open-data.s3.us-east-1.amazonaws.com/photos/12/square.?15": "12",
    "http://s3.amazonaws.com/inaturalist-open-data/photos/12/large.JPEG": "12",
    "https://Static.iNaturalist.org/photos/12/original.png?15": "12",
    "https://www.inaturalist.org/photos/12": None,
    "https://static.inaturalist.org.evil.org/photos/12/original.png": None,
}
PAGES = {
    "https://www.inaturalist.org/observations/7": "7",
    "http://inaturalist.ca/observations/7?locale=fr": "7",
    "https://inaturalist.ala.org.au/observations/7": "7",
    "https://www.inaturalist.org/photos/7": None,
    "https://x.org/?of=https://www.inaturalist.org/observations/7": None,
    "": None,
}


@pytest.mark.parametrize(("pattern", "told"), [(PHOTO, FILES), (OBSERVATION, PAGES)])
def test_the_number_is_the_same_in_python_and_polars(pattern: str, told: dict[str, str | None]) -> None:
    assert [found[1] if (found := re.match(pattern, url)) else None for url in told] == list(told.values())
    assert pl.Series(list(told)).str.extract(pattern, 1).to_list() == list(told.values())


def test_pages_of_observations_name_their_group() -> None:
    expected = [number and f"inaturalist:{number}" for number in PAGES.values()]
    assert [observation_group(page) for page in PAGES] == expected
    assert observation_group(None) is None


def test_only_the_word_for_the_size_is_swapped() -> None:
    resized = {
        "https://x.org/photos/square/1/square.JPG?15": "https://x.org/photos/square/1/large.JPG?15",
        "https://x.org/photos/1/medium.": "https://x.org/photos/1/large.",
        "https://x.org/copyright-square.png": None,
    }
    assert [sized(url, "large") for url in resized] == list(resized.values())
    kept = [to or url for url, to in resized.items()]
    assert pl.DataFrame({"url": list(resized)}).select(all_sized(pl.col("url"), "large"))["url"].to_list() == kept
