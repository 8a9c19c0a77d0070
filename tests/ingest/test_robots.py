from __future__ import annotations

import time

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.ingest.robots import AGENT, Rules, opted_out

SITE = "https://photos.example"


def rules(text: str) -> Rules:
    return Rules.parse(text, AGENT)


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/a.jpg", True),
        ("User-agent: *\nDisallow: /", "/a.jpg", False),
        ("User-agent: *\nDisallow:", "/a.jpg", True),
        ("User-agent: *\nDisallow: /private/", "/private/a.jpg", False),
        ("User-agent: *\nDisallow: /private/", "/public/a.jpg", True),
        ("User-agent: *\nDisallow: /\nAllow: /public/", "/public/a.jpg", True),  # the longest match counts
        ("User-agent: *\nDisallow: /*.jpg$", "/deep/a.jpg", False),
        ("User-agent: *\nDisallow: /*.jpg$", "/deep/a.jpg?size=large", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: harvestman\nDisallow: /raw/", "/a.jpg", True),
        ("User-agent: *\nDisallow:\n\nUser-agent: Harvestman\nDisallow: /", "/a.jpg", False),
        ("User-agent: GPTBot\nUser-agent: harvestman\nDisallow: /", "/a.jpg", False),
        ("User-agent: GPTBot\nDisallow: /", "/a.jpg", True),
        ("User-agent: *\nDisallow: /caf%C3%A9/", "/café/a.jpg", False),
        ("User-agent: *\r\nDisallow: /\r\n", "/a.jpg", False),
        ("\ufeffUser-agent: *\nDisallow: /", "/a.jpg", False),
        ("User-agent: *\nDisallow: /robots", "/robots.txt", True),
    ],
)
def test_robots_txt_says_what_may_be_asked_for(text: str, path: str, allowed: bool) -> None:
    assert rules(text).allows(SITE + path) is allowed


@pytest.mark.parametrize(
    "line",
    [
        "User-agent: harvestman",
        "User-agent: HARVESTMAN",
        "User-agent: Harvestman/2.0",
        "User-agent: harvestman /2.0",
        "User-agent: Harvestman 2.0 (+https://example.org)",
        "User-agent: harvestman*",
        "User-agent: harvestman # that one",
        "User-agent:harvestman/",
        "  user-agent  :  harvestman  ",
        "Useragent: harvestman/2.0",
        "User agent: harvestman/2.0",
        "User-agent harvestman/2.0",
        "User agent harvestman/2.0",
    ],
)
def test_a_group_is_ours_whatever_version_it_names(line: str) -> None:
    assert not rules(f"User-agent: *\nDisallow:\n\n{line}\nDisallow: /").allows(f"{SITE}/a.jpg")
    assert rules(f"{line}\nDisallow: /raw/\n\nUser-agent: *\nDisallow: /").allows(f"{SITE}/a.jpg")


@pytest.mark.parametrize(
    "name",
    [
        *(AGENT[:length] for length in range(1, len(AGENT))),  # Protego alone takes each of these for us
        "harvest*",
        "harvest/2.0",
        "harvestman2",
        "harvestman-image",
        "harvestman_image",
        "harvestman.example",
        "harvestmän",
        "my-harvestman",
        "gptbot/1.0 harvestman/1.0",
        "Mozilla/5.0 (compatible; harvestman/1.0)",
        "/harvestman",
        "*harvestman",
        "**harvest",
        "ours",
        "others",
        "#harvestman",
        "",
    ],
)
def test_a_group_of_somebody_else_says_nothing_to_us(name: str) -> None:
    assert rules(f"User-agent: {name}\nDisallow: /").allows(f"{SITE}/a.jpg")
    assert not rules(f"User-agent: {name}\nAllow: /\n\nUser-agent: *\nDisallow: /").allows(f"{SITE}/a.jpg")
    assert not rules(f"User-agent: *\nDisallow: /\n\nUser-agent: {name}\nAllow: /").allows(f"{SITE}/a.jpg")


@pytest.mark.parametrize("everybody", ["*", "**", "* # all", "*/1.0"])
def test_everybody_is_us_too_until_we_are_named(everybody: str) -> None:
    assert not rules(f"User-agent: {everybody}\nDisallow: /").allows(f"{SITE}/a.jpg")
    assert rules(f"User-agent: {everybody}\nDisallow: /\n\nUser-agent: harvestman").allows(f"{SITE}/a.jpg")
    assert rules(f"User-agent: harvestman\nDisallow:\n\nUser-agent: {everybody}\nDisallow: /").allows(f"{SITE}/a.jpg")


_CASES = st.lists(st.booleans(), min_size=len(AGENT), max_size=len(AGENT)).map(
    lambda upper: "".join(c.upper() if up else c for c, up in zip(AGENT, upper, strict=True))
)
_OURS = st.builds(str.__add__, _CASES, st.sampled_from(["", "/2.0", "/", " 1", "*"]))
_FOREIGN = st.text("harvestmn-_.2", min_size=1, max_size=14).filter(lambda name: name != AGENT)
_NAMES = _OURS.map(lambda name: ("ours", name)) | _FOREIGN.map(lambda name: ("else", name)) | st.just(("all", "*"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(_NAMES, min_size=1, max_size=3), min_size=1, max_size=5))
def test_groups_of_ours_are_merged_and_those_of_everybody_count_where_there_is_none(
    groups: list[list[tuple[str, str]]],
) -> None:
    text = "\n".join(
        "".join(f"User-agent: {name}\n" for _, name in group) + f"Disallow: /{number}/\n"
        for number, group in enumerate(groups)
    )
    owners = [{owner for owner, _ in group} for group in groups]
    counts = "ours" if any("ours" in owner for owner in owners) else "all"
    found = rules(text)
    allowed = [found.allows(f"{SITE}/{number}/a.jpg") for number in range(len(groups))]
    assert allowed == [counts not in owner for owner in owners]


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("User-agent: *\nDisallow:", None),
        ("User-agent: *\nCrawl-delay: 2.5", 2.5),
        ("User-agent: *\nCrawl-delay: 10\n\nUser-agent: harvestman\nCrawl-delay: 1", 1),
        ("User-agent: gptbot\nCrawl-delay: 10", None),
        ("User-agent: *\nRequest-rate: 1/5", 5),
        ("User-agent: *\nRequest-rate: 1/5\nCrawl-delay: 8", 8),
        ("User-agent: *\nCrawl-delay: soon", None),
        ("User-agent: *\nCrawl-delay: -3", None),
        ("User-agent: *\nCrawl-delay: nan", None),
        ("User-agent: *\nCrawl-delay: inf", None),
        ("User-agent: *\nCrawl-delay: Infinity", None),
        ("User-agent: *\nCrawl-delay: 1e999", None),
        ("User-agent: *\nCrawl-delay: 2\nCrawl-delay: inf", 2),
        ("User-agent: Harvestman/2.0\nCrawl-delay: 2", 2),
        ("User-agent: harvest\nCrawl-delay: 1\n\nUser-agent: *\nCrawl-delay: 9", 9),
        ("User-agent: *\nRequest-rate: 0/0", None),
    ],
)
def test_robots_txt_may_ask_for_a_delay(text: str, delay: float | None) -> None:
    assert rules(text).delay == delay


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE html><html><head><title>Not found</title></head><body>Disallow: /</body></html>",
        "\x00\x01\xff\xfe JFIF \ufffd",
        "User-agent: *\nDisallow: /\ud800\udfff",
        "User-agent: *\nRequest-rate: 1/" + "9" * 400,
        "User-agent: *\nAllow: http://[::1/\nAllow: //[\nAllow: %zz%",
        ":" * 1000,
    ],
)
def test_what_is_no_robots_txt_forbids_nothing(text: str) -> None:
    found = rules(text)
    assert found.allows(f"{SITE}/a.jpg")
    assert found.delay is None or found.delay > 0


def test_five_megabytes_of_rules_are_cut_and_read_quickly() -> None:
    text = "User-agent: *\nDisallow: /private/\n" + "Disallow: /*x*y\n" * 320_000
    began = time.process_time()
    found = rules(text)
    assert not found.allows(f"{SITE}/private/a.jpg")
    assert found.allows(f"{SITE}/a.jpg")
    assert time.process_time() - began < 2
    assert len(found.text) <= 512 * 1024


_LINES = st.sampled_from(
    [
        "User-agent: *\n",
        "User-agent: harvestman\n",
        "Disallow: ",
        "Allow: ",
        "Crawl-delay: ",
        "Request-rate: ",
        "#",
        "\n",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_LINES | st.text(st.characters(codec=None), max_size=12), max_size=12))
def test_no_text_is_too_broken(pieces: list[str]) -> None:
    found = rules("".join(pieces))
    assert found.allows(f"{SITE}/a.jpg") in {True, False}
    assert found.delay is None or found.delay >= 0


@pytest.mark.parametrize(
    ("headers", "out"),
    [
        ([], False),
        (["noai"], True),
        (["NoImageAI"], True),
        (["noindex"], True),
        (["noimageindex"], True),
        (["none"], True),
        (["all"], False),
        (["nofollow, nosnippet"], False),
        (["nofollow, noai"], True),
        (["nofollow", "noai"], True),  # repeated
        (["googlebot: noindex"], False),
        (["googlebot: noindex, noai"], False),
        (["googlebot: noindex", "noai"], True),  # a name holds for its own header only
        (["harvestman: noai"], True),
        (["Harvestman/1.0 : noai"], True),
        (["googlebot: nofollow, harvestman: noimageai"], True),
        (["harvestman: nofollow, googlebot: noai"], False),
        (["*: noai"], True),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], True),
        (["unavailable_after: Friday, 25 Jun 2030 15:00:00 PST, noai"], True),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST"], False),
        (["max-image-preview:large, max-snippet:-1"], False),
        (["max-image-preview:none"], False),
        (["max-image-preview:large, noindex"], True),
        (["googlebot: max-image-preview:large, noindex"], False),
        (["noaid"], False),
        ([" , ,:,"], False),
    ],
)
def test_x_robots_tag_keeps_an_image_from_us_where_it_means_us(headers: list[str], out: bool) -> None:
    reason = opted_out(httpx.Headers([("X-Robots-Tag", value) for value in headers]), AGENT)
    assert (reason is not None) is out
    assert reason is None or reason.startswith("X-Robots-Tag: ")
