from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.split.report.origins import CREATORS, SOURCES, Source, creators, licences, sources


def test_licences_stand_from_the_widest_to_unknown(row: Callable[..., Any], scene: Callable[..., Any]) -> None:
    given = ["cc-by-nc", None, "cc0", "gpl", "cc-by-nc", "all-rights-reserved"]
    found = licences(scene([row(f"u{n}", licence=licence) for n, licence in enumerate(given)]).manifest)
    assert [(licence.slug, licence.images) for licence in found] == [
        ("cc0", 1), ("cc-by-nc", 2), ("all-rights-reserved", 1), ("gpl", 1), ("unknown", 1),
    ]  # fmt: skip
    assert [licence.address for licence in found] == [
        "https://creativecommons.org/publicdomain/zero/1.0/", "https://creativecommons.org/licenses/by-nc/4.0/",
        None, None, None,
    ]  # fmt: skip


def test_creators_with_most_images_come_first_and_all_images_are_counted(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    names = ["zoe", "zoe", "ann", None, "  ", *(f"maker {n:02}" for n in range(CREATORS + 3))]
    found = creators(scene([row(f"u{n}", creator=name) for n, name in enumerate(names)]).manifest)
    assert found.top[:2] == (("zoe", 2), ("ann", 1))
    assert (len(found.top), found.known, found.unknown) == (CREATORS, CREATORS + 5, 2)
    assert sum(images for _, images in found.top) + found.others + found.unknown == len(names)


def test_sources_tell_what_they_offered_and_what_came_through(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    made = scene([
        row("a", source="gbif"), row("b", source="gbif", outcome="html", verdict=None),
        row("c", source="gbif", verdict="near-duplicate"), row("d", source="gbif", outcome=None, verdict=None),
        row("e", source="list"), *(row(f"x{n}", source=f"s{n:02}") for n in range(SOURCES)),
    ])  # fmt: skip
    shown, hidden = sources(made.collected, made.manifest)
    assert shown[0] == Source("gbif", offered=4, stored=2, taken=1)
    assert (len(shown), hidden) == (SOURCES, 2)
