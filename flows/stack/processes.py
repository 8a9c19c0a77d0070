"""The stack's processes: started in sessions of their own, recognised again later, stopped with their children.

Reads the process table, writes one log file a process. A process is ours when its pid and start time
are the recorded ones, or when it inherited the stack's mark in its environment; no other is touched.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.core.errors import ServerUnavailableError
from tasks.core.files import storing

MARK = "HARVESTMAN_STACK_PROCESS"
GRACE = 15.0  # seconds between SIGTERM and SIGKILL; a worker was measured to end its flow runs in 1-3
_POLL = 0.05
_CLOCK_DRIFT = 1.0  # seconds: the start time is derived from the boot time, which moves when the clock is set

# Popen complains when it is forgotten while its process lives. These processes are meant to outlive us.
_spawned: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class ProcessRecord:
    """A process as it is remembered in stack.json."""

    name: str
    """prefect, mlflow, worker-cpu, worker-gpu."""
    pid: int
    """Process id; its session and process group have the same number."""
    started: float
    """When it started, in seconds since 1970, as the kernel says."""
    log: str
    """Where its standard output and error go."""


def start_process(name: str, command: Sequence[str], *, env: dict[str, str], folder: Path) -> ProcessRecord:
    """Start `command` in a session of its own; it outlives this process.

    Args:
        name: what the process is called in stack.json; also its log's name.
        command: program and arguments.
        env: the whole environment of the process; the mark is added.
        folder: the stack's folder: working directory, and parent of `logs/`.

    Raises:
        WorkspaceError: the log cannot be written.
        ServerUnavailableError: the program cannot be started.
    """
    log = folder / "logs" / f"{name}.log"
    with storing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        stream = log.open("wb")
    with stream:
        try:
            process = subprocess.Popen(  # noqa: S603 - the command is ours, see services.py
                command,
                env={**env, MARK: mark(folder, name)},
                cwd=folder,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise ServerUnavailableError(f"{name} could not be started.", received=str(error)) from error
    _spawned.append(process)
    return ProcessRecord(name, process.pid, _start_time(process.pid), str(log))


def mark(folder: Path, name: str) -> str:
    """Return the value of the environment variable that all processes of `name` and their children carry."""
    return f"{folder}:{name}"


def is_alive(record: ProcessRecord) -> bool:
    """Return whether the recorded process itself (not another one with its number) still runs."""
    return recorded_process(record) is not None


def recorded_process(record: ProcessRecord) -> psutil.Process | None:
    """Return the recorded process, or None where it ended or its number belongs to another one by now."""
    with suppress(psutil.Error):
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.started) < _CLOCK_DRIFT
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def marked_processes(folder: Path, names: Iterable[str], *, command: Sequence[str] = ()) -> list[psutil.Process]:
    """Return the processes that are, or descend from, the processes `names` of this stack; orphans too.

    Args:
        folder: the stack's folder.
        names: names of the stack's processes.
        command: only processes with exactly this command line; empty = any.
    """
    marks = {mark(folder, name) for name in names}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # another user's process, or it has just ended
            ours = process.environ().get(MARK) in marks and process.status() != psutil.STATUS_ZOMBIE
            if ours and (not command or process.cmdline() == list(command)):
                found.append(process)
    return found


def stop_processes(roots: Sequence[psutil.Process], *, grace: float = GRACE) -> None:
    """End `roots` and everything below them: SIGTERM to the roots, then to what is left, then SIGKILL.

    Args:
        roots: processes to end; those that have ended already are passed over.
        grace: seconds the roots have to end themselves and their children in order.
    """
    family = dict.fromkeys(roots)
    for root in roots:
        with suppress(psutil.Error):
            family |= dict.fromkeys(root.children(recursive=True))
    _signal(roots, "terminate")
    _await_end(roots, grace)
    left = [process for process in family if _runs(process)]
    _signal(left, "terminate")
    stubborn = _await_end(left, grace / 3)
    _signal(stubborn, "kill")
    _await_end(stubborn, grace)


def _await_end(processes: Sequence[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Wait until all have ended; return those that have not.

    psutil.wait_procs would wait for a zombie until its parent reaps it; some containers' first process never does.
    """
    deadline = time.monotonic() + timeout
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL)
    return left


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def log_tail(path: Path | str, lines: int = 12) -> str:
    """Return the last lines of a log, or a note that there is none."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(text.rstrip().splitlines()[-lines:]) or "(its log is empty)"


def _signal(processes: Iterable[psutil.Process], method: str) -> None:
    for process in processes:
        with suppress(psutil.Error):
            getattr(process, method)()


def _start_time(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:  # it has ended already; its log says why
        return 0.0
