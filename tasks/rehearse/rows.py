"""Tables as they are handed out: the cells that a source's rules look at, and the bytes of a file.

Reads and writes nothing.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tasks.core.errors import RecipeError
from tasks.rehearse.sources import Slot

Row = dict[str, str]


@dataclass(frozen=True)
class Site:
    """What all files of a photo site have in common."""

    base_url: str  # scheme, host and port
    drop: tuple[str, ...]  # classes that the recipe does not want


def cells(slot: Slot, kind: str, drop: Sequence[str], *, unique: str) -> Row:
    """Return the columns that decide whether a row of a source is taken, and into which class.

    Args:
        slot: The source and its class.
        kind: What the row is an example of (`tasks.rehearse.faults`).
        drop: Classes that the recipe does not want.
        unique: What tells the row from others.

    Raises:
        RecipeError: the class is told in a way that cannot be played.
    """
    where = slot.options.get("where") or {}
    row = {column: str(value[0] if isinstance(value, list | tuple) else value) for column, value in where.items()}
    if kind == "elsewhere":
        row = dict.fromkeys(row, "something else")
    rule = slot.rule
    if rule is None:
        return row
    if rule.taxa and not rule.column:
        taxa = rule.taxa[str(slot.raw)]
        row[slot.options.get("columns", {}).get("taxon", "taxon")] = taxa[len(unique) % len(taxa)]
    elif rule.column:
        raw = drop[0] if kind == "unwanted" else str(slot.raw)
        row[rule.column] = "" if kind == "unlabelled" else rule.written(raw, unique)
    elif slot.source != "archive":
        raise RecipeError(
            f"A photo site cannot play the `label:` of the source {slot.source}: it names no column.",
            hint="Give `column:` beside `pattern:`.",
        )
    return row


def table(rows: Sequence[Row], suffix: str, *, bom: bool = False) -> bytes:
    """Return `rows` (each with the same columns) as a table of the kind that a file's suffix says."""
    if suffix.endswith(".gz"):
        return gzip.compress(table(rows, suffix.removesuffix(".gz"), bom=bom), mtime=0)
    if suffix in {".jsonl", ".ndjson", ".json"}:
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if suffix in {".parquet", ".pq"}:
        buffer = io.BytesIO()
        pl.DataFrame(list(rows)).write_parquet(buffer)
        return buffer.getvalue()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], delimiter="\t" if suffix == ".tsv" else ",")
    writer.writeheader()
    writer.writerows(rows)
    return ("\ufeff" if bom else "").encode() + text.getvalue().encode()


def plain(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    """Return `rows` as tab-separated text without quotes, as iNaturalist and GBIF hand out large tables."""
    lines = ["\t".join(columns), *("\t".join(row.get(column, "") for column in columns) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def parted(rows: Sequence[Row], parts: int) -> list[list[Row]]:
    """Return `rows` in as many parts as there are files, none empty where there are enough."""
    size, more = divmod(len(rows), parts)
    starts = [part * size + min(part, more) for part in range(parts + 1)]
    return [list(rows[first:last]) for first, last in itertools.pairwise(starts)]
