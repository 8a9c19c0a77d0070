from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.core.endpoints import APIS
from tasks.core.errors import BlockedAddressError
from tasks.core.network import BUDGETS, Budget, NetworkPolicy, Requests, literal, refusal, wants_contact

FORBIDDEN = [
    "127.0.0.1", "127.255.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "0.0.0.0", "255.255.255.255", "224.0.0.1", "239.1.1.1", "240.0.0.1", "100.64.0.1",
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "192.0.2.1", "::",
    "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
    "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "2001:0:7f00:1::",
    "fec0::1", "feff::1", "3fff::1", "3fff:fff::1", "192.88.99.1", "2002:c058:6301::", "::ffff:192.88.99.1",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_are_not_the_public_internet_are_refused_with_a_reason(address: str) -> None:
    assert address in (refusal(address) or "")


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "192.88.98.255"],
)
def test_public_addresses_pass(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"), ("127.1", "127.0.0.1"), ("2130706433", "127.0.0.1"), ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("::1", "::1"),
        ("example.org", None), ("1.2.3.example", None), ("", None),
    ],
)  # fmt: skip
def test_every_spelling_of_a_literal_address_is_recognised(host: str, address: str | None) -> None:
    assert literal(host) == address


def test_an_exemption_is_for_exactly_one_host_and_port() -> None:
    policy = NetworkPolicy(user_agent="t", allowed_hosts=("127.0.0.1:8080", "[::1]:90", "Photos.Lan:80"))
    assert policy.allows("127.0.0.1", 8080)
    assert policy.allows("::1", 90)
    assert policy.allows("photos.lan", 80)
    assert not policy.allows("127.0.0.1", 8081)
    assert not policy.allows("localhost", 8080)
    assert not policy.allows("127.0.0.11", 8080)


def test_the_page_on_budgets_has_the_figures_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "budgets.md").read_text()
    for name, budget in BUDGETS.items():
        (line,) = (line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        told = [f"{amount:,} a {word}" for word, amount in budget.requests if amount]
        told += [f"{amount / 1e9:g} GB a{'n' * (word == 'hour')} {word}" for word, amount in budget.bytes if amount]
        assert ", ".join(told) in line
        assert ", ".join(budget.hosts) in line


def named(policy: NetworkPolicy, host: str, path: str = "") -> str | None:
    found = policy.budget(host, 443, path)
    return found[0] if found else None


def test_a_budget_holds_for_every_spelling_of_its_hosts() -> None:
    budget = Budget(hosts=("Images.Museum.example", "cdn.museum.example.:443"), requests=Requests(second=1))
    policy = NetworkPolicy(user_agent="t", budgets={"museum": budget})
    for host in ("images.museum.example", "IMAGES.museum.example.", "cdn.museum.example", "Cdn.museum.example."):
        assert named(policy, host) == "museum"
    assert policy.budget("cdn.museum.example", 80) == policy.budget("cdn.museum.example", 443)  # one machine
    assert policy.budget("cdn.museum.example", 8443) is None
    assert named(policy, "museum.example") is None
    assert named(policy, "api.inaturalist.org.") == "inaturalist-api"


def test_a_budget_of_the_settings_comes_before_ours_of_the_same_host() -> None:
    budget = Budget(hosts=("api.gbif.org",), requests=Requests(minute=5))
    policy = NetworkPolicy(user_agent="t", budgets={"slow": budget})
    assert policy.budget("api.gbif.org", 443) == ("slow", budget)


@pytest.mark.parametrize(
    ("host", "path", "name"),
    [
        ("inaturalist-open-data.s3.amazonaws.com", "/photos/1/a.jpg", "inaturalist-photos"),
        ("inaturalist-open-data.s3.us-east-1.amazonaws.com", "/photos/1/a.jpg", "inaturalist-photos"),
        ("inaturalist-open-data.s3-us-east-1.amazonaws.com", "", "inaturalist-photos"),
        ("inaturalist-open-data.s3.dualstack.us-east-1.amazonaws.com", "", "inaturalist-photos"),
        ("s3.amazonaws.com", "/inaturalist-open-data/photos/1/a.jpg", "inaturalist-photos"),
        ("S3.us-east-1.amazonaws.com", "/inaturalist-open-data/photos/1/a.jpg", "inaturalist-photos"),
        ("s3.amazonaws.com", "/another/inaturalist-open-data/1.jpg", None),
        ("another.s3.amazonaws.com", "/inaturalist-open-data/1.jpg", None),
        ("s3.amazonaws.com", "", None),
        ("inaturalist-open-data.s3.amazonaws.com.evil.example", "/photos/1/a.jpg", None),
    ],
)
def test_a_bucket_has_one_budget_whatever_its_address(host: str, path: str, name: str | None) -> None:
    assert named(NetworkPolicy(user_agent="t"), host, path) == name


@pytest.mark.parametrize(
    ("name", "meant"), [("openvers", "did you mean openverse?"), ("zzz", "known are inaturalist,")]
)
def test_an_api_that_there_is_not_is_refused_with_those_there_are(name: str, meant: str) -> None:
    with pytest.raises(ValidationError) as caught:
        NetworkPolicy(user_agent="t", apis={name: "http://127.0.0.1:1"})
    message = caught.value.errors()[0]["msg"]
    assert f"there is no API {name}" in message
    assert meant in message
    assert all(known in message for known in APIS)


def test_a_copy_with_other_budgets_does_not_keep_the_old_ones() -> None:
    policy = NetworkPolicy(user_agent="t")
    assert named(policy, "museum.example") is None
    more = policy.model_copy(update={"budgets": {"museum": Budget(hosts=("museum.example",))}})
    assert named(more, "museum.example") == "museum"
    assert policy == NetworkPolicy(user_agent="t")


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        ("inaturalist.org", "", True),
        ("API.iNaturalist.org.", "/v1/observations", True),
        ("static.inaturalist.org", "/photos/1/medium.jpg", True),
        ("inaturalist-open-data.s3.amazonaws.com", "/photos/1/a.jpg", True),
        ("inaturalist-open-data.s3-accelerate.dualstack.amazonaws.com", "/photos/1/a.jpg", True),
        ("s3.dualstack.us-east-1.amazonaws.com", "/inaturalist-open-data/photos/1/a.jpg", True),
        ("s3-fips.dualstack.us-east-1.amazonaws.com", "//inaturalist-open-data/photos/1/a.jpg", True),
        ("s3.amazonaws.com", "/another/inaturalist-open-data/1.jpg", False),
        ("another.s3.amazonaws.com", "/inaturalist-open-data/1.jpg", False),
        ("notinaturalist.org", "", False),
        ("inaturalist.org.example", "", False),
        ("127.0.0.1", "/v1/observations", False),
    ],
)
def test_inaturalist_is_contacted_only_by_who_says_who_they_are(host: str, path: str, wanted: bool) -> None:
    assert wants_contact(host, path) is wanted
    NetworkPolicy(user_agent="t", contact=True).check_contact(host, path)
    if wanted:
        with pytest.raises(BlockedAddressError) as caught:
            NetworkPolicy(user_agent="t").check_contact(host, path)
        assert "HARVESTMAN_CONTACT=" in caught.value.hint
    else:
        NetworkPolicy(user_agent="t").check_contact(host, path)


@pytest.mark.parametrize(
    "pair",
    ["foo", "", ":80", "foo:", "foo:0", "foo:65536", "foo:080", "foo:http", "http://foo:80", "foo:80/", "foo.:80",
     "::1", "[::1]", "[foo]:80", "foo :80", "foo:80 "],
)  # fmt: skip
def test_an_exemption_that_would_never_count_is_refused(pair: str) -> None:
    with pytest.raises(ValidationError, match="no host:port pair; expected is one such as localhost:8000"):
        NetworkPolicy(user_agent="t", allowed_hosts=("localhost:8000", pair))
