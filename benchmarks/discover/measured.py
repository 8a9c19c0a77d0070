"""One piece of work in a process of its own: its wall time, CPU time and peak memory. Reads and writes nothing."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable


def measured(module: str, *arguments: str) -> str:
    """Run `python -m module arguments` and return its figures as the columns of HEADER."""
    start = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", module, *arguments], check=True, capture_output=True, text=True
    )
    wall = time.perf_counter() - start
    told = json.loads(done.stdout.splitlines()[-1])
    return f"{told['rows']:>9,} {told['seconds']:>7.1f} {wall:>8.1f} {told['cpu']:>6.1f} {told['peak'] / 1e9:>8.2f}"


HEADER = f"{'rows':>9} {'work s':>7} {'process':>8} {'CPU s':>6} {'peak GB':>8}"


def tell(work: Callable[[], int]) -> None:
    """Do `work`, which returns a number of rows, and print its figures as one line of JSON."""
    start = time.perf_counter()
    rows = work()
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"rows": rows, "seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024}
    print(json.dumps(figures))
