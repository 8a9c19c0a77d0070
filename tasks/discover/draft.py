"""What a source has said so far: its pages, and the place to go on from. Survives kill -9 between two pages.

Owns `candidates/<id>.draft/` of a collection.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.files import read_json, storing, write_json
from tasks.core.methods import DISCOVER
from tasks.core.tables import write_table
from tasks.discover.found import Page


@dataclass
class Draft:
    """The pages of an answer that has not come to its end."""

    folder: Path
    began: datetime
    since: datetime | None
    pages: int
    cursor: dict[str, Any] | None
    notes: Counter[str]
    gone: list[str]

    @classmethod
    def open(cls, shard: Path, *, since: datetime | None, now: datetime, lasts: timedelta) -> Draft:
        """Open what an earlier call left, if it asked for the same and is younger than `lasts`; else a new draft."""
        folder = shard.with_suffix(".draft")
        with suppress(OSError, ValueError, KeyError, TypeError):
            state = read_json(folder / "state.json")
            began = datetime.fromisoformat(state["began"])
            if (state["full"], state["method"]) == (since is None, DISCOVER) and now - began < lasts:
                asked = datetime.fromisoformat(state["since"]) if state["since"] else None
                notes = Counter(state["notes"])
                return cls(folder, began, asked, state["pages"], state["cursor"], notes, state["gone"])
        shutil.rmtree(folder, ignore_errors=True)
        return cls(folder, now, since, 0, None, Counter(rows=0), [])

    def add(self, page: Page) -> None:
        """Keep a page. When this returns, kill -9 cannot undo it."""
        self.notes.update(page.notes)
        self.gone.extend(page.gone)
        write_table(page.candidates, self.folder / f"{self.pages:06}.parquet")
        self.pages += 1
        self.cursor = page.cursor
        state = {
            "began": self.began.isoformat(),
            "since": self.since.isoformat() if self.since else None,
            "full": self.since is None,
            "method": DISCOVER,
            "pages": self.pages,
            "cursor": self.cursor,
            "notes": dict(self.notes),
            "gone": self.gone,
        }
        write_json(self.folder / "state.json", state)

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the candidates of each page kept."""
        for number in range(self.pages):
            yield pl.read_parquet(self.folder / f"{number:06}.parquet")

    def drop(self) -> None:
        """Remove it: the answer is in the shard."""
        with storing(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
