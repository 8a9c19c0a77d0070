"""One source of a recipe asked to the end, whatever ends a run meanwhile, and what it said kept as a shard.

Reads the source. Writes below `candidates/` of a collection: `<id>.parquet` (the shard), `<id>.json` (when it was
asked and what came of it) and, until the source has been asked to the end, `<id>.draft/` (page by page, with the
place to go on from).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.files import read_json, write_json
from tasks.core.fingerprint import fingerprint, table_digest
from tasks.core.methods import DISCOVER
from tasks.core.tables import CANDIDATES, candidates_shard, conform, write_table
from tasks.discover.draft import Draft
from tasks.discover.fields import SourceConfig
from tasks.discover.found import Ask, Page, SourceModule
from tasks.discover.labels import relabelled

_OVERLAP = timedelta(days=1)  # asked again at each look for changes: clocks differ, indices lag behind
# How long the pages of an unfinished answer are gone on with. Page numbers of a listing move; a search is paid for,
# and one that its quota allows to finish only next month must not be bought from the start each week.
_LASTS = {"changes": timedelta(days=1), "appends": timedelta(days=60), "read": timedelta(days=1)}
_POOL = 5  # pages are read until this many times `limit` is found, where the limit is to be spread

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
    old, stamp = _old(shard), _stamp(ask.source)  # before it is read: a file may change meanwhile
    state = _read_state(shard) if old is not None else {}
    plan = _plan(ask.source, state, stamp=stamp, now=now)
    if plan is None or (not plan.full and _is_full(ask, state)):
        return Gathered(dict(state.get("notes", {})), asked=False)
    since = None if plan.full else plan.asked_at - _OVERLAP
    draft = Draft.open(shard, since=since, now=now, lasts=_LASTS[ask.source.REFRESH])
    kept = old if plan.keeps else None
    try:
        new = _all_pages(replace(ask, since=since), module, draft, on_page=on_page)
    except HarvestmanError:
        if ask.source.REFRESH == "appends":  # what was found is found; of a listing, half an answer is none
            _write(shard, _merged(old, _unique([conform(page, CANDIDATES) for page in draft.frames()]), gone=None))
        raise
    rows = picked(_merged(kept, new, gone=None if plan.full else draft.gone), ask.source)
    notes = {name: number for name, number in draft.notes.items() if number} | {"candidates": rows.height}
    _write(shard, rows)
    began = draft.began.isoformat()
    write_json(
        shard.with_suffix(".json"),
        {
            "asked_at": began,
            "full_at": began if plan.full else state["full_at"],
            "files": stamp,
            "limit": getattr(ask.source, "limit", None),
            "method": DISCOVER,
            "notes": notes,
        },
    )
    draft.drop()
    return Gathered(notes, asked=True)


def _write(shard: Path, rows: pl.DataFrame) -> None:
    """Write the shard, unless it holds the same rows already."""
    old = _old(shard)
    if old is None or table_digest(old) != table_digest(rows):
        write_table(rows, shard)


def picked(rows: pl.DataFrame, source: SourceConfig) -> pl.DataFrame:
    """Return `limit` rows of each class, in order or spread evenly over taxa or observers."""
    limit, column = source.most, source.spread_over
    if limit is None:
        return rows
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


def _plan(source: SourceConfig, state: dict[str, Any], *, stamp: str, now: datetime) -> _Plan | None:
    """Say what is to be asked; None = nothing, the last answer holds."""
    if not state:
        return _Plan(full=True, keeps=source.REFRESH == "appends", asked_at=now)
    asked_at, full_at = (datetime.fromisoformat(state[name]) for name in ("asked_at", "full_at"))
    if source.REFRESH == "read":
        return None if stamp and stamp == state["files"] else _Plan(full=True, keeps=False, asked_at=asked_at)
    due = now - full_at >= timedelta(days=getattr(source, "refresh_days", 0))
    if source.REFRESH == "appends":
        more = getattr(source, "limit", None) != state["limit"]
        return _Plan(full=True, keeps=True, asked_at=asked_at) if due or more else None
    return _Plan(full=due, keeps=not due, asked_at=asked_at)


def _is_full(ask: Ask[Any], state: dict[str, Any]) -> bool:
    """Whether the shard holds all that its limit allows: then nothing new could enter it."""
    most = ask.source.most
    if ask.label is None or most is None or ask.source.spread_over:
        return False
    return bool(state["notes"]["candidates"] >= most)


def _stamp(source: SourceConfig) -> str:
    """Name the files a source reads by their paths, sizes and times: as long as they stay, so does its answer."""
    stamps: list[tuple[str, int, int]] = []
    for path in source.files:
        for item in _files(path):
            with suppress(OSError):
                stamps.append((item, os.stat(item).st_size, os.stat(item).st_mtime_ns))  # noqa: PTH116 - as in _files
    return fingerprint(sorted(stamps)) if stamps else ""


def _files(path: Path) -> Iterator[str]:
    """Yield every file at or below `path`, through links too, each folder once."""
    if not path.is_dir():
        yield str(path)
        return
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(path, followlinks=True):
        status = os.stat(folder)  # noqa: PTH116 - a Path each would double the time of a walk
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()  # a link that leads back
            continue
        seen.add((status.st_dev, status.st_ino))
        yield from (os.path.join(folder, name) for name in files)  # noqa: PTH118 - as above


def _all_pages(ask: Ask[Any], module: SourceModule, draft: Draft, *, on_page: OnPage | None) -> pl.DataFrame:
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
    unique = _unique(frames)
    draft.notes["duplicates"] += sum(frame.height for frame in frames) - unique.height
    return unique


def _unique(frames: list[pl.DataFrame]) -> pl.DataFrame:
    frame = pl.concat(frames) if frames else pl.DataFrame(schema=CANDIDATES)
    return frame.unique(["url", "label"], keep="first", maintain_order=True)


def _enough(ask: Ask[Any]) -> int | None:
    """Return the candidates after which no further page is needed; None where all pages are.

    Of changes all are: what has gone is among them, and the next question begins where this one ends.
    """
    most: int | None = ask.source.most
    if ask.since or ask.label is None or most is None:
        return None
    return _POOL * most if ask.source.spread_over else most


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
        if state["method"] == DISCOVER and {"asked_at", "full_at", "files", "limit", "notes"} <= state.keys():
            return dict(state)
    return {}


def shard_path(collection: Path, ask: Ask[Any]) -> Path:
    """Return where the answer to `ask` lies: its name is all that the answer depends on.

    When it is asked again is no part of it, and of a search, whose finds stay, its limit neither.
    """
    passing = {"refresh_days", "limit"} if ask.source.REFRESH == "appends" else {"refresh_days"}
    asked = ask.source.model_dump(mode="json", exclude_defaults=True, exclude=passing)
    told = (ask.labels.drop, ask.labels.merge) if ask.label is None else ()
    return candidates_shard(collection, ask.label, asked, *told)


def utc_now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)
