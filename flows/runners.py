"""Where batches run: threads of this process, processes beside it, a Dask cluster, a Ray cluster.

Reads HARVESTMAN_TASK_RUNNER and HARVESTMAN_TASKS_AT_ONCE through the settings; writes nothing. A task gets all it needs
in its parameters; besides them only Prefect's own settings travel to the process that runs it.
"""

from __future__ import annotations

import difflib
import logging
import multiprocessing
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_BATCH_INTERVAL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from flows.settings import Settings
from tasks.core.errors import ServerUnavailableError, StopError, TryAgainError

Runner = TaskRunner[Any]

SPELLINGS = ("threads", "processes", "dask", "dask+tcp://host:8786", "ray", "ray://host:10001")
"""What HARVESTMAN_TASK_RUNNER may be; an address is the one that the cluster itself tells, `dask+` before Dask's."""

_EXTRAS = {"dask": "prefect-dask", "ray": "prefect-ray"}
_OBJECT_STORE = 100_000_000  # bytes; Ray takes 30 % of the memory else, and we hand it addresses and counts only
_OWN_RAY = {  # read by Ray when it is imported
    "RAY_USAGE_STATS_ENABLED": "0",  # else it reports to its makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns that it hides the GPUs from tasks that ask for none
    "RAY_AUTH_MODE": "token",  # others of this machine are kept out
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else one is written into the home folder
}


@contextmanager
def ingest_runner(settings: Settings) -> Iterator[Runner]:
    """Start the task runner that the settings name, within a flow run, and end it with the block.

    When an exception leaves the block, batches under way in processes that are ours are killed (which is safe at any
    moment) and those of a cluster elsewhere run to their end; threads are waited for: `tasks.core.waiting.stoppable`
    within the block ends them.

    Args:
        settings: `task_runner` says which, `tasks_at_once` how many batches run at the same time at the most.

    Raises:
        StopError: there is no such runner, or what it needs is not installed.
        ServerUnavailableError: the cluster does not answer.
        TryAgainError: one of the processes was killed.
    """
    kind, address = check_runner(settings)
    with ExitStack() as held:
        if kind != "threads":
            held.enter_context(_reachable_server())
        yield held.enter_context(_RUNNERS[kind](address, settings.tasks_at_once))


def check_runner(settings: Settings) -> tuple[str, str | None]:
    """Return the kind of runner that the settings name, and the address of its cluster; nothing is started.

    Raises:
        StopError: there is no such runner, or what it needs is not installed.
    """
    kind, address = _parse(settings.task_runner)
    extra = _EXTRAS.get(kind, "prefect")
    if find_spec(extra.replace("-", "_")) is None:
        raise StopError(
            f"The task runner {settings.task_runner} needs {extra}, which is not installed.",
            received=f"HARVESTMAN_TASK_RUNNER={settings.task_runner}",
            hint=f"Install it: pip install 'harvestman[{kind}]'. Threads, the default, need nothing.",
        )
    return kind, address


def _parse(text: str) -> tuple[str, str | None]:
    scheme, _, rest = text.partition("://")
    if text in _RUNNERS:
        return text, None
    if rest and scheme in {"dask+tcp", "dask+tls"}:
        return "dask", text.removeprefix("dask+")
    if rest and scheme == "ray":
        return "ray", text
    near = difflib.get_close_matches(text, SPELLINGS, n=1, cutoff=0.5)
    raise StopError(
        f"There is no task runner {text!r}.",
        received=f"HARVESTMAN_TASK_RUNNER={text}",
        hint=(f"Did you mean {near[0]}? " if near else "") + f"Known: {', '.join(SPELLINGS)}.",
    )


@contextmanager
def _reachable_server() -> Iterator[None]:
    """Name Prefect's temporary server, where this run uses one, to other processes: each would start its own."""
    if PREFECT_API_URL.value():
        yield
        return
    with temporary_settings({PREFECT_API_URL: str(get_client(sync_client=True).api_url)}):
        yield


@contextmanager
def _threads(_address: None, at_once: int) -> Iterator[Runner]:
    with ThreadPoolTaskRunner[Any](max_workers=at_once) as runner:
        yield runner


@contextmanager
def _processes(_address: None, at_once: int) -> Iterator[Runner]:
    """Processes of this machine, one a batch, which Prefect spawns: a forked one would inherit locks for ever held.

    A pool's processes outlive a parent that is killed: each holds both ends of the queue that it waits at.
    """
    theirs, ours = multiprocessing.get_context("spawn").Pipe(duplex=False)
    pool = ProcessPoolTaskRunner(max_workers=at_once, initializer=_end_with, initargs=(theirs,))
    with theirs, ours, pool as runner:
        try:
            yield runner
        except BrokenProcessPool as error:
            raise TryAgainError(
                "A process that fetched was killed.",
                received=str(error),
                hint="If this machine has run out of memory, lower HARVESTMAN_TASKS_AT_ONCE or `ingest.connections`. "
                "Run the same command again: what is stored stays stored.",
            ) from error
        except BaseException:  # Ctrl-C above all; raised again
            ours.close()
            raise


def _end_with(parent: Connection) -> None:
    """End this process when the other end of the pipe is closed, as the kernel does however a process ends."""

    def wait() -> None:
        parent.poll(None)
        os._exit(1)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


@contextmanager
def _dask(address: str | None, at_once: int) -> Iterator[Runner]:
    """A scheduler elsewhere, or a cluster of this machine: a process a core, threads in each for the other batches."""
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")  # for its processes, ...
    from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415 - of an extra

    logging.getLogger("distributed").setLevel(logging.WARNING)  # ... and for this one: Prefect shows all that is logged
    processes = min(at_once, os.cpu_count() or 1)
    cluster = {
        "n_workers": processes,
        "threads_per_worker": -(-at_once // processes),
        "processes": True,
        "dashboard_address": "127.0.0.1:0",  # any free port; there is no going without
        "memory_limit": 0,  # a nanny would kill a worker at 95 % of its share; what we hold is bounded by `connections`
    }
    with DaskTaskRunner(address=address, cluster_kwargs=None if address else cluster) as runner:
        with _answering("Dask", address):
            runner.client  # noqa: B018 - connects, else at the first task
        yield runner


@contextmanager
def _ray(address: str | None, at_once: int) -> Iterator[Runner]:
    """A cluster elsewhere, or one of this machine with as many places as batches: Ray has a process for each."""
    if not address:
        for name, value in _OWN_RAY.items():
            os.environ.setdefault(name, value)
    from prefect_ray.task_runners import RayTaskRunner  # noqa: PLC0415 - of an extra

    quiet = {"log_to_driver": False}  # else each line of a task comes twice
    own = {
        "address": "local",  # else Ray takes a cluster it finds on this machine, whosever it is
        "num_cpus": at_once,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE,
        "configure_logging": False,
    }
    with ExitStack() as held:
        with _answering("Ray", address):
            runner: Runner = held.enter_context(
                RayTaskRunner(address=address, init_kwargs=quiet | ({} if address else own))
            )
        yield runner
        # Ray kills its processes at once; Prefect sends what was logged in them this often.
        time.sleep(PREFECT_LOGGING_TO_API_BATCH_INTERVAL.value() + 0.5)


@contextmanager
def _answering(what: str, address: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, ConnectionError, RuntimeError) as error:
        raise ServerUnavailableError(
            f"The {what} cluster{f' at {address}' if address else ' of this machine'} does not answer.",
            received=f"{type(error).__name__}: {error}",
            hint="Start it, or correct HARVESTMAN_TASK_RUNNER; docs/scaling.md shows how.",
        ) from error


_RUNNERS: dict[str, Callable[[Any, int], AbstractContextManager[Runner]]] = {
    "threads": _threads,
    "processes": _processes,
    "dask": _dask,
    "ray": _ray,
}
