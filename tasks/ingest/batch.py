"""One batch through the door: fetch, inspect, store, one ledger row per address.

Reads batches/<name>.parquet, the network and files of this machine; writes images/, the journal and then the ledger
shard. Can be killed at any moment and run again.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import HarvestmanError, ImageRefusedError, WorkspaceError
from tasks.core.files import storing
from tasks.core.network import NetworkPolicy
from tasks.core.spending import Spending
from tasks.core.tables import KEPT
from tasks.core.transport import guarded_client
from tasks.core.workspace import Workspace
from tasks.ingest.address import Address
from tasks.ingest.config import IngestConfig
from tasks.ingest.fetch import Fetched, Fetcher
from tasks.ingest.inspect import VERSIONS, Inspected, inspect, quiet_pillow
from tasks.ingest.journal import Journal, Row, journal_path, open_journal, seal
from tasks.ingest.local import read_local
from tasks.ingest.plan import parts_folder
from tasks.ingest.politeness import Politeness

OnRow = Callable[[Row], None]
OnWait = Callable[[str], None]
_INSPECTORS = 2  # threads; a decode takes 0.5 ms of a 500 px JPEG, a download a hundred times that
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
        on_row: called with each finished row of the ledger, in the thread that called this.
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
        door = _Door(workspace, config, network, journal, on_row, on_wait)
        with quiet_pillow():
            door.pass_local([address for address in todo if address.local])
            remote = [address for address in todo if not address.local]
            if remote:
                _run(door.pass_all(remote))
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


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run the event loop; the first error of a task group comes out as itself, not as a group."""
    try:
        asyncio.run(work)
    except BaseExceptionGroup as group:  # as a task group wraps Ctrl-C too; unwrapped and raised again
        ours = group.subgroup(HarvestmanError)
        error: BaseException = ours or group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group


@dataclass(frozen=True)
class _Door:
    workspace: Workspace
    config: IngestConfig
    network: NetworkPolicy
    journal: Journal
    on_row: OnRow | None
    on_wait: OnWait | None

    async def pass_all(self, addresses: list[Address]) -> None:
        """Let every address of the network through, as many at once as the configuration allows."""
        config = self.config
        politeness = Politeness(
            Spending(self.network, say=self.on_wait),
            connections=config.connections,
            per_host=config.per_host,
            max_wait=config.max_wait,
        )
        client = guarded_client(self.network, timeout=config.timeout, connections=config.connections)
        with ThreadPoolExecutor(_INSPECTORS, thread_name_prefix="inspect") as pool:
            async with client, asyncio.TaskGroup() as group:
                fetcher = Fetcher(client, politeness, config)
                for address in addresses:
                    group.create_task(self._pass_one(fetcher, pool, address))

    async def _pass_one(self, fetcher: Fetcher, pool: ThreadPoolExecutor, address: Address) -> None:
        fetched = await fetcher.fetch(address.url, address.part)
        seen = await asyncio.get_running_loop().run_in_executor(pool, self._judge, address.part, fetched)
        self._write_down(address, {**_fetch_columns(fetched), **seen, "fetched_at": datetime.now(UTC)})

    def pass_local(self, addresses: list[Address]) -> None:
        """Let every file of this machine through: one thread copies, the others look."""
        began = datetime.now(UTC)  # a file that is changed after this moment has changed since it was read
        waiting: deque[tuple[Address, Fetched, Future[Row]]] = deque()

        def write_down_first() -> None:
            address, fetched, seen = waiting.popleft()
            self._write_down(address, {**_fetch_columns(fetched), **seen.result(), "fetched_at": began})

        with ThreadPoolExecutor(_INSPECTORS, thread_name_prefix="inspect") as pool:
            for address, fetched in read_local(addresses, max_bytes=int(self.config.max_bytes)):
                waiting.append((address, fetched, pool.submit(self._judge, address.part, fetched)))
                if len(waiting) > _AHEAD:
                    write_down_first()
            while waiting:
                write_down_first()

    def _write_down(self, address: Address, columns: Row) -> None:
        row: Row = {"url": address.url, "label": address.label, "versions": None, **columns}
        self.journal.append(row)
        if self.on_row:
            self.on_row(row)

    def _judge(self, part: Path, fetched: Fetched) -> Row:
        """Look at what came; return the columns that say what it is."""
        if fetched.outcome == KEPT:
            return self._store(part, fetched)
        with suppress(OSError):
            part.unlink(missing_ok=True)
        return {}

    def _store(self, part: Path, fetched: Fetched) -> Row:
        """Inspect a body and move it into the store, or drop it; return the columns that say so."""
        try:
            seen = inspect(part, min_side=self.config.min_side, max_pixels=self.config.max_pixels)
        except ImageRefusedError as error:
            with suppress(OSError):
                part.unlink()
            return {"outcome": error.outcome, "reason": error.reason or None, "versions": VERSIONS}
        target = self.workspace.image(str(fetched.sha256), seen.format)
        with storing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
        return {"sha256": fetched.sha256, "versions": VERSIONS, **_seen_columns(seen)}


def _fetch_columns(fetched: Fetched) -> Row:
    """Return all but the SHA-256, which is written down only for images in the store."""
    return {
        "outcome": fetched.outcome,
        "reason": fetched.reason,
        "http_status": fetched.http_status,
        "attempts": fetched.attempts,
        "bytes": fetched.bytes,
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
