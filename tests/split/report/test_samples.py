from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.split.report.samples import (
    ADDRESSES,
    PER_CLASS,
    PER_RULE,
    SHEET,
    contact_sheet,
    left_out_samples,
    refusals,
    set_aside,
)


def test_the_contact_sheet_spreads_over_each_class(row: Callable[..., Any], scene: Callable[..., Any]) -> None:
    made = scene(
        [
            *(row(f"u{n:03}") for n in reversed(range(111))),
            row("w", "wasp", split="test", page_url="https://p.example/1"),
        ]
    )
    sheet = contact_sheet(made.manifest, ("bee", "wasp"))
    bees, wasps = sheet.classes
    urls = {r["sha256"]: r["url"] for r in made.manifest.iter_rows(named=True)}
    assert [urls[tile.sha256][-7:-4] for tile in bees.tiles] == [f"{10 * n:03}" for n in range(PER_CLASS)]
    assert (bees.title, bees.total, wasps.tiles[0].caption, sheet.hidden) == ("bee", 111, ("test",), 0)
    assert wasps.tiles[0].page == "https://p.example/1"


def test_of_many_classes_fewer_images_each_are_shown_and_of_too_many_some_none(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    labels = tuple(f"c{n:04}" for n in range(SHEET + 5))
    manifest = scene([row(f"{label}-{n}", label) for label in labels for n in range(2)]).manifest
    sheet = contact_sheet(manifest, labels[:700])
    assert {len(sample.tiles) for sample in sheet.classes} == {1}
    everything = contact_sheet(manifest, labels)
    assert (len(everything.classes), everything.hidden) == (SHEET, 5)


def test_what_rules_and_people_set_aside_is_counted_by_image_and_shown_with_the_detail(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    made = scene([
        row("k"), row("n", verdict="near-duplicate"), row("d", picture="k", verdict="duplicate-bytes"),
        *(row(f"p{n}", picture="p", verdict="placeholder", detail="12 addresses") for n in range(12)),
        *(row(f"s{n:02}", verdict="too-small") for n in range(20)),
        row("r", verdict="rejected", detail="by anna"), row("g", verdict="gone"), row("x", verdict="a-new-rule"),
    ])  # fmt: skip
    found = set_aside(made.collected)
    assert [(s.title, s.total, len(s.tiles)) for s in found] == [
        ("rejected", 1, 1), ("placeholder", 1, 1), ("too-small", 20, PER_RULE), ("gone", 1, 1), ("a-new-rule", 1, 1),
    ]  # fmt: skip
    assert found[0].tiles[0].caption == ("bee", "by anna")


def test_refusals_name_addresses_and_reasons_the_most_frequent_first(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    lost = [row(f"h{n}", outcome="html", verdict=None, reason=f"r{n}") for n in range(9)]
    found = refusals(scene([*lost, row("t", outcome="timeout", verdict=None), row("k")]).collected)
    assert [(refusal.outcome, refusal.addresses) for refusal in found] == [("html", 9), ("timeout", 1)]
    assert len(found[0].rows) == ADDRESSES
    assert found[0].rows[0] == ("https://photos.example/h0.jpg", "r0")
    assert found[1].rows == (("https://photos.example/t.jpg", ""),)


def test_what_the_split_left_out_is_shown_by_reason(row: Callable[..., Any], scene: Callable[..., Any]) -> None:
    made = scene([row("k"), row("a", split=None, left="leaks"), row("b", split=None, left="bridges-splits")])
    found = left_out_samples(made.left_out, made.collected)
    assert [(sample.title, sample.total) for sample in found] == [("bridges-splits", 1), ("leaks", 1)]
    assert found[1].tiles[0].format == "PNG"
