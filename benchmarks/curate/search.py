"""Time the exact near-duplicate search on uniform 64-bit hashes, and brute force on the same ones.

Run from the repository root: python -m benchmarks.curate.search [--rows 100000 1000000]. Prints a table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from tasks.curate.near import Hashes, Pairs, pairs_within

BRUTE_FORCE_UP_TO = 100_000  # rows: ten times as many would take ten minutes


def brute_force(hashes: Hashes, radius: int) -> Pairs:
    """Compare all with all in tiles of 256 rows that stay in the cache."""
    found = []
    for start in range(0, len(hashes), 256):
        near = np.bitwise_count(hashes[start : start + 256, None] ^ hashes[None, start:]) <= radius
        first, second = np.nonzero(near)
        found.append(np.column_stack((first, second))[first < second] + start)
    return np.concatenate(found).astype(np.int64)


def timed(search: Callable[[Hashes, int], Pairs], hashes: Hashes, radius: int) -> tuple[float, Pairs]:
    """Return the seconds a search takes, and what it finds."""
    start = time.perf_counter()
    pairs = search(hashes, radius)
    return time.perf_counter() - start, pairs


def main() -> None:
    """Print one line a size and radius; stop if the two searches disagree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    rng = np.random.default_rng(1337)
    seconds, _ = timed(pairs_within, rng.integers(0, 2**64, 5000, dtype=np.uint64), 10)
    print(f"first call (loads or compiles the kernel): {seconds:.2f} s\n")
    print(f"{'rows':>9} {'radius':>6} {'pairs':>8} {'banded s':>9} {'brute s':>8}")
    for rows in parser.parse_args().rows:
        hashes = rng.integers(0, 2**64, rows, dtype=np.uint64)
        for radius in (7, 10):
            banded, pairs = timed(pairs_within, hashes, radius)
            brute = "-"
            if rows <= BRUTE_FORCE_UP_TO and radius == 10:  # noqa: PLR2004 - its time does not depend on the radius
                seconds, expected = timed(brute_force, hashes, radius)
                brute = f"{seconds:.1f}"
                np.testing.assert_array_equal(pairs, expected)
            print(f"{rows:>9,} {radius:>6} {len(pairs):>8,} {banded:>9.2f} {brute:>8}")


if __name__ == "__main__":
    main()
