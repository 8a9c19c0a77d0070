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
from tasks.core.hosts import invalid, sites
from tasks.core.network import NO_CONTACT, SET_CONTACT, NetworkPolicy, wants_contact
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
from tasks.ingest.config import IngestConfig
from tasks.ingest.journal import SUFFIX, Row, ledger_frame, open_journal, seal

_LICENCE_REFUSED = "licence-refused"
_MOST_BATCHES = 1000  # a task of Prefect each; its server grows slow with more than two thousand in a run
_SHOWN = 100  # characters of an address
_LOCAL_SIZE = 20_000  # files of this machine in a batch: ten seconds and more at 0.5 ms each


@dataclass(frozen=True)
class Plan:
    """The work that a run of ingest has before it."""

    lanes: list[list[Path]]
    """Batch files for `run_batch`. No host is in two lanes: what it is spared holds wherever its batches run, if those
    of a lane run one after another, or in one process."""
    pending: int
    """Addresses in them."""
    known: int
    """Candidate addresses not asked this time: the ledger has their outcome."""

    @property
    def batches(self) -> list[Path]:
        """The batch files of all lanes."""
        return [batch for lane in self.lanes for batch in lane]


def plan(
    collection: Path,
    config: IngestConfig,
    *,
    now: datetime,
    retry: tuple[str, ...] = (),
    labels: tuple[str, ...] | None = None,
    network: NetworkPolicy | None = None,
) -> Plan:
    """Settle what an earlier run left and cut the addresses still to be asked into batches.

    Asked are: candidates the ledger does not know; those whose failure may have been passing and is
    older than `retry_after_hours`; those whose outcome is named in `retry`; those once refused for
    a licence that is accepted now; files of this machine that have changed since they were read. The same
    tables give the same batches. A host of many addresses has batches of its own; all members of one tar file share a
    batch, as such a file can only be read front to back.

    The caller makes sure that no batch of this collection is being run meanwhile.

    Args:
        collection: the collection's folder.
        config: the `ingest:` block.
        now: the time, with its zone.
        retry: outcome slugs to be asked again whatever their age.
        labels: classes whose addresses are asked; None = all that were ever candidates.
        network: who we are; None = nobody is asked in our name.

    Raises:
        StopError: `retry` names an unknown outcome, or a host wants to know whom to write to and is not told.
        WorkspaceError: a table cannot be written.
    """
    check_outcomes(retry)
    _settle(collection)
    addresses = _addresses(collection, config, labels)
    ledger = read_ledger(collection, "url", "outcome", "fetched_at")
    known = addresses.join(ledger, on="url", how="left", maintain_order="left")
    refused = _refuse_unasked(collection, known, now)
    asked = known.filter(~pl.col("url").is_in(refused.implode()))
    pending = _pending(asked, _Again(now - timedelta(hours=config.retry_after_hours), retry))
    if network is not None:
        _check_contact(pending.filter(~pl.col("local"))["url"], network)
    lanes = [[_written(collection, batch) for batch in lane] for lane in _lanes(pending, config.batch_size)]
    planned = Plan(lanes, pending.height, addresses.height - pending.height)
    for stale in set(_batch_folder(collection).glob("*.parquet")) - set(planned.batches):
        with suppress(FileNotFoundError):
            stale.unlink()
    return planned


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


def _check_contact(urls: pl.Series, network: NetworkPolicy) -> None:
    """Raise StopError where addresses are at hosts that want to know whom to write to, and are not told."""
    if network.contact:
        return
    host = sites(urls).str.replace(r":[0-9]+$", "")
    # Hosts are few, and at Amazon S3, where the first word of a path may name one, buckets are: each is read once.
    bucket = pl.col("url").str.extract(r"^[^/]*//[^/?#]*/*([^/?#]*)")
    amazon = pl.col("host").str.contains("amazonaws", literal=True)
    table = pl.DataFrame({"url": urls, "host": host}).drop_nulls("host")
    counts = (
        table.group_by("host", pl.when(amazon).then(bucket).otherwise(pl.lit("")).alias("first"))
        .agg(pl.len().alias("many"), pl.col("url").min())
        .sort("url")
    )
    named = [row for row in counts.iter_rows(named=True) if wants_contact(row["host"], row["first"] or "")]
    if named:
        many = sum(row["many"] for row in named)
        raise StopError(
            NO_CONTACT,
            received=f"{many:,} of {len(urls):,} addresses, such as {named[0]['url'][:_SHOWN]}; no contact is set",
            hint=SET_CONTACT,
        )


def _settle(collection: Path) -> None:
    """Turn journals of killed runs into shards and drop their unfinished downloads and tables."""
    for path in sorted((collection / "ledger").glob(f"*{SUFFIX}")):
        with open_journal(path) as journal:
            seal(journal)
            with storing(path):
                path.unlink(missing_ok=True)
    shutil.rmtree(parts_folder(Workspace(collection.parent.parent), collection.name), ignore_errors=True)
    for folder in (collection / "ledger", _batch_folder(collection)):
        for torn in folder.glob(".*.part"):
            torn.unlink(missing_ok=True)


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


def _refuse_unasked(collection: Path, known: pl.DataFrame, now: datetime) -> pl.Series:
    """Write down at once what needs no request: refused licences and strings that are no addresses. Return them.

    A picture kept under an earlier recipe whose licence is refused now gets such a row too.
    """
    refused = known.filter(~pl.col("accepted") & pl.col("outcome").ne_missing(_LICENCE_REFUSED))
    rows: list[Row] = [
        {"url": url, "label": label, "outcome": _LICENCE_REFUSED, "reason": "no source states an accepted licence"}
        for url, label in refused.select("url", "label").iter_rows()
    ]
    unknown = known.filter(pl.col("accepted") & ~pl.col("local") & pl.col("outcome").is_null())
    for url, label in unknown.select("url", "label").iter_rows():
        if reason := invalid(url):
            rows.append({"url": url, "label": label, "outcome": "invalid-address", "reason": reason})
    if rows:
        frame = ledger_frame([row | {"attempts": 0, "fetched_at": now} for row in rows])
        write_table(frame, collection / "ledger" / f"unasked-{fingerprint(rows, now)}.parquet")
    return pl.Series([row["url"] for row in rows], dtype=pl.String)


def _pending(known: pl.DataFrame, again: _Again) -> pl.DataFrame:
    stale = pl.col("outcome").is_in(TRANSIENT) & (pl.col("fetched_at") <= again.before)
    wanted = pl.col("outcome").is_in([*again.outcomes, _LICENCE_REFUSED])
    accepted = known.filter("accepted")
    changed = pl.col("url").is_in(_changed(accepted).implode())
    return accepted.filter(pl.col("outcome").is_null() | stale | wanted | changed).select("url", "label", "local")


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


def _written(collection: Path, batch: pl.DataFrame) -> Path:
    path = _batch_folder(collection) / f"{fingerprint(batch.rows())}.parquet"
    return path if path.exists() else write_table(batch, path)


def _lanes(pending: pl.DataFrame, size: int) -> Iterator[list[pl.DataFrame]]:
    """Cut `pending` into batches, and say which of them must follow one another."""
    size = max(size, -(-pending.height // _MOST_BATCHES))
    yield from _remote_lanes(pending.filter(~pl.col("local")), size)
    for batch in _local_batches(pending.filter("local")):
        yield [batch]


def _remote_lanes(pending: pl.DataFrame, size: int) -> Iterator[list[pl.DataFrame]]:
    """Cut the addresses of the network: large hosts have a lane each, small ones share batches, each whole in one.

    The largest come first: a host's own pace is what a run waits for in the end.
    """
    hosts = pending.with_columns(sites(pending["url"]).fill_null("").alias("host"))
    lane_of: dict[str, int] = {}
    lane, held = -1, size
    for host, many in hosts.group_by("host").len().sort("len", "host", descending=[True, False]).iter_rows():
        held += many
        if held > size:
            lane, held = lane + 1, many
        lane_of[host] = lane
    numbers = pl.col("host").replace_strict(list(lane_of), list(lane_of.values()), return_dtype=pl.Int64())
    numbered = hosts.with_columns(numbers.alias("lane")).sort("lane", "host", "url")
    for addresses in numbered.partition_by("lane", maintain_order=True):
        pieces = -(-addresses.height // size)
        yield list(addresses.select(pending.columns).iter_slices(-(-addresses.height // pieces)))


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
