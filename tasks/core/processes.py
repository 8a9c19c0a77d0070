"""Which processes are alive, seen from another one. Reads what the kernel says of them; writes nothing."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import lru_cache
from pathlib import Path


def alive(pid: int) -> bool:
    """Return whether a process of this number lives in the `place` we are in."""
    with suppress(PermissionError):  # another user's
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


@lru_cache(maxsize=1)
def place() -> str:
    """Return where a process number means something: a machine and, on Linux, its start and a namespace in it.

    The first namespace has the same number on every machine, and containers may share a host name.
    """
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    words = [socket.gethostname()]
    with suppress(OSError):  # not Linux
        words += [boot.read_text(encoding="ascii").strip(), str(namespace.readlink())]
    return " ".join(words)
