"""Time curation and split of synthetic collections: tables in, tables out, no image and no link.

Run from the repository root: python -m benchmarks.curate.tables [--rows 10000 100000 1000000]. Writes the collections
below a temporary folder, prints a table. Each line is a process of its own, on two cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measured import HEADER, line, tell, two_cores
from tasks.core.history import published_rows, read_history, scan_facts, write_history
from tasks.core.tables import CANDIDATES, LEDGER, VERDICTS, conform, read_tables, write_table
from tasks.curate.config import CurateConfig
from tasks.curate.verdicts import curate
from tasks.split.config import SplitConfig
from tasks.split.groups import told
from tasks.split.manifest import divide
from tasks.split.publish import describe
from tasks.split.sides import line_of

CLASSES = 202
SHARD = 50_000  # rows
_COPIES = 0.05  # of the images are near-duplicates of another one
_PER_OBSERVATION, _PER_CREATOR = 1.7, 12.0  # images
_LABELS = tuple(f"class-{number:03}" for number in range(CLASSES))
_CONFIG = SplitConfig()


def write_collection(collection: Path, rows: int) -> None:
    """Write candidates and ledger of `rows` images in classes of unequal size, with copies and shared observations."""
    rng = np.random.default_rng(1337)
    sizes = 1 / np.arange(30, CLASSES + 30)
    observation = rng.integers(0, max(1, int(rows / _PER_OBSERVATION)), rows)
    of_observation = rng.choice(CLASSES, observation.max() + 1, p=sizes / sizes.sum())
    phash, verify_hash = rng.integers(0, 2**64, rows, dtype=np.uint64), rng.bytes(32 * rows)
    verify = np.frombuffer(verify_hash, np.uint8).reshape(rows, 32).copy()
    by_class = np.argsort(of_observation[observation], kind="stable")
    places = rng.choice(np.arange(1, rows), int(rows * _COPIES), replace=False)
    copies, originals = by_class[places], by_class[places - 1]  # of one class, but for the first of each
    phash[copies], verify[copies] = phash[originals] ^ np.uint64(0b1001), verify[originals] ^ np.uint8(1)
    number = pl.int_range(rows, eager=True)
    table = pl.DataFrame({"number": number, "observation": observation, "phash": phash}).with_columns(
        url=pl.format("https://photos.example/photos/{}/medium.jpg", "number"),
        label=pl.Series([_LABELS[of_observation[group]] for group in observation]),
        source=pl.lit("inaturalist"),
        source_id=pl.col("number").cast(pl.String),
        group_id=pl.format("inaturalist:{}", "observation"),
        taxon=pl.format("taxon {}", pl.col("observation") % 5000),
        licence=pl.lit("cc-by-nc"),
        creator=pl.Series(rng.integers(0, int(rows / _PER_CREATOR) + 1, rows)).cast(pl.String),
        page_url=pl.format("https://observations.example/{}", "observation"),
        observed_on=pl.lit(date(2024, 5, 1)),
        latitude=pl.Series(rng.uniform(36, 42, rows)),
        longitude=pl.Series(rng.uniform(-9, -6, rows)),
        outcome=pl.lit("kept"),
        http_status=200,
        attempts=1,
        bytes=pl.Series(rng.integers(20_000, 200_000, rows)),
        sha256=pl.Series([rng.bytes(32).hex() for _ in range(rows)]),
        format=pl.lit("JPEG"),
        width=500,
        height=pl.Series(rng.integers(200, 500, rows)),
        contrast=50.0,
        verify_hash=pl.Series([row.tobytes() for row in verify], dtype=pl.Binary),
        fetched_at=pl.lit(datetime(2024, 6, 1, tzinfo=UTC)),
    )
    for start in range(0, rows, SHARD):
        part = table[start : start + SHARD]
        write_table(conform(part, CANDIDATES), collection / "candidates" / f"{start:09}.parquet")
        write_table(conform(part, LEDGER), collection / "ledger" / f"{start:09}.parquet")


def judged(collection: Path) -> int:
    """Judge every image, and write the verdicts."""
    return sum(curate(collection, CurateConfig(), labels=_LABELS).verdicts.values())


def divided(collection: Path) -> int:
    """Make the manifest of the verdicts and name it, as `publish` does before it makes the links; write its history."""
    (path,) = (collection / "verdicts").glob("*.parquet")
    verdicts, name = read_tables([path], VERDICTS), line_of(_CONFIG)
    history = read_history(collection).filter(line=name)
    facts = scan_facts(collection).select(told(_CONFIG)).unique().collect(engine="streaming")
    parts = divide(verdicts, _CONFIG, labels=_LABELS, history=history, facts=facts)
    version = describe(parts, recipe="b", config=_CONFIG, verdicts="").version
    write_history(collection, version, published_rows(collection, parts.manifest, verdicts), line=name)
    return verdicts.height


def grown(collection: Path) -> int:
    """Do the same when nine of ten images have their sides from an earlier version."""
    (path,) = (collection / "splits").glob("*.parquet")
    sides = pl.read_parquet(path)
    shutil.rmtree(path.parent)
    write_table(sides.filter(pl.col("sha256").str.slice(1, 1) > "1"), path)
    return divided(collection)


WAYS: dict[str, Callable[[Path], int]] = {"curate": judged, "split": divided, "split, grown": grown}


def main() -> None:
    """Print one line a size and stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--way", choices=WAYS, help="do this one here instead")
    parser.add_argument("--collection", type=Path)
    given = parser.parse_args()
    if given.way:
        tell(lambda: WAYS[given.way](given.collection))
        return
    two_cores()
    print(f"{CLASSES} classes, {os.cpu_count()} cores of which two are used\n\n{'stage':<13} {HEADER}")
    with tempfile.TemporaryDirectory(prefix="harvestman-tables-") as folder:
        for rows in given.rows:
            collection = Path(folder) / str(rows)
            write_collection(collection, rows)
            for way in WAYS:
                figures = line("benchmarks.curate.tables", "--collection", str(collection), "--way", way)
                print(f"{way:<13} {figures}", flush=True)


if __name__ == "__main__":
    main()
