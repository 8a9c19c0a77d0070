"""What a source hands back: candidates, and counts of what it looked at and left out.

Owns the shape; reads and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from tasks.core.tables import CANDIDATES


@dataclass(frozen=True)
class Discovered:
    """The answer of one source for one class."""

    candidates: pl.DataFrame
    """Schema CANDIDATES, one row per address, sorted by address."""
    notes: dict[str, int]
    """Rows read, candidates, and rows left out by reason."""


def candidate_frame(rows: Iterable[Mapping[str, object]]) -> pl.DataFrame:
    """Return `rows` as candidates, sorted by address; columns left out are null."""
    full = [{name: row.get(name) for name in CANDIDATES} for row in rows]
    return pl.DataFrame(full, schema=CANDIDATES).sort("url", "source_id")


def counted(notes: Counter[str], *, candidates: int) -> dict[str, int]:
    """Return the notes without the reasons that did not occur, the candidates last."""
    return {name: number for name, number in notes.items() if number} | {"candidates": candidates}
