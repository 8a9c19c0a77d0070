"""What is still to be asked: candidates less what the ledger knows, cut into batches.

Reads candidates/ and ledger/ of a collection; writes batches/<fingerprint>.parquet (url, label, local),
and ledger shards: of journals that a killed run left, and of addresses that need no request.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from tasks.core import local
from tasks.core.archives import one_pass
from tasks.core.errors import StopError
from tasks.core.files import storing
from tasks.core.fingerprint import fingerprint
from tasks.core.tables import (
    CANDIDATES,
    LOCAL_SOURCES,
    OUTCOMES,
    TRANSIENT,
    read_candidates,
    read_ledger,
    read_shards,
    write_table,
)
from tasks.core.workspace import Workspace
from tasks.ingest.address import invalid
from tasks.ingest.config import IngestConfig
from tasks.ingest.journal import SUFFIX, Row, ledger_frame, open_journal, seal

_LICENCE_REFUSED = "licence-refused"
_LOCAL_SIZE = 20_000  # files of this machine in a batch: ten seconds and more at 0.5 ms each


@dataclass(frozen=True)
class Plan:
    """The work that a run of ingest has before it."""

    batches: list[Path]
    """Batch files, to be handed to `run_batch` in any order, by any number of processes."""
    pending: int
    """Addresses in them."""
    known: int
    """Candidate addresses not asked this time: the ledger has their outcome."""


def plan(
    collection: Path,
    config: IngestConfig,
    *,
    now: datetime,
    retry: tuple[str, ...] = (),
    labels: tuple[str, ...] | None = None,
) -> Plan:
    """Settle what an earlier run left and cut the addresses still to be asked into batches.

    Asked are: candidates the ledger does not know; those whose failure may have been passing and is
    older than `retry_after_hours`; those whose outcome is named in `retry`; those once refused for
    a licence that is accepted now; files of this machine that have changed since they were read. The same
    tables give the same batches, hosts interleaved; all members of one tar file share a batch, as such a file
    can only be read front to back.

    The caller makes sure that no batch of this collection is being run meanwhile.

    Args:
        collection: the collection's folder.
        config: the `ingest:` block.
        now: the time, with its zone.
        retry: outcome slugs to be asked again whatever their age.
        labels: classes whose addresses are asked; None = all that were ever candidates.

    Raises:
        StopError: `retry` names an unknown outcome.
        WorkspaceError: a table cannot be written.
    """
    check_outcomes(retry)
    _settle(collection)
    addresses = _addresses(collection, config, labels)
    _refuse_unasked(collection, addresses, now)
    pending = _pending(collection, addresses, _Again(now - timedelta(hours=config.retry_after_hours), retry))
    batches = list(_write_batches(collection, pending, config.batch_size))
    for stale in set(_batch_folder(collection).glob("*.parquet")) - set(batches):
        with suppress(FileNotFoundError):
            stale.unlink()
    return Plan(batches, pending.height, addresses.height - pending.height)


def check_outcomes(slugs: tuple[str, ...]) -> None:
    """Raise StopError unless every one of `slugs` is an outcome of the ledger."""
    for slug in slugs:
        if slug not in OUTCOMES:
            near = difflib.get_close_matches(slug, OUTCOMES, n=1, cutoff=0.3)
            raise StopError(
                f"There is no outcome {slug!r} to retry.",
                received=slug,
                hint=(f"Did you mean {near[0]}? " if near else "") + f"Outcomes: {', '.join(OUTCOMES)}.",
            )


@dataclass(frozen=True)
class _Again:
    before: datetime
    outcomes: tuple[str, ...]


def _settle(collection: Path) -> None:
    """Turn journals of killed runs into shards and drop their unfinished downloads."""
    for path in sorted((collection / "ledger").glob(f"*{SUFFIX}")):
        with open_journal(path) as journal:
            seal(journal)
            with storing(path):
                path.unlink(missing_ok=True)
    shutil.rmtree(parts_folder(Workspace(collection.parent.parent), collection.name), ignore_errors=True)


def parts_folder(workspace: Workspace, collection: str) -> Path:
    """Return where bodies lie while they arrive: in the store, so that the last step is a rename."""
    return workspace.images / ".parts" / collection


def _addresses(collection: Path, config: IngestConfig, labels: tuple[str, ...] | None) -> pl.DataFrame:
    """Return one row per photo: its url, its first label, accepted (by licence), local (a file of this machine).

    Of the licences that several sources state for a photo, the narrowest counts. A photo is read from this machine
    only where a source that reads this machine has named it: a list of addresses cannot.
    """
    licences = [licence.lower() for licence in config.licences] if config.licences != "any" else None
    fits = pl.lit(value=True) if licences is None else pl.col("licence").str.to_lowercase().is_in(licences)
    offered = read_shards(collection / "candidates", CANDIDATES)
    own = pl.col("source").is_in(LOCAL_SOURCES) & pl.col("url").str.starts_with(local.SCHEME)
    files = offered.filter(own)["url"].unique()
    candidates = read_candidates(collection)
    if labels is not None:  # classes that have left the recipe since
        candidates = candidates.filter(pl.col("label").is_in(labels))
    return (
        candidates.select(
            "url",
            "label",
            fits.fill_null(value=False).alias("accepted"),
            pl.col("url").is_in(files.implode()).alias("local"),
        )
        .group_by("url")
        .agg(pl.col("label").min(), pl.col("accepted").any(), pl.col("local").any())
        .sort("url")
    )


def _refuse_unasked(collection: Path, addresses: pl.DataFrame, now: datetime) -> None:
    """Write down at once what needs no request: refused licences and strings that are no addresses.

    A picture kept under an earlier recipe whose licence is refused now gets such a row too.
    """
    known = read_ledger(collection).select("url", "outcome")
    joined = addresses.join(known, on="url", how="left", maintain_order="left")
    refused = joined.filter(~pl.col("accepted") & pl.col("outcome").ne_missing(_LICENCE_REFUSED))
    rows: list[Row] = [
        {"url": url, "label": label, "outcome": _LICENCE_REFUSED, "reason": "no source states an accepted licence"}
        for url, label in refused.select("url", "label").iter_rows()
    ]
    unknown = joined.filter(pl.col("accepted") & ~pl.col("local") & pl.col("outcome").is_null())
    for url, label in unknown.select("url", "label").iter_rows():
        if reason := invalid(url):
            rows.append({"url": url, "label": label, "outcome": "invalid-address", "reason": reason})
    if rows:
        frame = ledger_frame([row | {"attempts": 0, "fetched_at": now} for row in rows])
        write_table(frame, collection / "ledger" / f"unasked-{fingerprint(rows, now)}.parquet")


def _pending(collection: Path, addresses: pl.DataFrame, again: _Again) -> pl.DataFrame:
    known = read_ledger(collection).select("url", "outcome", "fetched_at")
    stale = pl.col("outcome").is_in(TRANSIENT) & (pl.col("fetched_at") <= again.before)
    wanted = pl.col("outcome").is_in([*again.outcomes, _LICENCE_REFUSED])
    joined = addresses.filter("accepted").join(known, on="url", how="left", maintain_order="left")
    changed = pl.col("url").is_in(_changed(joined).implode())
    return joined.filter(pl.col("outcome").is_null() | stale | wanted | changed).select("url", "label", "local")


def _changed(known: pl.DataFrame) -> pl.Series:
    """Return the addresses of files of this machine that are others now than when the ledger's row was written."""
    rows = known.filter("local", pl.col("outcome").is_not_null())
    files = rows.select(_file().unique()).to_series()
    changed = pl.Series([local.changed_at(file) for file in files], dtype=pl.Datetime("us", "UTC"))
    # Named by a list of addresses first, it has been refused unread.
    refused = pl.col("outcome") == "invalid-address"
    now = _file().replace_strict(files, changed, return_dtype=changed.dtype)
    return rows.filter(refused | (now >= pl.col("fetched_at")))["url"]


def _file() -> pl.Expr:
    """The address of the file, without the member of an archive."""
    return pl.col("url").str.extract(r"^([^#]*)")


def _write_batches(collection: Path, pending: pl.DataFrame, size: int) -> Iterator[Path]:
    """Cut `pending` into files."""
    for batch in [*_remote_batches(pending.filter(~pl.col("local")), size), *_local_batches(pending.filter("local"))]:
        path = _batch_folder(collection) / f"{fingerprint(batch.rows())}.parquet"
        yield path if path.exists() else write_table(batch, path)


def _remote_batches(pending: pl.DataFrame, size: int) -> Iterator[pl.DataFrame]:
    """Cut the addresses of the network. Each host's are spread evenly over all batches."""
    host = pl.col("url").str.extract(r"^[a-zA-Z]+://([^/?#]+)").fill_null("")
    place = (pl.col("url").cum_count().over("host") - 0.5) / pl.len().over("host")
    spread = pending.with_columns(host.alias("host")).with_columns(place.alias("place")).sort("place", "host", "url")
    yield from spread.select(pending.columns).iter_slices(size)


def _local_batches(pending: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut the files of this machine: a tar file's members together, the others as many as take a task's time."""
    archives = pending.filter(pl.col("url").str.contains("#", literal=True)).select(_file().unique().sort()).to_series()
    passes = [archive for archive in archives if (found := local.place(archive)) and one_pass(found[0])]
    for archive in passes:
        yield pending.filter(_file() == archive).sort("url")
    rest = pending.filter(~_file().is_in(passes)).sort("url")
    yield from rest.iter_slices(_LOCAL_SIZE)


def _batch_folder(collection: Path) -> Path:
    return collection / "batches"
