"""One source of a recipe asked to the end, whatever ends a run meanwhile, and what it said kept as a shard.

Reads the source. Writes below `candidates/` of a collection: `<id>.parquet` (the shard), `<id>.json` (when it was
asked and what came of it) and, until the source has been asked to the end, `<id>.draft/` (page by page, with the
place to go on from).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import SourceError
from tasks.core.files import read_json, storing, write_json
from tasks.core.fingerprint import table_digest
from tasks.core.methods import DISCOVER
from tasks.core.tables import CANDIDATES, candidates_shard, conform, write_table
from tasks.discover.fields import SourceConfig
from tasks.discover.found import Ask, Page, SourceModule
from tasks.discover.labels import relabelled

_OVERLAP = timedelta(days=1)  # asked again at each look for changes: clocks differ, indices lag behind
_STALE = timedelta(days=1)  # a draft older than this is begun anew: page numbers have moved meanwhile
_POOL = 5  # pages are read until this many times `limit` is found, where the limit is to be spread
_SPREAD = {"taxa": "taxon", "observers": "creator"}

OnPage = Callable[[int, int | None], None]
"""Called after each page with the candidates so far and the number that is expected, if known."""


@dataclass(frozen=True)
class Gathered:
    """What became of a source."""

    notes: dict[str, int]
    """Rows looked at, left out by reason, `candidates` in the shard; empty where it was not asked."""
    asked: bool
    """False where its last answer still holds."""


def gather(
    ask: Ask[Any], module: SourceModule, shard: Path, *, now: datetime, on_page: OnPage | None = None
) -> Gathered:
    """Ask a source what is new to us and bring `shard` up to date.

    A killed call is continued by the next behind the last page it got. What a search engine once offered is
    kept; of a listing, what has changed is asked and replaced, and everything every `refresh_days`.

    Raises:
        SourceError, SourceUnavailableError: as the source's `pages`.
        WorkspaceError: the shard cannot be written.
    """
    for problem in module.problems(ask):
        raise problem
    state = _read_state(shard)
    plan = _plan(ask.source, state, now)
    if plan is None or (not plan.full and _is_full(ask, state)):
        return Gathered(dict(state.get("notes", {})), asked=False)
    since = None if plan.full else plan.asked_at - _OVERLAP
    draft = _Draft.open(shard, since=since, now=now)
    new = _all_pages(replace(ask, since=since), module, draft, on_page=on_page)
    rows = _merged(_old(shard) if plan.keeps else None, new, gone=None if plan.full else draft.gone)
    rows = picked(rows, ask.source)
    notes = {name: number for name, number in draft.notes.items() if number} | {"candidates": rows.height}
    if not shard.exists() or table_digest(pl.read_parquet(shard)) != table_digest(rows):
        write_table(rows, shard)
    began = draft.began.isoformat()
    full = began if plan.full else state["full_at"]
    write_json(
        shard.with_suffix(".json"),
        {"asked_at": began, "full_at": full, "files": _stamp(ask.source), "method": DISCOVER, "notes": notes},
    )
    draft.drop()
    return Gathered(notes, asked=True)


def picked(rows: pl.DataFrame, source: SourceConfig) -> pl.DataFrame:
    """Return `limit` rows of each class, in order or spread evenly over taxa or observers."""
    limit = getattr(source, "limit", None)
    if limit is None or getattr(source, "queries", None) is not None:  # a search's limit is one of each query
        return rows
    column = _SPREAD.get(getattr(source, "spread", "none"))
    order = rows.with_row_index("_place")
    if column:
        turn = pl.col("_place").rank("ordinal").over("label", pl.col(column).fill_null(""))
        order = order.with_columns(turn.alias("_turn")).sort("_turn", "_place")
    return order.group_by("label", maintain_order=True).head(limit).sort("_place").select(list(CANDIDATES))


@dataclass(frozen=True)
class _Plan:
    full: bool  # everything is asked, not only what has changed
    keeps: bool  # what is in the shard stays
    asked_at: datetime


def _plan(source: SourceConfig, state: dict[str, Any], now: datetime) -> _Plan | None:
    """Say what is to be asked; None = nothing, the last answer holds."""
    if not state:
        return _Plan(full=True, keeps=False, asked_at=now)
    asked_at, full_at = (datetime.fromisoformat(state[name]) for name in ("asked_at", "full_at"))
    if source.REFRESH == "read":
        stamp = _stamp(source)
        return None if stamp and stamp == state["files"] else _Plan(full=True, keeps=False, asked_at=asked_at)
    due = now - full_at >= timedelta(days=getattr(source, "refresh_days", 0))
    if source.REFRESH == "appends":
        return _Plan(full=True, keeps=True, asked_at=asked_at) if due else None
    return _Plan(full=due, keeps=not due, asked_at=asked_at)


def _is_full(ask: Ask[Any], state: dict[str, Any]) -> bool:
    """Whether the shard holds all that its limit allows: then nothing new could enter it."""
    limit = getattr(ask.source, "limit", None)
    in_order = getattr(ask.source, "spread", "none") == "none"
    return ask.label is not None and in_order and limit is not None and state["notes"]["candidates"] >= limit


def _stamp(source: SourceConfig) -> list[list[Any]]:
    """Return names, sizes and times of the files a source reads: as long as they stay, so does its answer."""
    stamps: list[list[Any]] = []
    for path in source.files:
        with suppress(OSError):
            inside = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
            stamps += [[str(item), item.stat().st_size, item.stat().st_mtime_ns] for item in inside]
    return stamps


@dataclass
class _Draft:
    """The pages of an answer that has not come to its end."""

    folder: Path
    began: datetime
    since: datetime | None
    pages: int
    cursor: dict[str, Any] | None
    notes: Counter[str]
    gone: list[str]

    @classmethod
    def open(cls, shard: Path, *, since: datetime | None, now: datetime) -> _Draft:
        """Open what an earlier call left, if it asked for the same and is young enough; else a new draft."""
        folder = shard.with_suffix(".draft")
        with suppress(OSError, ValueError, KeyError, TypeError):
            state = read_json(folder / "state.json")
            began = datetime.fromisoformat(state["began"])
            if state["full"] == (since is None) and now - began < _STALE:
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


def _all_pages(ask: Ask[Any], module: SourceModule, draft: _Draft, *, on_page: OnPage | None) -> pl.DataFrame:
    frames = [conform(frame, CANDIDATES) for frame in draft.frames()]
    found = sum(frame.height for frame in frames)
    enough = _enough(ask)
    if not (draft.pages and enough is not None and found >= enough):
        for page in module.pages(replace(ask, cursor=draft.cursor, since=draft.since)):
            kept = labelled(page, ask)
            if kept.cursor is not None:
                draft.add(kept)
            else:
                draft.notes.update(kept.notes)
                draft.gone.extend(kept.gone)
            frames.append(kept.candidates)
            found += kept.candidates.height
            if on_page:
                share = kept.items / kept.total if kept.total else None
                on_page(found, round(kept.candidates.height / share) if share else None)
            if enough is not None and found >= enough:
                break
    frame = pl.concat(frames) if frames else pl.DataFrame(schema=CANDIDATES)
    unique = frame.unique(["url", "label"], keep="first", maintain_order=True)
    draft.notes["duplicates"] += frame.height - unique.height
    return unique


def _enough(ask: Ask[Any]) -> int | None:
    """Return the candidates after which no further page is needed; None where all pages are."""
    limit: int | None = getattr(ask.source, "limit", None)
    if ask.label is None or limit is None or getattr(ask.source, "queries", None) is not None:
        return None
    return limit if getattr(ask.source, "spread", "none") == "none" else _POOL * limit


def labelled(page: Page, ask: Ask[Any]) -> Page:
    """Return the page with the columns of CANDIDATES; rows without a class are left out and counted."""
    frame = page.candidates
    if ask.label is not None:
        frame = frame.with_columns(pl.lit(ask.label).alias("label"))
    frame = conform(frame.with_columns(pl.lit(str(ask.source.source)).alias("source")), CANDIDATES)
    named = frame.filter(pl.col("label").str.strip_chars().str.len_chars() > 0)
    notes = page.notes + Counter({"without-label": frame.height - named.height})
    if ask.label is None:
        named, dropped = relabelled(named, ask.labels)
        notes["label-dropped"] += dropped
    return replace(page, candidates=named, notes=notes)


def _merged(old: pl.DataFrame | None, new: pl.DataFrame, *, gone: list[str] | None) -> pl.DataFrame:
    """Return what was offered before and is now. What has been asked anew replaces what was said of it."""
    if old is None or old.is_empty():
        return new
    if gone is not None:  # an observation that has changed comes with all its photos: the old ones do not live on
        changed = pl.concat([new.get_column("group_id").drop_nulls(), pl.Series("group_id", gone, pl.String)]).unique()
        old = old.join(changed.to_frame(), on="group_id", how="anti")
    old = old.join(new.select("url", "label"), on=["url", "label"], how="anti")
    return pl.concat([old, new])


def _old(shard: Path) -> pl.DataFrame | None:
    if not shard.exists():
        return None
    try:
        return conform(pl.read_parquet(shard), CANDIDATES)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(
            f"The candidates {shard} cannot be read.",
            received=f"{type(error).__name__}: {error}",
            hint="Delete this file: its source is asked anew.",
        ) from error


def _read_state(shard: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, KeyError, TypeError):
        state = read_json(shard.with_suffix(".json"))
        if shard.exists() and state["method"] == DISCOVER and {"asked_at", "full_at", "files"} <= state.keys():
            return dict(state)
    return {}


def shard_path(collection: Path, ask: Ask[Any]) -> Path:
    """Return where the answer to `ask` lies."""
    told = (ask.labels.drop, ask.labels.merge) if ask.label is None else ()
    return candidates_shard(collection, ask.label, ask.source, *told)


def utc_now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)
