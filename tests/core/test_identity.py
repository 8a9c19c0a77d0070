from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.identity import canonical, photo_identity


def identities(*urls: str | None) -> list[str | None]:
    frame = pl.DataFrame({"url": list(urls)}, schema={"url": pl.String})
    return frame.select(photo_identity(pl.col("url"))).to_series().to_list()


INATURALIST = [
    "https://inaturalist-open-data.s3.amazonaws.com/photos/123/medium.jpg",
    "https://inaturalist-open-data.s3.amazonaws.com/photos/123/original.JPEG?1545384000",
    "https://inaturalist-open-data.s3.us-east-1.amazonaws.com/photos/123/large.png",
    "https://s3.amazonaws.com/inaturalist-open-data/photos/123/large.jpg",
    "http://static.inaturalist.org/photos/123/square.jpeg",
    "https://static.inaturalist.org/photos/123/square.?1545368340",
    "HTTPS://Static.iNaturalist.org:443/photos/123/thumb.jpg#top",
    "https://www.inaturalist.org/photos/123",
    "https://www.inaturalist.org/photos/123/",
    "https://inaturalist.org/photos/123?size=large",
]


@pytest.mark.parametrize("url", INATURALIST)
def test_every_address_of_an_inaturalist_photo_is_its_number(url: str) -> None:
    assert identities(url) == ["inaturalist:123"]


@pytest.mark.parametrize(
    "url",
    [
        "https://inaturalist-open-data.s3.amazonaws.com/photos/1234/medium.jpg",
        "https://example.org/photos/123/medium.jpg",
        "https://static.inaturalist.org.example.org/photos/123/medium.jpg",
        "https://notinaturalist.org/photos/123/medium.jpg",
        "https://static-inaturalist.org/photos/123/medium.jpg",
        "https://inaturalist-open-data.s3.amazonaws.com.example.org/photos/123/medium.jpg",
        "https://s3.amazonaws.com/other-bucket/photos/123/medium.jpg",
        "https://example.org/?u=https://static.inaturalist.org/photos/123/medium.jpg",
        "https://static.inaturalist.org/attachments/users/icons/123/medium.jpg",
        "https://www.inaturalist.org/observations/123",
        "https://static.inaturalist.org/photos/123/medium/other.jpg",
    ],
)
def test_no_other_address_is_taken_for_an_inaturalist_photo(url: str) -> None:
    assert identities(url) != ["inaturalist:123"]


def test_another_host_is_another_photo_and_its_sizes_are_one() -> None:
    ours, medium, large, other, next_one = identities(
        "https://static.inaturalist.org/photos/123/medium.jpg",
        "http://127.0.0.1:8080/photos/123/medium.jpg",
        "http://127.0.0.1:8080/photos/123/large.jpg",
        "http://127.0.0.1:8081/photos/123/large.jpg",
        "http://127.0.0.1:8080/photos/124/large.jpg",
    )
    assert medium == large
    assert len({ours, medium, other, next_one}) == 4


@pytest.mark.parametrize(
    "spellings",
    [
        ["https://a.org", "https://a.org/", "http://a.org/", "https://a.org/?", "HTTP://WWW.A.org:80/#part", "https://a.org#x"],
        ["https://a.org/x?b=2", "https://a.org/x?utm_source=1&b=2", "http://a.org/x?b=2&utm_medium=x&fbclid=1"],
        ["https://a.org/x?b=2&c=3", "https://a.org/x?b=2&utm_source=1&c=3", "https://a.org/x?b=2&c=3&gclid=9#f"],
        ["https://a.org/x", "https://www.a.org/x?utm_source=1&utm_campaign=2"],
        ["https://a.org/~me/a-b_c.jpg", "https://a.org/%7Eme/a%2Db%5Fc%2ejpg"],
        ["https://a.org?q=1", "https://a.org/?q=1"],
        ["https://a.org/my photo 1.jpg?a=b c", "https://a.org/my%20photo%201.jpg?a=b%20c"],
        [
            "https://upload.wikimedia.org/wikipedia/commons/9/9b/P.jpg",
            "https://upload.wikimedia.org/wikipedia/commons/thumb/9/9b/P.jpg/960px-P.jpg",
            "http://upload.wikimedia.org/wikipedia/commons/thumb/9/9b/P.jpg/250px-P.jpg?utm_source=x",
            "https://upload.wikimedia.org/wikipedia/commons/thumb/9/9b/P.jpg/lossy-page1-330px-P.jpg.jpg",
        ],
    ],
)  # fmt: skip
def test_spellings_of_an_address_are_one_photo(spellings: list[str]) -> None:
    assert len(set(identities(*spellings))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.org/x.jpg", "https://a.org/X.jpg"),
        ("https://a.org/x", "https://a.org/x/"),
        ("https://a.org/x?id=1", "https://a.org/x?id=2"),
        ("https://a.org/x?id=1", "https://a.org/x"),
        ("https://a.org/x?a=1&b=2", "https://a.org/x?b=2&a=1"),  # some sites mind the order
        ("https://a.org/x", "https://a.org:8080/x"),
        ("https://a.org/x", "https://b.org/x"),
        ("https://a.org/a%2Fb", "https://a.org/a/b"),
        ("https://a.org/x?mygclid=1", "https://a.org/x?my"),
        ("https://a.org/a b", "https://a.org/a+b"),
        (
            "https://upload.wikimedia.org/wikipedia/commons/thumb/9/9b/P.pdf/page2-960px-P.pdf.jpg",
            "https://upload.wikimedia.org/wikipedia/commons/9/9b/P.pdf",
        ),
        (
            "https://upload.wikimedia.org/wikipedia/commons/thumb/9/9b/P.jpg/960px-P.jpg",
            "https://upload.wikimedia.org/wikipedia/en/9/9b/P.jpg",
        ),
        (
            "https://a.org/wikipedia/commons/thumb/9/9b/P.jpg/960px-P.jpg",
            "https://a.org/wikipedia/commons/9/9b/P.jpg",
        ),
    ],
)
def test_addresses_that_may_differ_stay_apart(one: str, other: str) -> None:
    first, second = identities(one, other)
    assert first != second


@pytest.mark.parametrize("url", ["file:///a/b.jpg", "data:image/png;base64,AAA=", "ftp://a.org/x", "a.org/x", "", None])
def test_what_is_no_web_address_is_itself(url: str | None) -> None:
    assert identities(url) == [url]


@given(st.lists(st.text(alphabet="htps:/.aw?&=%27Eutm_#~ 0", max_size=40), min_size=1, max_size=5))
def test_an_identity_has_no_other_spelling(texts: list[str]) -> None:
    urls = [f"https://a.org/{text}" for text in texts]
    frame = pl.DataFrame({"url": urls}).with_columns(canonical(pl.col("url")).alias("once"))
    again = frame.select(canonical(pl.lit("https:") + pl.col("once")).alias("again"), "once")
    assert again["again"].to_list() == again["once"].to_list()


def _addresses(folder: Path) -> Iterator[str]:
    pattern = re.compile(r"https?://(?:static\.inaturalist\.org|inaturalist-open-data[^/\"\s]*)/photos/[^\"\s,<>]+")
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".json", ".csv", ".dwc", ".txt"} and path.is_file():
            yield from pattern.findall(path.read_text(encoding="utf-8", errors="replace").replace("\\/", "/"))


@pytest.mark.real
def test_every_real_address_of_an_inaturalist_photo_is_its_number(real_data: Path) -> None:
    urls = sorted(set(_addresses(real_data / "fixtures")))
    assert len(urls) > 1000
    numbers = [re.split(r"/photos/", url)[1].split("/")[0] for url in urls]
    assert identities(*urls) == [f"inaturalist:{number}" for number in numbers]


@pytest.mark.real
@pytest.mark.usefixtures("long_cells")
def test_gbif_photos_and_their_pages_at_inaturalist_are_one(real_data: Path) -> None:
    with (real_data / "fixtures/gbif/multimedia_psilocybe_semilanceata.txt").open(
        encoding="utf-8", newline=""
    ) as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    pairs = [(row["identifier"], row["references"]) for row in rows if "inaturalist.org/photos/" in row["references"]]
    assert len(pairs) > 1000
    assert identities(*(photo for photo, _ in pairs)) == identities(*(page for _, page in pairs))


@pytest.mark.real
def test_the_api_offers_a_photo_under_one_number(real_data: Path) -> None:
    found: dict[str, set[str | None]] = defaultdict(set)
    answer = json.loads(
        (real_data / "fixtures/inaturalist_api/v1/get_observations_page1.json").read_text(encoding="utf-8")
    )
    for observation in answer["results"]:
        for photo in observation["photos"]:
            found[f"inaturalist:{photo['id']}"] |= set(
                identities(photo["url"], photo["url"].replace("square", "original"))
            )
    assert found
    assert all(kinds == {number} for number, kinds in found.items())
