from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tasks.core.errors import StopError
from tasks.core.network import NetworkPolicy
from tasks.core.tables import read_ledger, write_table
from tasks.ingest.config import IngestConfig
from tasks.ingest.journal import Row, journal_path, ledger_frame, open_journal
from tasks.ingest.plan import Plan, plan

from .conftest import NOW, offer, offer_urls

CONFIG = IngestConfig()


def record(collection: Path, name: str, *rows: Row) -> None:
    full = [{"label": "wren", "fetched_at": NOW - timedelta(hours=1), **row} for row in rows]
    write_table(ledger_frame(full), collection / "ledger" / f"{name}.parquet")


def planned(result: Plan) -> list[str]:
    return [url for path in result.batches for url in pl.read_parquet(path)["url"]]


def test_a_collection_without_candidates_has_nothing_to_do(collection: Path) -> None:
    assert plan(collection, CONFIG, now=NOW) == Plan([], 0, 0)


def test_each_new_address_is_planned_once_under_its_first_label(collection: Path) -> None:
    offer_urls(collection, "http://a.org/1", "http://a.org/2", label="wren")
    offer_urls(collection, "http://a.org/1", label="robin")
    result = plan(collection, CONFIG, now=NOW)
    assert (result.pending, result.known) == (2, 0)
    assert pl.read_parquet(result.batches[0]).sort("url").rows() == [
        ("http://a.org/1", "robin", False),
        ("http://a.org/2", "wren", False),
    ]


def hosts_of(lane: list[Path]) -> set[str]:
    return {url.split("/")[2] for path in lane for url in pl.read_parquet(path)["url"]}


def test_a_large_host_has_a_lane_of_its_own_and_small_ones_share_batches_each_whole_in_one(collection: Path) -> None:
    sizes = {"big.org": 80, "large.org": 30, **{f"small{n}.org": 6 for n in range(9)}, "one.org": 1}
    offer_urls(collection, *(f"http://{host}/{n}" for host, many in sizes.items() for n in range(many)))
    result = plan(collection, CONFIG.model_copy(update={"batch_size": 25}), now=NOW)
    assert [(hosts_of(lane), [pl.read_parquet(path).height for path in lane]) for lane in result.lanes] == [
        ({"big.org"}, [20, 20, 20, 20]),
        ({"large.org"}, [15, 15]),
        ({f"small{n}.org" for n in range(4)}, [24]),
        ({f"small{n}.org" for n in range(4, 8)}, [24]),
        ({"small8.org", "one.org"}, [7]),
    ]
    assert sorted(planned(result)) == sorted(f"http://{host}/{n}" for host, many in sizes.items() for n in range(many))


def test_no_host_is_in_two_lanes_however_it_is_spelt(collection: Path) -> None:
    spelt = ["a.org", "A.ORG", "a.org:443", "me:pw@a.org", "a.org.", "a.org:0080", "a。org", "a.org.:"]
    offer_urls(collection, *(f"http://{host}/{k}-{n}" for k, host in enumerate(spelt) for n in range(15)))
    offer_urls(collection, "http://b.org/1", "http://a.org:81/1", "https://a.org:80/1")
    first, second = plan(collection, CONFIG.model_copy(update={"batch_size": 50}), now=NOW).lanes
    assert [pl.read_parquet(path).height for path in first] == [41, 41, 39]
    assert hosts_of(second) == {"b.org", "a.org:81"}


def test_a_run_never_has_more_than_a_thousand_batches(collection: Path) -> None:
    offer_urls(collection, *(f"http://a.org/{n}" for n in range(2500)), *(f"http://b{n}.org/" for n in range(1500)))
    assert len(plan(collection, CONFIG.model_copy(update={"batch_size": 1}), now=NOW).batches) <= 1100


def test_the_same_candidates_in_another_order_give_the_same_batches(tmp_path: Path) -> None:
    urls = [f"http://host{n % 3}.org/{n}" for n in range(30)]
    first, second = tmp_path / "a" / "c" / "x", tmp_path / "b" / "c" / "x"
    offer_urls(first, *urls)
    offer_urls(second, *urls[15:][::-1])
    offer_urls(second, *urls[:20])
    config = CONFIG.model_copy(update={"batch_size": 7})
    one, two = plan(first, config, now=NOW), plan(second, config, now=NOW)
    assert [path.name for path in one.batches] == [path.name for path in two.batches]
    assert [path.read_bytes() for path in one.batches] == [path.read_bytes() for path in two.batches]


def test_final_outcomes_are_not_asked_again_and_passing_ones_only_when_old(collection: Path) -> None:
    outcomes = {"kept": 99, "not-found": 99, "damaged": 99, "timeout": 25, "server-error": 23, "unreachable": 24}
    offer_urls(collection, *(f"http://a.org/{outcome}" for outcome in outcomes))
    ages = {outcome: NOW - timedelta(hours=hours) for outcome, hours in outcomes.items()}
    record(collection, "old", *({"url": f"http://a.org/{o}", "outcome": o, "fetched_at": ages[o]} for o in ages))
    result = plan(collection, CONFIG, now=NOW)
    assert sorted(planned(result)) == ["http://a.org/timeout", "http://a.org/unreachable"]
    assert (result.pending, result.known) == (2, 4)


def test_named_outcomes_are_asked_again_whatever_their_age(collection: Path) -> None:
    offer_urls(collection, "http://a.org/1", "http://a.org/2", "http://a.org/3")
    outcomes = {"http://a.org/1": "not-found", "http://a.org/2": "timeout", "http://a.org/3": "kept"}
    record(collection, "x", *({"url": url, "outcome": outcome} for url, outcome in outcomes.items()))
    again = plan(collection, CONFIG, now=NOW, retry=("not-found", "timeout"))
    assert sorted(planned(again)) == ["http://a.org/1", "http://a.org/2"]


def test_an_unknown_outcome_to_retry_is_refused_with_the_nearest_name(collection: Path) -> None:
    with pytest.raises(StopError, match="Did you mean timeout") as caught:
        plan(collection, CONFIG, now=NOW, retry=("timeouts",))
    assert "'timeouts'" in caught.value.what


def test_refused_licences_get_their_row_at_once_and_of_two_that_are_stated_the_narrower_counts(
    collection: Path,
) -> None:
    for number, licences in enumerate([("cc-by-nc",), (None,), ("CC0",), ("cc-by-nc", "cc0"), (None, "cc0")]):
        for source, licence in enumerate(licences):
            offer(
                collection,
                {"url": f"http://a.org/{number}", "label": "wren", "source": f"s{source}", "licence": licence},
            )
    config = IngestConfig(licences=("cc0",))
    result = plan(collection, config, now=NOW)
    assert sorted(planned(result)) == ["http://a.org/2", "http://a.org/4"]
    ledger = read_ledger(collection)
    assert ledger["outcome"].to_list() == ["licence-refused"] * 3
    assert ledger["attempts"].to_list() == [0, 0, 0]
    assert plan(collection, config, now=NOW).batches == result.batches
    assert len(list((collection / "ledger").iterdir())) == 1  # not written down twice


def test_an_accepted_licence_later_brings_the_refused_back_and_a_refused_one_retires_the_kept(collection: Path) -> None:
    offer(collection, {"url": "http://a.org/1", "label": "wren", "source": "s", "licence": "cc-by-nc"})
    plan(collection, IngestConfig(licences=("cc0",)), now=NOW)
    assert planned(plan(collection, IngestConfig(licences=("cc0", "cc-by-nc")), now=NOW)) == ["http://a.org/1"]
    record(collection, "kept", {"url": "http://a.org/1", "outcome": "kept", "fetched_at": NOW + timedelta(hours=1)})
    plan(collection, IngestConfig(licences=("cc0",)), now=NOW + timedelta(hours=2))
    assert read_ledger(collection)["outcome"].to_list() == ["licence-refused"]


def test_strings_that_are_no_addresses_get_their_row_at_once(collection: Path) -> None:
    bad = [
        "ftp://a.org/x.jpg",
        "file:///etc/passwd",
        "photo.jpg",
        "http://",
        "http://[::1/x",
        "http://a.org:port/",
        "http://xn--zzzz.org/",
    ]
    offer_urls(collection, *bad, "http://a.org/ok")
    assert planned(plan(collection, CONFIG, now=NOW)) == ["http://a.org/ok"]
    ledger = read_ledger(collection)
    assert sorted(ledger["url"]) == sorted(bad)
    assert set(ledger["outcome"]) == {"invalid-address"}
    assert ledger["reason"].null_count() == 0


def test_a_journal_left_behind_is_settled_before_planning_and_stale_batches_go(collection: Path) -> None:
    offer_urls(collection, "http://a.org/1", "http://a.org/2")
    [batch] = plan(collection, CONFIG, now=NOW).batches
    with open_journal(journal_path(collection, batch.stem)) as journal:
        journal.append({"url": "http://a.org/1", "label": "wren", "outcome": "kept", "phash": 2**64 - 1,
                        "verify_hash": b"\xff" * 32, "fetched_at": NOW})  # fmt: skip
    [rest] = plan(collection, CONFIG, now=NOW).batches
    assert pl.read_parquet(rest)["url"].to_list() == ["http://a.org/2"]
    [row] = read_ledger(collection).to_dicts()
    assert (row["outcome"], row["phash"], row["verify_hash"], row["fetched_at"]) == (
        "kept",
        2**64 - 1,
        b"\xff" * 32,
        NOW,
    )
    assert not batch.exists()
    assert not list(collection.rglob("*.jsonl"))


def test_downloads_a_killed_run_left_unfinished_are_dropped(collection: Path) -> None:
    part = collection.parent.parent / "images" / ".parts" / collection.name / "b" / "0.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    plan(collection, CONFIG, now=NOW)
    assert not part.exists()


FREE = (
    "https://e.org/inaturalist.org/a.jpg",
    "http://127.0.0.1:1/a.jpg",
    "https://s3.amazonaws.com/another/1.jpg",
    "https://notinaturalist.org/1.jpg",
    "https://inaturalist.org.example/1",
)
NEAR = "file:///photos/inaturalist.org/1.jpg", "", "no", "http://inaturalist.org:port/"  # nobody is asked for them


def plan_all(collection: Path, *urls: str, contact: bool = False) -> int:
    offer_urls(collection, *FREE, *NEAR, *urls)
    return plan(collection, CONFIG, now=NOW, network=NetworkPolicy(user_agent="t", contact=contact)).pending


@pytest.mark.parametrize(
    "begin",
    [
        "https://inaturalist-open-data.s3.amazonaws.com/photos/",
        "https://inaturalist-open-data.s3.us-east-1.amazonaws.com/photos/",
        "https://s3.amazonaws.com/inaturalist-open-data/photos/",
        "https://S3.US-EAST-1.AMAZONAWS.COM/inaturalist-open-data/photos/",
        "HTTPS://static.inaturalist.org/",
        "http://www.inaturalist.org./",
        "https://inaturalist.org:443/",
        "https://inaturalist.org:8443/",
        "https://inaturalist。org/",
        "https://somebody@static.inaturalist.org/",
    ],
)
def test_a_plan_with_photos_of_inaturalist_is_refused_without_a_contact(collection: Path, begin: str) -> None:
    urls = f"{begin}7.png", f"{begin}8.png"
    with pytest.raises(StopError) as caught:
        plan_all(collection, *urls)
    assert "HARVESTMAN_CONTACT=" in caught.value.hint
    assert caught.value.received.startswith(f"2 of {len(FREE) + 2} addresses, such as {urls[0]}")
    assert plan_all(collection, contact=True) == len(FREE) + 2


def test_other_addresses_need_no_contact(collection: Path) -> None:
    assert plan_all(collection) == len(FREE)


def test_an_address_that_was_refused_in_this_very_plan_is_not_in_its_batches(collection: Path) -> None:
    offer_urls(collection, "ftp://a.org/x.jpg", "http://a.org/ok")
    assert planned(plan(collection, CONFIG, now=NOW, retry=("invalid-address",))) == ["http://a.org/ok"]
