"""A process that collects, to be killed: plan and batches as `flows.collect` runs them, without Prefect.

Reads jobs from its standard input, one JSON object a line, and forks a child for each, so that a child is at work ten
milliseconds after it was asked for. Answers with the child's process id and, when it has ended, with its exit code.
"""

from __future__ import annotations

import io
import json
import os
import posix
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from tasks.core.errors import HarvestmanError
from tasks.core.files import locked
from tasks.core.network import NetworkPolicy
from tasks.core.waiting import stoppable
from tasks.core.workspace import Workspace
from tasks.ingest.batch import run_batch
from tasks.ingest.config import IngestConfig
from tasks.ingest.door import open_door
from tasks.ingest.journal import Row
from tasks.ingest.plan import plan

AT_ONCE = 8  # lanes
_STEPS = {"write", "truncate", "replace", "rename", "unlink", "mkdir"}  # what changes files
_PIECE = 4096  # bytes; a page of a tmpfs
_CRASHED = 70  # exit code
_STAGE = str(Path("tasks", "ingest")) + os.sep

OnRow = Callable[[Row], None]


def collect(job: dict[str, Any]) -> None:
    """Plan, then run all batches: those of a lane one after another, several lanes at once."""
    workspace = Workspace(Path(job["workspace"]))
    collection = workspace.collection(job["collection"])
    config, network = IngestConfig(**job["config"]), NetworkPolicy(**job["network"])
    on_row = _filling(workspace.root, job["fill_after"]) if job.get("fill_after") else None
    with locked(collection / ".collect.lock", "this collection"):
        work = plan(collection, config, now=datetime.now(UTC), network=network)

        def run(lane: list[Path]) -> None:
            for batch in lane:
                run_batch(batch, workspace=workspace, config=config, network=network, on_row=on_row)

        with open_door(network, config), ThreadPoolExecutor(AT_ONCE) as pool, stoppable():
            for lane in as_completed([pool.submit(copy_context().run, run, lane) for lane in work.lanes]):
                lane.result()


def fill(folder: Path) -> None:
    """Leave no free byte on the disk that `folder` lies on."""
    with (folder / "ballast").open("ab", buffering=0) as ballast:
        try:
            while ballast.write(bytes(_PIECE)):
                pass
        except OSError:
            return


def _filling(folder: Path, rows: int) -> OnRow:
    """Return what fills the disk when so many rows have been written down."""
    passed: list[Row] = []
    lock = threading.Lock()

    def on_row(row: Row) -> None:
        with lock:
            passed.append(row)
            if len(passed) == rows:
                fill(folder)

    return on_row


class Stepping:
    """Sees each change of a file by our code as it returns from the kernel: counts it, or is killed by it."""

    def __init__(self, report: Path, fatal: list[Any] | None) -> None:
        """`fatal` is the name of a step and its number, from 1; `report` gets the numbers of all steps."""
        self._report, self._fatal = report, tuple(fatal or ())
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, what: Any) -> None:  # noqa: ANN401 - whatever has returned
        """Be called by the interpreter at every call and return."""
        if event != "c_return" or what.__name__ not in _STEPS or not _of_files(what):
            return
        caller: FrameType | None = frame
        while caller is not None and _STAGE not in caller.f_code.co_filename:
            caller = caller.f_back
        if caller is None:
            return
        name = f"{Path(caller.f_code.co_filename).stem}.{caller.f_code.co_name}: {what.__name__}"
        with self._lock:
            self._seen[name] += 1
            if (name, self._seen[name]) == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Watch this thread and all that it starts."""
        threading.setprofile(self)
        sys.setprofile(self)

    def end(self) -> None:
        """Write the steps down."""
        sys.setprofile(None)
        threading.setprofile(None)
        self._report.write_text(json.dumps(self._seen))


def _of_files(what: Any) -> bool:  # noqa: ANN401 - whatever has returned
    """Say whether a built-in function is one of `os` or a method of a file; text has a `replace` too."""
    owner = what.__self__
    return owner is posix or isinstance(owner, io.FileIO | io.BufferedWriter)


def work(job: dict[str, Any]) -> int:
    """Do a job; return its exit code, as the command line would."""
    stepping = Stepping(Path(job["steps"]), job.get("fatal")) if job.get("steps") else None
    if stepping:
        stepping.watch()
    try:
        collect(job)
    except HarvestmanError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    finally:
        if stepping:
            stepping.end()
    return 0


def serve() -> None:
    """Do job after job, each in a process of its own."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = _CRASHED
            try:
                code = work(json.loads(line))
            except BaseException:  # noqa: BLE001 - shown; the copy of this loop must not go on whatever it was
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
