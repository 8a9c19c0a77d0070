"""Time the exact near-duplicate search, check it against brute force, and time the clusters around it.

Run from the repository root: python -m benchmarks.curate.search [--rows 100000 1000000] [--repeat 3]. Hashes are
uniform, a fifth of them copies of another with up to 12 bits flipped. Each line is a process of its own, with the
compiled search loaded before the clock starts. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl

from benchmarks.measured import measured
from tasks.curate.clusters import add_clusters
from tasks.curate.config import NearDuplicates
from tasks.curate.near import BRUTE_FORCE_BELOW, Hashes, Pairs, pairs_within

BRUTE_FORCE_UP_TO = 100_000  # rows: ten times as many would take ten minutes
CROWD = 20_000  # images all alike: 200 million pairs
COPIES = 5  # one in so many is a copy
FLIPPED = 12  # bits at most
RADIUS = NearDuplicates().radius
SEARCHED = (10, RADIUS)  # the radius that other searches are measured with, and that of a recipe
INVARIANCES = ("none", "mirror", "rotation")


def hashes_of(rows: int, width: int = 8) -> np.ndarray:
    """Return `rows` hashes of `width` bytes: uniform, and copies of earlier ones at the end."""
    rng = np.random.default_rng(1337)
    hashes = rng.integers(0, 256, (rows, width), dtype=np.uint8)
    copies = np.arange(rows - rows // COPIES, rows)
    hashes[copies] = hashes[rng.integers(0, rows - len(copies), len(copies))]
    for flip in range(FLIPPED):
        some = copies[rng.integers(0, FLIPPED, len(copies)) >= flip]
        hashes[some, rng.integers(0, width, len(some))] ^= np.uint8(1) << rng.integers(0, 8, len(some), dtype=np.uint8)
    return hashes


def short(hashes: np.ndarray) -> Hashes:
    """Return the first eight bytes as numbers."""
    return np.ascontiguousarray(hashes[:, :8]).view(np.uint64)[:, 0]


def crowd_of(rows: int) -> np.ndarray:
    """Return `rows` hashes of 40 bytes, at most 65,536, each another and all of them near-duplicates of each other."""
    hashes = np.zeros((rows, 40), np.uint8)
    hashes[:, 8:10] = np.arange(rows, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    return hashes


def images(hashes: np.ndarray) -> pl.DataFrame:
    """Return the table that curation hands to the clusters, as it comes from the ledger; hashes of shape (N, 40)."""
    rows, rng = len(hashes), np.random.default_rng(7)
    numbers = rng.integers(0, 256, (rows, 32), dtype=np.uint8)
    return pl.DataFrame(
        {
            "sha256": [number.tobytes().hex() for number in numbers],
            "phash": short(hashes),
            "verify_hash": [row.tobytes() for row in hashes[:, 8:]],
            "contrast": np.full(rows, 50, np.float32),
            "width": rng.integers(100, 4000, rows),
            "height": rng.integers(100, 4000, rows),
            "bytes": rng.integers(10_000, 900_000, rows),
            "published": np.zeros(rows, np.bool_),
            "eligible": np.ones(rows, np.bool_),
        }
    )


def brute_force(hashes: Hashes, radius: int) -> Pairs:
    """Compare all with all in tiles of 256 rows that stay in the cache."""
    found = []
    for start in range(0, len(hashes), 256):
        near = np.bitwise_count(hashes[start : start + 256, None] ^ hashes[None, start:]) <= radius
        first, second = np.nonzero(near)
        found.append(np.column_stack((first, second))[first < second] + start)
    return np.concatenate(found).astype(np.int64)


def work(kind: str, rows: int) -> None:
    """Do one line's work in this process and print its figures as JSON.

    Args:
        kind: `search:RADIUS`, `clusters:INVARIANCE` or `crowd:INVARIANCE`.
        rows: hashes.
    """
    start = time.perf_counter()
    pairs_within(np.arange(BRUTE_FORCE_BELOW, dtype=np.uint64) << np.uint64(20), 0)
    loaded = time.perf_counter() - start
    name, _, option = kind.partition(":")
    call: Callable[[], object]
    if name == "search":
        call = partial(pairs_within, short(hashes_of(rows)), int(option))
    else:
        hashes = crowd_of(rows) if name == "crowd" else hashes_of(rows, 40)
        call = partial(add_clusters, images(hashes), NearDuplicates.model_validate({"invariance": option}))
    seconds, cpu = time.perf_counter(), time.process_time()
    call()
    seconds, cpu = time.perf_counter() - seconds, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"loaded": loaded, "seconds": seconds, "cpu": cpu, "peak": peak}))


def check(rows: int) -> None:
    """Stop unless the search finds exactly the pairs that brute force finds."""
    hashes = short(hashes_of(rows))
    seconds, cpu = time.perf_counter(), time.process_time()
    expected = brute_force(hashes, RADIUS)
    seconds, cpu = time.perf_counter() - seconds, time.process_time() - cpu
    pairs = pairs_within(hashes, RADIUS)
    np.testing.assert_array_equal(pairs, expected)
    print(f"\n{rows:,} rows: all {len(pairs):,} pairs of brute force ({seconds:.1f} s, {cpu:.1f} s CPU), and no other")


def main() -> None:
    """Print one line a size and kind of work; stop if the two searches disagree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=1, help="of the search, for a machine that others use too")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.rows[0])
        return
    print(f"radius {RADIUS} where none is named; wall and CPU of the call alone, peak memory of the whole process\n")
    print(f"{'':<18} {'rows':>9} {'wall s':>7} {'CPU s':>6} {'peak GB':>8} {'loading s':>10}")
    kinds = [f"search:{radius}" for radius in SEARCHED] * arguments.repeat
    kinds += [f"clusters:{invariance}" for invariance in INVARIANCES]
    lines = [(kind, rows) for rows in arguments.rows for kind in kinds] + [("crowd:none", CROWD)]
    for kind, rows in lines:
        run = measured([sys.executable, "-m", "benchmarks.curate.search", "--work", kind, "--rows", str(rows)])
        told = json.loads(run.output.splitlines()[-1])
        columns = f"{told['seconds']:>7.2f} {told['cpu']:>6.2f} {told['peak'] / 1e9:>8.2f} {told['loaded']:>10.2f}"
        print(f"{kind:<18} {rows:>9,} {columns}", flush=True)
    check(min(BRUTE_FORCE_UP_TO, *arguments.rows))


if __name__ == "__main__":
    main()
