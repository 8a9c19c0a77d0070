"""One batch through the door: fetch, inspect, store, one ledger row per address.

Reads batches/<name>.parquet, the network and files of this machine; writes images/, the journal and then the ledger
shard. Can be killed at any moment and run again.
"""

from __future__ import annotations

import shutil
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from tasks.core.errors import ImageRefusedError, WorkspaceError
from tasks.core.files import storing
from tasks.core.network import NetworkPolicy
from tasks.core.waiting import heed
from tasks.core.workspace import Workspace
from tasks.ingest.address import Address
from tasks.ingest.body import Body
from tasks.ingest.config import IngestConfig
from tasks.ingest.door import OnWait, open_door
from tasks.ingest.fetch import Fetched
from tasks.ingest.inspect import VERSIONS, Inspected, inspect
from tasks.ingest.inspectors import hush_pillow, inspectors, settle
from tasks.ingest.journal import Journal, Row, journal_path, open_journal, seal
from tasks.ingest.local import read_local
from tasks.ingest.plan import parts_folder
from tasks.ingest.shrink import shrunk

OnRow = Callable[[Row], None]
_AHEAD = 32  # files of this machine copied before the first of them has been looked at


def run_batch(
    batch: Path,
    *,
    workspace: Workspace,
    config: IngestConfig,
    network: NetworkPolicy,
    on_row: OnRow | None = None,
    on_wait: OnWait | None = None,
) -> dict[str, int]:
    """Fetch, inspect and store every address of the batch file `batch`, once.

    Addresses that the batch's journal holds, from a run that was killed, are not asked again. At the
    end the journal becomes a shard of the ledger, and the batch file and the journal are removed.

    Args:
        batch: a file that `plan` wrote, in the batches/ folder of a collection.
        workspace: where images go.
        config: the `ingest:` block.
        network: who we are and where we may go.
        on_row: called with each finished row of the ledger, in any thread, two at once too.
        on_wait: called, in any thread, with a sentence on a budget that is used up; default: it is logged.

    Returns:
        Addresses by outcome, those of the killed run included.

    Raises:
        WorkspaceError: the disk is full or not writable; the rows won so far are kept in the journal.
        BusyError: another process runs this batch.
        StopError: the run is being stopped; the rows won so far are kept in the journal.
    """
    collection = batch.parent.parent
    addresses = _read_batch(batch)
    parts = parts_folder(workspace, collection.name) / batch.stem
    with open_journal(journal_path(collection, batch.stem)) as journal:
        done = {row["url"] for row in journal.rows}
        todo = [
            Address(url, label, parts / f"{number}.part", local)
            for number, (url, label, local) in enumerate(addresses)
            if url not in done
        ]
        _clear(parts)
        work = _Batch(workspace, config, journal, on_row)
        hush_pillow()
        work.pass_local([address for address in todo if address.local])
        if remote := [address for address in todo if not address.local]:
            with open_door(network, config) as door:
                door.fetch_all(remote, work.take, on_wait=on_wait)
        _finish(batch, journal, parts)
    return dict(sorted(Counter(str(row["outcome"]) for row in journal.rows).items()))


def _finish(batch: Path, journal: Journal, parts: Path) -> None:
    """Seal the journal and remove what is no longer needed.

    The batch goes before the journal: a crash between the two leaves rows that the next plan seals
    once more, where the other order would leave a batch that is asked all over again.
    """
    seal(journal)
    shutil.rmtree(parts, ignore_errors=True)
    with storing(batch):
        batch.unlink(missing_ok=True)
        journal.path.unlink(missing_ok=True)


def _read_batch(batch: Path) -> list[tuple[str, str, bool]]:
    try:
        frame = pl.read_parquet(batch, columns=["url", "label", "local"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise WorkspaceError(
            f"The batch {batch} cannot be read.",
            received=f"{type(error).__name__}: {error}",
            hint="It may have been finished already. Run the same command again: what is left is planned anew.",
        ) from error
    return list(frame.unique("url", keep="first", maintain_order=True).iter_rows())


def _clear(parts: Path) -> None:
    shutil.rmtree(parts, ignore_errors=True)
    with storing(parts):
        parts.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class _Batch:
    """What becomes of each address, once it has been fetched."""

    workspace: Workspace
    config: IngestConfig
    journal: Journal
    on_row: OnRow | None

    def pass_local(self, addresses: list[Address]) -> None:
        """Let every file of this machine through: one thread copies, the others look."""
        began = datetime.now(UTC)  # a file that is changed after this moment has changed since it was read
        waiting: deque[Future[None]] = deque()
        try:
            for address, fetched in read_local(addresses, max_bytes=int(self.config.max_bytes)):
                heed()
                waiting.append(inspectors().pool.submit(self.take, address, fetched, at=began))
                if len(waiting) > _AHEAD:
                    waiting[0].result()
                    waiting.popleft()
            for taken in waiting:
                heed()
                taken.result()
        finally:
            settle([taken for taken in waiting if not taken.cancel()])

    def take(self, address: Address, fetched: Fetched, *, at: datetime | None = None) -> None:
        """Look at what came, keep or drop it, and write its row down."""
        row: Row = {
            "url": address.url,
            "label": address.label,
            **_fetch_columns(fetched),
            **(self._judge(fetched.body, address.part) if fetched.body is not None else {}),
            "fetched_at": at or datetime.now(UTC),
        }
        self.journal.append(row)
        if self.on_row:
            self.on_row(row)

    def _judge(self, body: Body, part: Path) -> Row:
        """Inspect a body and move it into the store, or drop it; return the columns that say so."""
        config = self.config
        try:
            with storing(part):  # reading it again may fail too
                seen = inspect(
                    body.content,
                    min_side=config.min_side,
                    max_pixels=config.max_pixels,
                    min_contrast=config.min_contrast,
                )
                return {"versions": VERSIONS, **_seen_columns(seen), **self._store(body, seen)}
        except ImageRefusedError as error:
            body.discard()
            return {"outcome": error.outcome, "reason": error.reason or None, "versions": VERSIONS}

    def _store(self, body: Body, seen: Inspected) -> Row:
        """Keep the image, shrunk where the recipe wants that, and return the columns that say which it is."""
        most = self.config.max_side
        small = shrunk(body.content, max_side=most, quality=self.config.quality) if most else None
        if small is None:
            digest = body.sha256()
            body.move_to(self.workspace.image(digest, seen.format))
            return {"sha256": digest}
        original = body.sha256()
        body.replace(small.content)
        digest = body.sha256()
        body.move_to(self.workspace.image(digest, small.format))
        columns = {"format": small.format, "width": small.width, "height": small.height}
        return {"sha256": digest, "original_sha256": original, **columns}


def _fetch_columns(fetched: Fetched) -> Row:
    return {
        "outcome": fetched.outcome,
        "reason": fetched.reason,
        "http_status": fetched.http_status,
        "attempts": fetched.attempts,
        "bytes": fetched.body.size if fetched.body is not None else None,
        "received": fetched.received,
        "seconds": fetched.seconds,
        "etag": fetched.etag,
        "last_modified": fetched.last_modified,
    }


def _seen_columns(seen: Inspected) -> Row:
    return {
        "format": seen.format,
        "width": seen.width,
        "height": seen.height,
        "contrast": seen.contrast,
        "phash": seen.phash,
        "verify_hash": seen.verify_hash,
    }
