"""From addresses to images: how many there were at each step, and what became of the others.

Reads the tables of a report; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tasks.core.tables import KEPT, OUTCOMES, VERDICT_SLUGS
from tasks.split.report.collected import Collected

WAITING = "not asked yet"
LATE = "came after the curation"


@dataclass(frozen=True)
class Step:
    """A step of the funnel: how many came this far, and why some of them went no further."""

    name: str
    unit: str
    count: int
    lost: tuple[tuple[str, int], ...] = ()
    """Reason and count, the most frequent first. The counts add up to what the next step lacks."""


def steps(collected: Collected, left_out: pl.DataFrame, manifest: pl.DataFrame) -> tuple[Step, ...]:
    """Return the steps from what sources offer to what the data set holds; each is the one before less what it lost.

    An address offered for two classes counts twice, up to the step where one image is kept.
    """
    judged = collected.judged
    known = judged.select("url", pl.col("offered_label").alias("label"))
    unjudged = collected.offered.join(known, on=["url", "label"], how="anti")
    waiting = unjudged["outcome"].null_count()
    refused = _counts(unjudged.filter(pl.col("outcome") != KEPT)["outcome"], OUTCOMES)
    late = unjudged.filter(pl.col("outcome") == KEPT).height
    aside = _counts(judged.filter(pl.col("verdict") != KEPT)["verdict"], VERDICT_SLUGS)
    kept = judged.filter(pl.col("verdict") == KEPT).height
    stored = judged.height + late
    asked = stored + sum(count for _, count in refused)
    return (
        Step("Offered by the sources", "addresses", asked + waiting, _lost([(WAITING, waiting)])),
        Step("Asked", "addresses", asked, refused),
        Step("Stored at the door", "addresses", stored, _lost([*aside, (LATE, late)])),
        Step("Kept by the curation", "images", kept, _left_out(kept, left_out, manifest)),
        Step("In the data set", "images", manifest.height),
    )


def _left_out(kept: int, left_out: pl.DataFrame, manifest: pl.DataFrame) -> tuple[tuple[str, int], ...]:
    reasons = _counts(left_out["reason"].fill_null("unknown"), ())
    rest = kept - manifest.height - left_out.height
    return _lost([*reasons, ("of no class of the recipe", rest)])


def _counts(slugs: pl.Series, order: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Count `slugs`, the most frequent first; equally frequent ones as in `order`, unknown ones by name."""
    rank = {slug: place for place, slug in enumerate(order)}
    found: list[tuple[str, int]] = list(slugs.alias("slug").value_counts(name="n").iter_rows())
    return tuple(sorted(found, key=lambda item: (-item[1], rank.get(item[0], len(rank)), item[0])))


def _lost(counts: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    return tuple((reason, count) for reason, count in counts if count > 0)
