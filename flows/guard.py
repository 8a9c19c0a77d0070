"""What a run on this terminal must not do: hang when Prefect is lost, ignore Ctrl-C, leave a server behind.

`guarding` watches from a thread. Ending at once is safe at any moment: see docs/decisions/0004-journals.md.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import httpx
import psutil

from tasks.core.errors import HarvestmanError, ServerUnavailableError

LOOK = 2.0  # seconds between two looks
LOST = 5  # looks in a row without an answer after which the Prefect server counts as lost
GRACE = 3.0  # seconds a run has to end by itself after Ctrl-C
INTERRUPTED = 130  # the exit code of what Ctrl-C has ended
_NOT_STARTED = "connect to ephemeral Prefect API server"  # in what Prefect raises then
_TEMPORARY = "prefect.server.api.server:create_app"  # in the command line of Prefect's temporary server


@contextmanager
def guarding(
    api: str | None, fail: Callable[[ServerUnavailableError], object], *, stopped: Callable[[], object]
) -> Iterator[None]:
    """Watch over a run for the block.

    Args:
        api: address of the Prefect API; None = the temporary server of this process, which is watched too.
        fail: tells a person that the server is lost; this process ends with 1 after it.
        stopped: tells that Ctrl-C has ended the run, where it did not end by itself; the exit code is 130.
    """
    over, ended = threading.Event(), threading.Event()
    guards: list[subprocess.Popen[bytes]] = []
    interrupted: list[int] = []  # no Event: a second signal in the middle of its `set` would wait for its lock for ever
    watch = threading.Thread(
        target=_watch,
        args=(ended, api),
        kwargs={"fail": fail, "guards": guards, "interrupted": interrupted},
        daemon=True,
    )

    def end() -> None:
        if not over.is_set():
            stopped()
            os._exit(INTERRUPTED)

    def interrupt(number: int, _frame: FrameType | None) -> None:
        """Ask the run to stop, but not for long: a terminal sends Ctrl-C to Prefect's temporary server too."""
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        interrupted.append(number)
        timer = threading.Timer(GRACE, end)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    watch.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        over.set()
        ended.set()
        for guard in guards:
            guard.kill()
            guard.wait()


def _watch(
    over: threading.Event,
    api: str | None,
    *,
    fail: Callable[[ServerUnavailableError], object],
    guards: list[subprocess.Popen[bytes]],
    interrupted: list[int],
) -> None:
    missed, begun = 0, api is not None  # a temporary server may take half a minute to start
    while not over.wait(LOOK):
        if api is None:
            api = _guard_temporary_server(guards)
            continue
        answers = _answers(api)
        begun = begun or answers
        missed = missed + 1 if begun and not answers else 0
        if missed >= LOST and not interrupted and not over.is_set():
            fail(
                ServerUnavailableError(
                    f"The Prefect server at {api} was lost.",
                    received=f"It has not answered for {LOST * LOOK:.0f} s.",
                    hint="Start it again (one that was temporary starts by itself) and repeat the command: nothing "
                    "that was stored or finished is lost.",
                )
            )
            os._exit(1)


def _answers(api: str) -> bool:
    """Whether anybody is there: a busy server (503, or slow) is not a lost one."""
    try:
        httpx.get(f"{api.rstrip('/')}/health", timeout=30, trust_env=False)
    except httpx.TimeoutException:
        return True
    except httpx.HTTPError:
        return False
    return True


def _guard_temporary_server(guards: list[subprocess.Popen[bytes]]) -> str | None:
    """Find Prefect's temporary server and set a guard that ends it when this process is killed; return its address.

    Prefect ends it at the end of a run, but kill -9 of the run would leave it, with 200 MB, for ever.
    """
    for child in psutil.Process().children():
        try:
            words = child.cmdline()
        except psutil.Error:
            continue
        if any(_TEMPORARY in word for word in words) and "--port" in words:
            # `read` returns when our end of the pipe is closed, which the kernel does however we end.
            guards.append(
                subprocess.Popen(["/bin/sh", "-c", f"read _; kill {child.pid}"], stdin=subprocess.PIPE)  # noqa: S603 - our own words
            )
            return f"http://127.0.0.1:{words[words.index('--port') + 1]}/api"
    return None


def server_error(error: Exception) -> HarvestmanError | None:
    """Translate what Prefect's client raises when its server is lost in the middle of a run."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, HarvestmanError):
            return seen
        if isinstance(seen, RuntimeError) and _NOT_STARTED in str(seen):
            return ServerUnavailableError(
                "Prefect's temporary server did not start in time.",
                received=str(seen),
                hint="This machine is busy. Run the same command again, or start servers that stay: harvestman up.",
            )
        if isinstance(seen, httpx.TransportError) or type(seen).__name__ == "PrefectHTTPStatusError":
            return ServerUnavailableError(
                "The Prefect server was lost.",
                received=f"{type(seen).__name__}: {seen}",
                hint="Start it again and repeat the command: what is stored is kept, finished work is not repeated.",
            )
        seen = seen.__cause__ or seen.__context__
    return None
