"""The journal of a batch: one line per finished address, so that a killed run loses none of them.

Owns `ledger/<batch>.journal.jsonl` (appended, one flushed line each) and the Parquet shard
`ledger/<batch>-<digest>.parquet` that it becomes. Reads and writes nothing else.
"""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import SEEK_END, FileIO
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import BusyError, WorkspaceError
from tasks.core.files import storing, write_all
from tasks.core.fingerprint import fingerprint
from tasks.core.tables import LEDGER, write_table

Row = dict[str, Any]
"""A row of the ledger; columns left out are null."""

SUFFIX = ".journal.jsonl"


@dataclass(frozen=True)
class Journal:
    """An open journal, held by this process alone."""

    path: Path
    stream: FileIO
    rows: list[Row]
    """What earlier runs and this one have written."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, row: Row) -> None:
        """Add one finished address, from any thread. When this returns, kill -9 cannot undo it.

        The line is in the kernel's hands then. It is not synced to the disk: a power cut may cost the last
        seconds, whose addresses are asked again.

        Raises:
            WorkspaceError: the disk is full.
        """
        line = _encode(row)
        with self._lock:
            end = self.stream.seek(0, SEEK_END)
            try:
                write_all(self.stream, line)
            except WorkspaceError:
                with suppress(OSError):
                    self.stream.truncate(end)  # half a line would take the next one with it, if there is room again
                raise
            self.rows.append(row)


def journal_path(collection: Path, batch: str) -> Path:
    """Return where the journal of the batch named `batch` lies."""
    return collection / "ledger" / f"{batch}{SUFFIX}"


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open the journal `path` for the block, with what is in it. A line torn by a crash is cut off.

    Raises:
        BusyError: another process works on this batch.
        WorkspaceError: it cannot be written.
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab+", buffering=0)
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"Another run is fetching the batch {path.name.removesuffix(SUFFIX)}.",
                received=f"{path} is locked.",
                hint="Wait until it has ended, or stop it, and run the same command again.",
            ) from error
        stream.seek(0)
        content = stream.readall()
        whole = content.rfind(b"\n") + 1
        with storing(path):
            stream.truncate(whole)
        yield Journal(path, stream, _rows(content[:whole]))


def _rows(content: bytes) -> list[Row]:
    """Read the lines that are whole; one torn by a full disk is passed over, and its address asked again."""
    rows = []
    for line in content.splitlines():
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            rows.append(_decode(line))
    return rows


def seal(journal: Journal) -> Path | None:
    """Write the journal's rows as an immutable shard of the ledger; the journal file itself stays.

    The shard's name is the digest of its rows: sealing the same journal twice, as after a crash between
    the two steps, writes the same file twice. Returns None when there are no rows.
    """
    if not journal.rows:
        return None
    batch = journal.path.name.removesuffix(SUFFIX)
    rows = sorted(journal.rows, key=lambda row: str(row["url"]))
    name = f"{batch}-{fingerprint([_encode(row).decode() for row in rows])}.parquet"
    return write_table(ledger_frame(rows), journal.path.with_name(name))


def read_journals(collection: Path) -> pl.DataFrame:
    """Return what the journals of a collection say: of batches under way, and of those a killed run has left."""
    rows: list[Row] = []
    for path in sorted((collection / "ledger").glob(f"*{SUFFIX}")):
        with suppress(FileNotFoundError):  # sealed meanwhile
            rows += _rows(path.read_bytes())
    return ledger_frame(rows)


def ledger_frame(rows: list[Row]) -> pl.DataFrame:
    """Return `rows` as a table of the ledger's schema."""
    return pl.DataFrame([{name: row.get(name) for name in LEDGER} for row in rows], schema=LEDGER)


def _encode(row: Row) -> bytes:
    plain = {name: _PLAIN.get(name, _same)(value) for name, value in row.items() if value is not None}
    return json.dumps(plain, ensure_ascii=True, sort_keys=True).encode() + b"\n"


def _decode(line: bytes) -> Row:
    return {name: _RICH.get(name, _same)(value) for name, value in json.loads(line).items()}


def _same(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    return value


_PLAIN: dict[str, Any] = {"fetched_at": datetime.isoformat, "verify_hash": bytes.hex}
_RICH: dict[str, Any] = {
    "fetched_at": lambda text: datetime.fromisoformat(text).astimezone(UTC),
    "verify_hash": bytes.fromhex,
}
