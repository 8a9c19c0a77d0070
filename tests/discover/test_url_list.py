from __future__ import annotations

import gzip
import re
import time
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from tasks.core.errors import SourceError
from tasks.core.fingerprint import table_digest
from tasks.core.network import NetworkPolicy
from tasks.discover.config import UrlListSource
from tasks.discover.found import Ask, Page
from tasks.discover.url_list import pages, problems

NETWORK = NetworkPolicy(user_agent="t")


def read(*paths: Path, **fields: object) -> Page:
    source = UrlListSource.model_validate(
        {"source": "url_list", "path": paths if len(paths) > 1 else paths[0], **fields}
    )
    [page] = pages(Ask(source, "bear", NETWORK))
    return page


def labelled(path: Path, rule: object, **fields: object) -> Page:
    source = UrlListSource.model_validate({"source": "url_list", "path": path, "label": rule, **fields})
    [page] = pages(Ask(source, None, NETWORK))
    return page


def rows(page: Page, *columns: str) -> list[tuple[object, ...]]:
    return page.candidates.select(columns).rows()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "bears.txt"


def urls(path: Path, content: str | bytes) -> list[str]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path).candidates["url"].to_list()


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
    assert found.notes == {"rows": 1, "unwrapped": 1}


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
        "data-uris": 2, "not-addresses": 4,
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
    with pytest.raises(SourceError, match="There is no URL list") as caught:
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


@pytest.mark.parametrize(
    "name", ["bears.csv", "bears.tsv", "bears.jsonl", "bears.parquet", "bears.csv.gz", "bears.txt"]
)
def test_a_table_brings_what_it_knows_of_each_picture(tmp_path: Path, name: str) -> None:
    table = pl.DataFrame(
        {
            "Image_URL": ["http://a.org/1,2.jpg", "http://a.org/3.jpg"],
            "url": ["http://a.org/page/1", None],
            "License": ["CC BY-NC 4.0", "unclear"],
            "date": ["2020-05-06 10:00:00", "last week"],
            "lat": ["-33.5", "95"],
        }
    )
    save(table, tmp_path / name)
    assert rows(read(tmp_path / name), "url", "page_url", "licence", "observed_on", "latitude") == [
        ("http://a.org/1,2.jpg", "http://a.org/page/1", "cc-by-nc", date(2020, 5, 6), -33.5),
        ("http://a.org/3.jpg", None, None, None, None),
    ]


def save(table: pl.DataFrame, path: Path) -> None:
    match path.suffixes:
        case [".parquet"]:
            table.write_parquet(path)
        case [".jsonl"]:
            table.write_ndjson(path)
        case _:
            text = table.write_csv(separator="," if ".csv" in path.suffixes else "\t").encode()
            path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


@pytest.mark.parametrize("header", ["", "name,where it is,kind\n"])
def test_the_column_of_addresses_is_found_with_and_without_a_header(tmp_path: Path, header: str) -> None:
    (tmp_path / "l.csv").write_text(f"{header}1,http://a.org/1,bear\n2,//a.org/2,bear\n3,,bear\n")
    page = read(tmp_path / "l.csv")
    assert rows(page, "url") == [("http://a.org/1",), ("https://a.org/2",)]
    assert page.notes == {"rows": 3, "not-addresses": 1}


def test_the_recipe_names_columns_that_no_rule_could_find(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("http://a.org/1.jpg;http://a.org/page;Ann\n")
    with pytest.raises(SourceError, match="several columns of addresses") as caught:
        read(tmp_path / "l.csv")
    assert "column_1, column_2" in str(caught.value.received)
    page = read(tmp_path / "l.csv", columns={"url": "column_1", "page_url": "column_2", "creator": "column_3"})
    assert rows(page, "url", "page_url", "creator") == [("http://a.org/1.jpg", "http://a.org/page", "Ann")]


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("picture,page\nhttp://a.org/1.jpg,x\n")
    with pytest.raises(SourceError, match="has no column pictur") as caught:
        read(tmp_path / "l.csv", columns={"url": "pictur"})
    assert caught.value.received == "Its columns: picture, page."
    assert caught.value.hint.startswith("Did you mean picture for pictur?")


def test_a_table_without_addresses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match="no column of addresses"):
        read(tmp_path / "l.csv")


def test_classes_come_from_a_column_and_rows_are_chosen_by_another(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        "url,kind,ok\nhttp://a/1,bear,1\nhttp://a/2,wolf,1\nhttp://a/2,bear,0\nhttp://a/3,,1\n"
    )
    page = labelled(tmp_path / "l.csv", "kind", where={"ok": 1})
    assert rows(page, "url", "label") == [("http://a/1", "bear"), ("http://a/2", "wolf"), ("http://a/3", None)]
    assert page.notes == {"rows": 4, "other-value": 1}


def test_the_class_may_stand_in_the_address(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("http://a/bear/1\nhttp://a/wolf/1\nhttp://a/other\n")
    page = labelled(tmp_path / "l.txt", {"pattern": "/a/([a-z]+)/"})
    assert rows(page, "url", "label") == [
        ("http://a/bear/1", "bear"),
        ("http://a/other", None),
        ("http://a/wolf/1", "wolf"),
    ]


def test_a_plain_list_has_no_column_for_the_class(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("http://a/1\nhttp://a/2\n")
    with pytest.raises(SourceError, match="has no column kind"):
        labelled(tmp_path / "l.txt", "kind")


def test_several_files_are_one_class(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("http://a/2\nhttp://a/1\n")
    (tmp_path / "b.csv").write_text("url,creator\nhttp://a/2,Ann\nhttp://a/3,Bob\n")
    page = read(tmp_path / "a.txt", tmp_path / "b.csv")
    assert rows(page, "url", "creator") == [("http://a/1", None), ("http://a/2", "Ann"), ("http://a/3", "Bob")]
    assert page.notes == {"rows": 4, "duplicates": 1}
    assert read(tmp_path / "b.csv", tmp_path / "a.txt").candidates.equals(page.candidates)


def test_missing_files_are_known_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "bears.txt").write_text("http://a/1\n")
    source = UrlListSource(source="url_list", path=(tmp_path / "bears.txt", tmp_path / "bear.txt"))
    [problem] = problems(Ask(source, "bear", NETWORK))
    assert isinstance(problem, SourceError)
    assert problem.hint.startswith("Did you mean bears.txt?")


def test_200_000_lines_are_read_in_under_3_seconds(written: Path) -> None:
    written.write_text("".join(f'"http://a.org/{number}.jpg",\n' for number in range(200_000)))
    began = time.process_time()
    assert read(written).candidates.height == 200_000
    assert time.process_time() - began < 3


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
