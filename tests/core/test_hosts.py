"""Which site an address is at: as the parser that requests are sent by reads it, in every spelling."""

from __future__ import annotations

import httpx
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.core.hosts import invalid, place, site, sites


def site_of(url: str) -> str | None:
    found: str | None = sites(pl.Series("url", [url])).item()
    return found


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://A.Org/x.jpg", "a.org"),
        ("HTTP://a.org", "a.org"),
        ("https://a.org:443/x", "a.org"),
        ("http://a.org:0080?x", "a.org"),
        ("http://a.org:443/x", "a.org"),
        ("http://a.org:/x", "a.org"),
        ("http://a.org:00/x", "a.org:0"),
        ("http://a.org./x", "a.org"),
        ("http://a.org.:08080/x", "a.org:8080"),
        ("http://127.0.0.1:8000/x", "127.0.0.1:8000"),
        ("http://[::1]:8000/x", "[::1]:8000"),
        ("http://[2001:DB8::80]/x", "[2001:db8::80]"),
        ("https://me:se@cret@a.org:8443/x", "a.org:8443"),
        ("https://a.org/mail@b.org", "a.org"),
        ("https://a.org?u=//b.org/", "a.org"),
        ("https://bücher.example/x", "xn--bcher-kva.example"),
        ("https://BÜCHER.example.:81/x", "xn--bcher-kva.example:81"),
        ("https://xn--zzzz.example/x", "xn--zzzz.example"),
        ("http://a.org\\b.org/x", "a.org\\b.org"),
        ("file:///photos/x.jpg", None),
        ("http://", None),
        ("http:///x.jpg", None),
        ("http://a.org:port/", None),
        ("ftp://a.org/x", None),
        ("", None),
    ],
)
def test_a_site_has_one_name(url: str, name: str | None) -> None:
    assert site_of(url) == name


letters = st.text(alphabet="abAZ09.-_ü。ß%\\:[]@ \t", max_size=12)
ports = st.one_of(st.just(""), st.text(alphabet="0489", max_size=6).map(":{}".format), st.just(":x"))
urls = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP"]),
    st.sampled_from(["", "", "me@", "me:p@w@"]),
    st.one_of(letters, st.sampled_from(["a.org", "[::1]", "127.1", "xn--bcher-kva.example"])),
    ports,
    st.sampled_from(["", "/", "/x@b.org", "?q=http://b.org", "#:80"]),
)


@given(st.lists(urls, max_size=8))
@example(["http://a.org:0080/x", "https://a.org:080/", "http://a.org.:0/", "http://me@a.org..", "http://A.org:443"])
def test_the_parser_that_requests_are_sent_by_reads_the_same_site(drawn: list[str]) -> None:
    for url, found in zip(drawn, sites(pl.Series("url", drawn, dtype=pl.String)), strict=True):
        try:
            host, port = place(httpx.URL(url))
        except (httpx.InvalidURL, ValueError):
            continue  # never asked
        assert found == (site(host, port) if host else None)


def test_each_address_keeps_its_place_and_null_stays_null() -> None:
    urls = ["http://b.org/1", None, "http://a.org/1", "x", "http://b.org/2", "http://ü.org/"]
    named = ["b.org", None, "a.org", None, "b.org", "xn--tda.org"]
    assert sites(pl.Series("url", urls)).to_list() == named
    assert sites(pl.Series("url", [], dtype=pl.String)).to_list() == []


@pytest.mark.parametrize("port", ["0", "00", "65536", "99999", "0070000", "9" * 5000])
@pytest.mark.parametrize("host", ["a.org", "127.0.0.1", "[::1]"])
def test_a_port_that_there_is_not_makes_no_address(host: str, port: str) -> None:
    assert "port" in (invalid(f"http://{host}:{port}/x.jpg") or "")


@pytest.mark.parametrize("port", ["", ":", ":1", ":080", ":80", ":65535", ":0065535"])
def test_every_port_that_there_is_makes_one(port: str) -> None:
    assert invalid(f"http://a.org{port}/x.jpg") is None
