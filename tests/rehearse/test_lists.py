from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from tasks.rehearse.lists import untidy

ADDRESSES = [f"http://127.0.0.1:9/media/{n}?w=640" for n in range(60)]


def read(line: str) -> str:
    bare = line.strip().strip("\"'")
    wrapped = parse_qs(urlsplit(bare).query).get("imgurl")
    return wrapped[0] if wrapped else bare


def test_every_address_is_there_one_of_them_twice() -> None:
    lines = [read(line) for line in untidy(ADDRESSES, number=0).decode("utf-8-sig").splitlines()]
    found = [line for line in lines if line.startswith("http")]
    assert set(found) == set(ADDRESSES)
    assert len(found) == len(ADDRESSES) + 1


def test_the_list_is_as_untidy_as_real_ones() -> None:
    body = untidy(ADDRESSES, number=0)
    assert body.startswith(b"\xef\xbb\xbf")
    assert body.count(b"\r\n") == body.count(b"\n")
    for trait in (b"google.com/imgres?imgurl=", b"data:image/gif;base64,", b'\n"http', b"\n'http", b"\n  http"):
        assert trait in body


def test_another_list_is_untidy_in_another_way() -> None:
    body = untidy(ADDRESSES, number=1)
    assert body.startswith(b"http")
    assert b"\r" not in body


def test_a_list_may_be_empty() -> None:
    assert untidy([], number=1) == b""
