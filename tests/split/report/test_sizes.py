from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tasks.split.report.sizes import bytes_histogram, file_size, side_histogram


def test_images_are_counted_by_their_shorter_side(row: Callable[..., Any], scene: Callable[..., Any]) -> None:
    sizes = [(63, 900), (64, 64), (900, 127), (300, 256), (None, 90), (90, None)]
    made = scene([row(f"u{n}", width=width, height=height) for n, (width, height) in enumerate(sizes)])
    found = side_histogram(made.manifest)
    assert found.bins == (("under 64", 1), ("64–128", 2), ("128–192", 0), ("192–256", 0), ("256–384", 1))  # noqa: RUF001
    assert (found.unknown, found.tallest, found.median) == (2, 2, "96 px")


def test_files_are_counted_by_their_bytes_which_the_verdicts_know(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    made = scene([row("a", bytes=4096), row("b", bytes=10**9), row("c", bytes=None), row("d", bytes=1)])
    found = bytes_histogram(made.manifest, made.verdicts)
    assert found.bins[0] == ("under 4 kB", 1)
    assert found.bins[1] == ("4 kB–8 kB", 1)  # noqa: RUF001
    assert found.bins[-1] == ("8 MB and more", 1)
    assert (found.unknown, found.median) == (1, "4 kB")


def test_images_of_unknown_size_make_an_empty_histogram(row: Callable[..., Any], scene: Callable[..., Any]) -> None:
    made = scene([row("a", width=None, height=None, bytes=None)])
    for found in (side_histogram(made.manifest), bytes_histogram(made.manifest, made.verdicts)):
        assert (found.bins, found.tallest, found.unknown, found.median) == ((), 0, 1, "unknown")


@pytest.mark.parametrize(
    ("count", "words"), [(12, "12 B"), (1024, "1 kB"), (3_500_000, "3.3 MB"), (1 << 23, "8 MB"), (12_345_678, "12 MB")]
)
def test_bytes_are_said_as_people_say_them(count: int, words: str) -> None:
    assert file_size(count) == words
