"""What is said of hosts: counted once, by one spelling, and ranked only where enough is known."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.hosts import by_host, most_refusing, slowest
from tasks.core.tables import LEDGER, OUTCOMES, conform


def rows(*rows: dict[str, Any]) -> pl.DataFrame:
    frame = pl.DataFrame([{"url": f"https://a.org/{number}", **row} for number, row in enumerate(rows)])
    return conform(frame, LEDGER)


def of(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {row.pop("host"): row for row in by_host(frame).to_dicts()}


def at(host: str, outcome: str | None, count: int = 1, **columns: object) -> list[dict[str, Any]]:
    return [{"url": f"https://{host}/{outcome}/{n}.jpg", "outcome": outcome, **columns} for n in range(count)]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://A.Org/x.jpg", "a.org"),
        ("HTTP://a.org", "a.org"),
        ("https://a.org:443/x", "a.org"),
        ("http://a.org:80?x", "a.org"),
        ("http://a.org:443/x", "a.org"),  # the limits of a host are shared by its two schemes
        ("http://127.0.0.1:8000/x", "127.0.0.1:8000"),
        ("https://a.org?u=//b.org/", "a.org"),
        ("file:///photos/x.jpg", "this machine"),
        ("file:///photos/x.zip#in/http://a.org/y.jpg", "this machine"),
        ("data:image/png;base64,//a.org/x", "no host"),
        ("http://", "no host"),
        ("http:///x.jpg", "no host"),
        ("ftp://a.org/x", "no host"),
        ("x.jpg", "no host"),
        ("", "no host"),
    ],
)
def test_addresses_are_counted_by_site_and_what_has_none_by_name(url: str, host: str) -> None:
    assert list(of(rows({"url": url}))) == [host]


def test_what_a_host_gave_and_refused_is_counted() -> None:
    frame = rows(
        *at("a.org", "kept", 2, seconds=0.5, received=100, bytes=90),
        *at("a.org", "timeout", 2, seconds=20.0, received=10),
        *at("a.org", "not-found", 1, received=0),
        *at("a.org", None, 1),
        *at("b.org", "kept", 1, bytes=70),  # a row from before bytes and seconds were counted
    )
    assert of(frame) == {
        "a.org": {
            "addresses": 6, "kept": 2, "refused": 3, "refusal": "timeout", "seconds": 10.25, "answers": 4,
            "received": 220, "judged": 5, "blamed": 3, "blame": "timeout",
        },
        "b.org": {
            "addresses": 1, "kept": 1, "refused": 0, "refusal": None, "seconds": None, "answers": 0,
            "received": 70, "judged": 1, "blamed": 0, "blame": None,
        },
    }  # fmt: skip


def test_files_of_this_machine_came_over_no_network() -> None:
    frame = rows({"url": "file:///x.jpg", "outcome": "kept", "bytes": 1000})
    assert of(frame)["this machine"]["received"] == 0


def test_hosts_come_by_their_addresses_then_by_name_whatever_the_order_of_rows() -> None:
    frame = rows(*at("b.org", "kept", 2), *at("c.org", "kept", 3), *at("a.org", "kept", 2))
    assert by_host(frame)["host"].to_list() == ["c.org", "a.org", "b.org"]
    assert by_host(frame).equals(by_host(frame.reverse()))


def test_of_two_refusals_as_frequent_the_first_by_name_is_told() -> None:
    frame = rows(*at("a.org", "timeout", 2), *at("a.org", "damaged", 2), *at("a.org", "kept", 5))
    assert of(frame)["a.org"]["refusal"] == "damaged"


def test_the_slowest_are_ranked_by_their_median_and_only_with_three_answers() -> None:
    frame = rows(
        *at("once.org", "kept", 2, seconds=99.0),
        *at("fast.org", "kept", 3, seconds=0.1),
        *at("fast.org", "timeout", 1, seconds=60.0),  # one hiccup makes no slow host
        *at("slow.org", "kept", 3, seconds=3.0),
        *at("older.org", "kept", 9),
    )
    assert slowest(by_host(frame)) == [
        {"host": "slow.org", "seconds": 3.0, "answers": 3},
        {"host": "fast.org", "seconds": 0.1, "answers": 4},
    ]


def test_only_five_hosts_are_ranked() -> None:
    hosts = by_host(rows(*(row for n in range(9) for row in at(f"h{n}.org", "not-found", 3, seconds=float(n)))))
    assert [row["host"] for row in slowest(hosts)] == ["h8.org", "h7.org", "h6.org", "h5.org", "h4.org"]
    assert [row["host"] for row in most_refusing(hosts)] == ["h0.org", "h1.org", "h2.org", "h3.org", "h4.org"]


def test_a_host_is_blamed_for_what_it_refused_and_for_nothing_else() -> None:
    frame = rows(
        *at("a.org", "kept", 1), *at("a.org", "forbidden", 3), *at("a.org", "opted-out", 1),
        *at("a.org", "licence-refused", 50), *at("a.org", None, 50), *at("a.org", "invalid-address", 50),
        *at("b.org", "licence-refused", 9),
        *at("two.org", "not-found", 2),
        *at("good.org", "kept", 9),
        *({"url": f"file:///{n}", "outcome": "damaged"} for n in range(9)),
        *({"url": f"data:{n}", "outcome": "html"} for n in range(9)),
    )  # fmt: skip
    assert most_refusing(by_host(frame)) == [
        {"host": "a.org", "share": 0.8, "refused": 4, "addresses": 5, "refusal": "forbidden"}
    ]


outcome = st.one_of(st.none(), st.sampled_from(list(OUTCOMES)))
site = st.sampled_from(["https://a.org/", "http://A.org/", "https://b.org:8443/", "file:///", "data:"])


@given(st.lists(st.tuples(site, outcome, st.one_of(st.none(), st.integers(0, 10**9))), max_size=40))
def test_no_address_is_lost_or_counted_twice(drawn: list[tuple[str, str | None, int | None]]) -> None:
    frame = rows(*({"url": f"{to}{n}", "outcome": what, "received": of} for n, (to, what, of) in enumerate(drawn)))
    hosts = by_host(frame)
    assert hosts["addresses"].sum() == len(drawn)
    assert hosts["kept"].sum() == sum(what == "kept" for _, what, _ in drawn)
    assert hosts["refused"].sum() == sum(what not in {None, "kept"} for _, what, _ in drawn)
    assert all(row["blamed"] <= row["judged"] <= row["addresses"] for row in hosts.to_dicts())
