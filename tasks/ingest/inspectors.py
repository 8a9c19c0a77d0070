"""The threads in which images are looked at, and the memory that large ones may take together: one set a process.

Owns the pool that downloads and files of this machine share. Reads and writes nothing.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # not the machine's
THREADS = min(4, CORES)  # decoders free the GIL for nearly all of their work
LARGE = 16_000_000  # pixels; images up to this many are decoded whenever a thread is free, at 4 bytes each
AT_ONCE = 100_000_000  # pixels of larger ones that are decoded at once: four photos of a camera, or one huge drawing


class Inspectors:
    """A pool of threads and the room that it has for large images."""

    def __init__(self) -> None:
        """No thread is started before there is work."""
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="inspect")
        self._free = AT_ONCE
        self._turn, self._change = threading.Lock(), threading.Condition()

    @contextmanager
    def room(self, pixels: int) -> Iterator[None]:
        """Hold the room that decoding so many pixels takes; wait for it, first come, first served."""
        taken = min(pixels, AT_ONCE) if pixels > LARGE else 0
        if not taken:
            yield
            return
        with self._turn, self._change:
            self._change.wait_for(lambda: self._free >= taken)
            self._free -= taken
        try:
            yield
        finally:
            with self._change:
                self._free += taken
                self._change.notify()


_of_process: dict[int, Inspectors] = {}


def inspectors() -> Inspectors:
    """Return the inspectors of this process; a forked child has its own, as it inherits no threads."""
    return _of_process.get(os.getpid()) or _of_process.setdefault(os.getpid(), Inspectors())


def settle(work: Iterable[Future[None]]) -> None:
    """Return when all of `work` has ended, whatever interrupts: what it writes to is closed after this."""
    left = set(work)
    while left:
        with suppress(BaseException):  # a second Ctrl-C; the first is raised by who calls this
            left = wait(left).not_done


def hush_pillow() -> None:
    """Silence Pillow's remarks on odd files, from now on: the ledger's outcome says what matters.

    Not for a block: `catch_warnings` swaps state of the whole process, which threads must not do in turns. Doing this
    twice changes nothing.
    """
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
