"""Content is identity: the digest that names a configuration, a table or a file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
from pydantic import BaseModel

LENGTH = 16  # hexadecimal digits used in folder names: 64 bits, collision-free for any real number of runs

_ROWS = 1 << 16  # written out at once: a million rows of verdicts are 600 MB of text


def fingerprint(*parts: object) -> str:
    """Return 16 hexadecimal digits that name `parts`: configs, strings, numbers, lists, dicts.

    Equal values give equal digests in every process; dict order does not count.
    """
    text = json.dumps([_plain(part) for part in parts], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def _plain(part: object) -> object:
    return part.model_dump(mode="json") if isinstance(part, BaseModel) else part


def table_digest(frame: pl.DataFrame) -> str:
    """Return the SHA-256 of a table's rows and column names, independent of the order of the rows."""
    ordered = frame.select(sorted(frame.columns)).sort(sorted(frame.columns))
    digest = hashlib.sha256(ordered.clear().write_csv().encode())
    for rows in ordered.iter_slices(_ROWS):
        digest.update(rows.write_csv(include_header=False).encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
