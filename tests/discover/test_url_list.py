from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasks.core.errors import SourceError
from tasks.core.fingerprint import table_digest
from tasks.core.network import NetworkPolicy
from tasks.core.tables import CANDIDATES
from tasks.discover.config import UrlListSource
from tasks.discover.found import Discovered
from tasks.discover.sources import discover

NETWORK = NetworkPolicy(user_agent="t")


def read(path: Path) -> Discovered:
    return discover(UrlListSource(source="url_list", path=path), label="bear", network=NETWORK)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "bears.txt"


def urls(path: Path, content: str | bytes) -> list[str]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path).candidates["url"].to_list()


def test_candidates_have_their_schema_label_and_source(written: Path) -> None:
    written.write_text("http://a.org/1.jpg\n")
    found = read(written)
    assert dict(found.candidates.schema) == CANDIDATES
    [row] = found.candidates.to_dicts()
    assert {name: value for name, value in row.items() if value is not None} == {
        "url": "http://a.org/1.jpg",
        "label": "bear",
        "source": "url_list",
    }


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("\ufeffhttp://a.org/1.jpg", "http://a.org/1.jpg"),
        ('"http://a.org/1.jpg",', "http://a.org/1.jpg"),
        ("'http://a.org/1.jpg'", "http://a.org/1.jpg"),
        ("\u201chttp://a.org/1.jpg\u201d", "http://a.org/1.jpg"),
        ("  http://a.org/1.jpg \t\r", "http://a.org/1.jpg"),
        ("http://a.org/photo?id=7", "http://a.org/photo?id=7"),
        ("https://a.org/Bär 1.jpg", "https://a.org/Bär 1.jpg"),
        ("//a.org/1.jpg", "https://a.org/1.jpg"),
        ("www.a.org/1.jpg", "http://www.a.org/1.jpg"),
        ("a.org:8080/1.jpg", "http://a.org:8080/1.jpg"),
        ("HTTPS://A.org/1.jpg", "HTTPS://A.org/1.jpg"),
        ("ftp://a.org/1.jpg", "ftp://a.org/1.jpg"),  # an address, if not one that ingest will fetch
        (
            "https://www.google.com/imgres?imgurl=http%3A%2F%2Fa.org%2F1.jpg%3Fw%3D2&imgrefurl=x",
            "http://a.org/1.jpg?w=2",
        ),
        ("http://images.google.co.uk/imgres?q=bear&imgurl=https://a.org/1.jpg", "https://a.org/1.jpg"),
        ("https://www.google.com.br/imgres?imgurl=//a.org/1.jpg", "https://a.org/1.jpg"),
    ],
)
def test_an_address_is_found_in_whatever_surrounds_it(written: Path, line: str, url: str) -> None:
    assert urls(written, line + "\n") == [url]


def test_the_page_behind_a_google_wrapper_is_kept(written: Path) -> None:
    written.write_text("https://www.google.com/imgres?imgurl=http://a.org/1.jpg&imgrefurl=http%3A%2F%2Fa.org%2Fpage\n")
    found = read(written)
    assert found.candidates["page_url"].to_list() == ["http://a.org/page"]
    assert found.notes == {"rows": 1, "unwrapped": 1, "candidates": 1}


def test_every_line_left_out_is_counted_under_its_reason(written: Path) -> None:
    lines = [
        "# bears", "", "   ", '""', "http://a.org/1", "http://a.org/1", '"http://a.org/1"', "http://a.org/2",
        "https://encrypted-tbn0.gstatic.com/images?q=tbn:x", "https://encrypted-tbn3.google.com/images?q=y",
        "https://www.google.com/imgres?imgurl=https://encrypted-tbn1.gstatic.com/x", "https://www.google.com/imgres?x=1",
        "data:image/jpeg;base64,/9j/4AAQ", "DATA:image/png,x", "not an address", "bear.jpg", "https://",
    ]  # fmt: skip
    written.write_text("\r\n".join(lines))
    found = read(written)
    assert found.candidates["url"].to_list() == ["http://a.org/1", "http://a.org/2"]
    assert found.notes == {
        "rows": 13, "unwrapped": 1, "duplicates": 2, "thumbnails": 3,
        "data-uris": 2, "not-addresses": 4, "candidates": 2,
    }  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_do_not_change_the_addresses(written: Path, encoding: str, newline: str) -> None:
    assert urls(written, f"http://a.org/bär{newline}http://a.org/ü{newline}".encode(encoding)) == [
        "http://a.org/bär",
        "http://a.org/ü",
    ]


def test_the_order_of_the_lines_does_not_change_the_table(written: Path) -> None:
    urls(written, "http://a.org/1\nhttp://a.org/2\n")
    first = read(written).candidates
    urls(written, "http://a.org/2\nhttp://a.org/1\nhttp://a.org/2\n")
    assert read(written).candidates.equals(first)
    assert table_digest(read(written).candidates) == table_digest(first)


def test_a_missing_list_says_which_and_what_to_do(written: Path) -> None:
    with pytest.raises(SourceError, match="Write one image address a line") as caught:
        read(written)
    assert str(written) in caught.value.what


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ("", "an empty file"),
        ("\n# none\n", "an empty file"),
        ("data:x\nhello\n", "2 lines: 1 data-uris, 1 not-addresses"),
    ],
)
def test_a_list_without_addresses_says_so(written: Path, content: str, received: str) -> None:
    written.write_text(content)
    with pytest.raises(SourceError, match="holds no usable image address") as caught:
        read(written)
    assert caught.value.received == received


def test_a_folder_is_not_a_list(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.real
def test_counts_on_real_lists_agree_with_a_plain_count(real_data: Path) -> None:
    folder = real_data / "fixtures" / "url_lists"
    lists = [path for path in sorted(folder.rglob("*.txt")) if path.name != "SOURCE.txt"]
    assert len(lists) >= 6
    total = 0
    for path in lists:
        lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").split("\n")]
        plain = {line for line in lines if line.startswith("http") and not re.search("encrypted-tbn|imgres", line)}
        found = read(path)
        assert set(found.candidates["url"]) == plain, path
        assert found.notes["rows"] == sum(map(bool, lines)), path
        total += len(plain)
    assert total > 1500
