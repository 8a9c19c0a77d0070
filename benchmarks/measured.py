"""A piece of work as a process of its own with all its children: wall time, CPU time, peak memory. Writes nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

_EVERY = 0.2  # seconds between two looks at the memory; a look takes 1 to 3 ms
HEADER = f"{'rows':>9} {'work s':>7} {'process':>8} {'CPU s':>6} {'peak GB':>8}"


@dataclass(frozen=True)
class Figures:
    """What a run took."""

    wall: float
    """Seconds from start to end."""
    cpu: float
    """User and system seconds of the process and of all children it waited for."""
    peak: int
    """Bytes: the largest sum over its processes (proportional set size: shared pages count once)."""
    output: str = ""
    """What it printed."""


def two_cores() -> None:
    """Keep this process and all it starts on two cores: what is compared here is compared on two."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


def measured(command: list[str], environment: dict[str, str] | None = None) -> Figures:
    """Run `command` and return its figures; end the program with its output where it fails."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run = subprocess.Popen(  # noqa: S603 - our own commands
        command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    memory = _Memory(run.pid)
    try:
        printed, _ = run.communicate()
    except BaseException:  # Ctrl-C above all; raised again
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        raise
    finally:
        peak = memory.stop()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    output = printed.decode(errors="replace")
    if run.returncode:
        sys.exit(f"{' '.join(command)} ended with {run.returncode}:\n{output[-4000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(wall, cpu, peak, output)


def line(module: str, *arguments: str) -> str:
    """Run `python -m module arguments`, which tells its figures at its end; return them as the columns of HEADER."""
    run = measured([sys.executable, "-m", module, *arguments])
    told = json.loads(run.output.splitlines()[-1])
    return f"{told['rows']:>9,} {told['seconds']:>7.1f} {run.wall:>8.1f} {run.cpu:>6.1f} {told['peak'] / 1e9:>8.2f}"


def tell(work: Callable[[], int]) -> None:
    """Do `work`, which returns a number of rows, and print its figures as one line of JSON."""
    start = time.perf_counter()
    rows = work()
    seconds = time.perf_counter() - start
    # Exact, for one process; who looks from outside now and then may miss a short peak.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "peak": peak}))


class _Memory:
    """Looks at the memory of a process and its children until it is told to stop."""

    def __init__(self, pid: int) -> None:
        self._root, self._peak, self._ended = psutil.Process(pid), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Return the largest sum seen, in bytes."""
        self._ended.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY):
            with suppress(psutil.Error):
                processes = [self._root, *self._root.children(recursive=True)]
                self._peak = max(self._peak, sum(_pss(process) for process in processes))


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0  # it has ended
