"""How large the images of a data set are: histograms of the shorter side and of the file.

Reads the tables of a report; writes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

_SIDES = (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)  # pixels
_BYTES = tuple(1024 * 2**power for power in range(2, 14))  # 4 KiB to 8 MiB


@dataclass(frozen=True)
class Histogram:
    """How many images lie between which edges."""

    title: str
    bins: tuple[tuple[str, int], ...]
    """Words for the range, and the images in it; empty ranges at both ends are left out."""
    median: str
    unknown: int
    """Images whose size nobody wrote down."""

    @property
    def tallest(self) -> int:
        """The images of the fullest range."""
        return max((count for _, count in self.bins), default=0)


def side_histogram(manifest: pl.DataFrame) -> Histogram:
    """Return the histogram of the images' shorter sides, in pixels."""
    measured = pl.col("width").is_not_null() & pl.col("height").is_not_null()
    side = manifest.select(pl.when(measured).then(pl.min_horizontal("width", "height"))).to_series()
    return _histogram("Shorter side, pixels", side, edges=_SIDES, words=[f"{edge:,}" for edge in _SIDES])


def bytes_histogram(manifest: pl.DataFrame, judged: pl.DataFrame) -> Histogram:
    """Return the histogram of the images' files, in bytes; the verdicts know them."""
    known = judged.select("sha256", "bytes").unique("sha256", keep="first", maintain_order=True)
    size = manifest.join(known, on="sha256", how="left")["bytes"]
    return _histogram("File size", size, edges=_BYTES, words=[file_size(edge) for edge in _BYTES])


def file_size(count: float) -> str:
    """Return a number of bytes as a person would say it: 12 kB, 3.4 MB (of 1,024 and 1,048,576)."""
    kilo, mega = count / 1024, count / 1024**2
    if mega >= 1:
        return f"{mega:.0f} MB" if mega >= 10 or mega == int(mega) else f"{mega:.1f} MB"  # noqa: PLR2004 - two digits
    return f"{kilo:.0f} kB" if kilo >= 1 else f"{count:.0f} B"


def _histogram(title: str, values: pl.Series, *, edges: Sequence[int], words: Sequence[str]) -> Histogram:
    known = values.drop_nulls()
    ranges = [f"under {words[0]}", *(f"{low}–{high}" for low, high in itertools.pairwise(words))]  # noqa: RUF001 - a range
    ranges.append(f"{words[-1]} and more")
    place = (
        pl.Series("edge", edges).search_sorted(known.sort(), side="right")
        if len(known)
        else pl.Series([], dtype=pl.UInt32)
    )
    counts = [0] * len(ranges)
    for bin_, count in place.alias("bin").value_counts(name="n").iter_rows():
        counts[bin_] = count
    full = [number for number, count in enumerate(counts) if count]
    shown = range(full[0], full[-1] + 1) if full else range(0)
    middle = known.median()
    said = file_size if edges is _BYTES else "{:,.0f} px".format
    return Histogram(
        title=title,
        bins=tuple((ranges[number], counts[number]) for number in shown),
        median=said(float(middle)) if isinstance(middle, int | float) else "unknown",
        unknown=len(values) - len(known),
    )
