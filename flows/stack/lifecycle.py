"""Starting, finding and stopping the local stack of a workspace.

Reads and writes `<workspace>/stack/stack.json` through `state`; holds `<workspace>/stack/lock` meanwhile.
A process is written down right after it is started, so a stack left behind by kill -9 is found again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from flows.settings import VERSION, Settings
from flows.stack import services
from flows.stack.processes import (
    GRACE,
    is_alive,
    log_tail,
    marked_processes,
    recorded_process,
    start_process,
    stop_processes,
)
from flows.stack.runs import end_lost_runs
from flows.stack.services import MLFLOW, PREFECT, SERVERS, WORKERS
from flows.stack.state import Stack, read_stack
from tasks.core.errors import ServerUnavailableError
from tasks.core.files import locked
from tasks.core.fingerprint import fingerprint

Say = Callable[[str], None]

START_SECONDS = 180.0  # the servers need 10-15 s on two idle cores; a loaded machine needs many times that
_POLL = 0.15


def _silent(_: str) -> None:
    """Say nothing."""


def up(settings: Settings, *, say: Say = _silent, deploy: Path | None = None) -> Stack:
    """Start what is not running of the workspace's servers and workers, and register the deployments.

    Args:
        settings: names the workspace.
        say: called with one line of progress at a time.
        deploy: folder with `prefect.yaml` and `pools.yaml`; none = the ones that come with Harvestman.

    Returns:
        The running stack.

    Raises:
        ServerUnavailableError: a process ended or stayed silent while starting; what this call started
            has been stopped again.
        BusyError: another `up` or `down` of this workspace is at work.
        WorkspaceError: the stack's folder cannot be written.
    """
    folder = settings.folders.root / "stack"
    deploy = (deploy or services.shipped("deploy/prefect.yaml").parent).resolve()
    with locked(folder / "lock", f"the local stack in {folder}"):
        stack = read_stack(folder)
        kept = stack.alive()
        for record in kept.values():
            say(f"{record.name} runs already (process {record.pid})")
        stack = _with_ports(replace(stack, processes=tuple(kept.values())))
        with _undone_on_failure(stack):
            stack = _start_servers(stack, settings, say)
            stack = _start_workers_and_register(stack, settings, deploy=deploy, say=say)
    return stack.save()


def down(settings: Settings, *, say: Say = _silent, grace: float = GRACE) -> tuple[str, ...]:
    """Stop the workspace's workers with their flow runs, then its servers, and nothing else.

    Args:
        settings: names the workspace.
        say: called with one line of progress at a time.
        grace: seconds a process has between SIGTERM and SIGKILL.

    Returns:
        The names of what was stopped; empty when nothing ran.

    Raises:
        BusyError: another `up` or `down` of this workspace is at work.
    """
    folder = settings.folders.root / "stack"
    if not folder.is_dir() and not marked_processes(folder, (*SERVERS, *WORKERS)):  # the folder may have been deleted
        say("nothing runs")
        return ()
    with locked(folder / "lock", f"the local stack in {folder}"):
        stack = read_stack(folder)
        names = _stop(stack, say, grace=grace)
        replace(stack, processes=()).save()
    if not names:
        say("nothing runs")
    return names


def find_stack(settings: Settings) -> Stack | None:
    """Return the workspace's stack if both its servers run and accept connections, else None. Takes milliseconds."""
    stack = read_stack(settings.folders.root / "stack")
    alive = stack.alive()
    running = all(name in alive for name in SERVERS)
    return stack if running and services.listens(stack.prefect_port) and services.listens(stack.mlflow_port) else None


def _with_ports(stack: Stack) -> Stack:
    """Keep the ports of running servers; a stopped one gets its old port back if it is still free."""
    running = {record.name for record in stack.processes}
    stopped = [name for name in SERVERS if name not in running]
    stop_processes(marked_processes(stack.folder, stopped))  # children of a killed server still hold its port
    prefect, mlflow = stack.prefect_port, stack.mlflow_port
    ported = replace(
        stack,
        # A server that has to be started may have lost its database meanwhile.
        registered=stack.registered if PREFECT in running else "",
        prefect_port=prefect if PREFECT in running else services.free_port(prefect, PREFECT, stack.folder),
        mlflow_port=mlflow if MLFLOW in running else services.free_port(mlflow, MLFLOW, stack.folder),
    )
    if (ported.prefect_port, ported.mlflow_port) == (prefect, mlflow):
        return ported
    _stop_group(stack, list(WORKERS), GRACE)  # they talk to the old address
    return replace(ported, processes=tuple(record for record in stack.processes if record.name in SERVERS))


@contextmanager
def _undone_on_failure(before: Stack) -> Iterator[None]:
    """Stop what the block started when it fails; what ran before stays."""
    try:
        yield
    except BaseException:  # Ctrl-C too: a half-started stack helps nobody
        kept = {record.name for record in before.processes}
        after = read_stack(before.folder)
        started = replace(after, processes=tuple(r for r in after.processes if r.name not in kept))
        _stop(started, _silent, spare=kept)
        replace(after, processes=before.processes).save()
        raise


def _start_servers(stack: Stack, settings: Settings, say: Say) -> Stack:
    """Start the servers that do not run, both at once; do not wait for them."""
    alive = stack.alive()
    return _start(stack, settings, names=[name for name in SERVERS if name not in alive], say=say)


def _start_workers_and_register(stack: Stack, settings: Settings, *, deploy: Path, say: Say) -> Stack:
    """Bring the workers up as soon as the Prefect API answers, registering pools and deployments meanwhile."""
    alive = stack.alive()
    missing = [name for name in WORKERS if name not in alive]
    theirs = fingerprint(services.worker_settings(settings), stack.prefect_api_url, stack.mlflow_uri)
    if missing != list(WORKERS) and theirs != stack.worker_settings:
        say("the running workers keep the HARVESTMAN_ variables they were started with; `down` and `up` changes them")
    wanted = _registration_key(deploy)
    registration = None if wanted == stack.registered else _Registration(stack, settings, deploy)
    try:
        _wait(stack, [PREFECT], say)
        if missing:
            stack = replace(stack, worker_settings=theirs)
            _forget_lost_runs(stack, missing, say)
        stack = _start(stack, settings, names=missing, say=say)
        if registration:
            registration.finish(stack, say)
            stack = replace(stack, registered=wanted).save()
        _wait(stack, [MLFLOW, *WORKERS], say)
    finally:
        if registration:
            registration.close()
    return stack


def _forget_lost_runs(stack: Stack, workers: list[str], say: Say) -> None:
    """Mark what killed workers left behind as crashed, unless flow runs of theirs outlived them and still report."""
    pools = [services.pool_of(name) for name in workers if not marked_processes(stack.folder, [name])]
    lost = end_lost_runs(stack, pools) if pools else 0
    if lost:
        say(f"{lost} flow run(s) of a worker that was killed marked as crashed")


def _start(stack: Stack, settings: Settings, *, names: list[str], say: Say) -> Stack:
    for name in names:
        # One started by an `up` that was killed before it could write it down.
        stop_processes(marked_processes(stack.folder, [name], command=services.command(name, stack)))
        record = start_process(
            name, services.command(name, stack), folder=stack.folder, env=services.environment(name, stack, settings)
        )
        stack = stack.with_process(record).save()
        say(f"{name} is starting (process {record.pid}, log {record.log})")
    return stack


def _wait(stack: Stack, names: list[str], say: Say) -> None:
    """Wait until the named processes are ready.

    Raises:
        ServerUnavailableError: one ended, or was not ready in time.
    """
    records = {record.name: record for record in stack.processes}
    pending = [records[name] for name in names]
    deadline = time.monotonic() + START_SECONDS
    addresses = {PREFECT: f" at {stack.prefect_ui_url}", MLFLOW: f" at {stack.mlflow_uri}"}
    while pending:
        for record in list(pending):
            if not is_alive(record):
                raise _failure(f"{record.name} ended while it was starting.", record.log)
            if services.is_ready(record, stack):
                say(f"{record.name} is ready{addresses.get(record.name, '')}")
                pending.remove(record)
            elif time.monotonic() > deadline:
                raise _failure(f"{record.name} was not ready within {START_SECONDS:.0f} s.", record.log)
        time.sleep(_POLL if pending else 0)


def _failure(what: str, log: str) -> ServerUnavailableError:
    return ServerUnavailableError(
        what, received=f"The last lines of its log:\n{log_tail(log)}", hint=f"The whole log is {log}."
    )


class _Registration:
    """The process that registers pools, limits and deployments: it loads Prefect while the server starts."""

    def __init__(self, stack: Stack, settings: Settings, deploy: Path) -> None:
        self._record = start_process(
            "registration",
            [sys.executable, "-m", "flows.stack.registration", str(deploy), str(Path.cwd()), str(START_SECONDS)],
            env=services.environment("registration", stack, settings),
            folder=stack.folder,
        )

    def finish(self, stack: Stack, say: Say) -> None:
        """Wait for its end and repeat what it said; it gives up by itself after START_SECONDS."""
        while is_alive(self._record):
            for record in stack.processes:
                if not is_alive(record):
                    raise _failure(f"{record.name} ended while it was starting.", record.log)
            time.sleep(_POLL)
        text = log_tail(self._record.log, 200)
        if not text.endswith("registered"):
            raise _failure("The deployments could not be registered.", self._record.log)
        for line in text.splitlines():
            say(line)

    def close(self) -> None:
        """Stop it if it still runs."""
        process = recorded_process(self._record)
        stop_processes([process] if process else [], grace=2.0)


def _registration_key(deploy: Path) -> str:
    texts = [(deploy / name).read_text(encoding="utf-8") for name in ("prefect.yaml", "pools.yaml")]
    return fingerprint(VERSION, str(Path.cwd()), *texts)


def _stop(stack: Stack, say: Say, *, spare: set[str] | None = None, grace: float = GRACE) -> tuple[str, ...]:
    """Stop flow runs, workers, then servers, orphans included; `spare` names are left alone."""
    spare = spare or set()
    workers = [name for name in ("registration", *WORKERS) if name not in spare]
    servers = [name for name in SERVERS if name not in spare]
    alive = stack.alive()
    stopped = [name for name in (*workers, *servers) if name in alive or marked_processes(stack.folder, [name])]
    if stopped:
        say(f"stopping {', '.join(stopped)}")
    roots = {process.pid for record in stack.processes if (process := recorded_process(record))}
    # Flow runs first: they report their end themselves while worker and server still listen.
    stop_processes([each for each in marked_processes(stack.folder, workers) if each.pid not in roots], grace=grace)
    _stop_group(stack, workers, grace)
    lost = end_lost_runs(stack, [services.pool_of(name) for name in workers if name in WORKERS])
    if lost:
        say(f"{lost} unfinished flow run(s) marked as crashed")
    _stop_group(stack, servers, grace)
    return tuple(stopped)


def _stop_group(stack: Stack, names: list[str], grace: float) -> None:
    recorded = [recorded_process(record) for record in stack.processes if record.name in names]
    stop_processes([process for process in recorded if process], grace=grace)
    stop_processes(marked_processes(stack.folder, names), grace=grace)
