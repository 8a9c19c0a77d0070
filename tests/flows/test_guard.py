from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

RUN = """
import sys, time, subprocess
from flows.guard import guarding
api, seconds = sys.argv[1] or None, float(sys.argv[2])
words = [sys.executable, "-c", "import time; time.sleep(300)", "prefect.server.api.server:create_app", "--port", "9"]
child = subprocess.Popen(words, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
try:
    with guarding(api, lambda error: print(error.what, flush=True), stopped=lambda: print("stopped", flush=True)):
        while seconds:
            try:
                time.sleep(seconds)
            except KeyboardInterrupt:
                if len(sys.argv) < 4:
                    raise
finally:
    child.kill()
"""


def started(api: str, seconds: float) -> tuple[subprocess.Popen[str], psutil.Process]:
    process = subprocess.Popen([sys.executable, "-c", RUN, api, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, psutil.Process(int(process.stdout.readline()))


def test_a_killed_run_leaves_no_temporary_server() -> None:
    process, server = started("", 300)
    with process:
        until = time.monotonic() + 30
        while not any(
            Path(child.exe()).name in {"sh", "dash", "bash"} for child in psutil.Process(process.pid).children()
        ):
            assert time.monotonic() < until
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
    server.wait(10)


def test_a_lost_server_ends_the_run_with_a_word() -> None:
    process, server = started("http://127.0.0.1:9/api", 300)
    try:
        text, _ = process.communicate(timeout=60)
    finally:
        server.kill()
    assert process.returncode == 1
    assert text.startswith("The Prefect server at http://127.0.0.1:9/api was lost.")


def test_a_run_that_hangs_at_ctrl_c_is_ended_with_a_word_although_its_server_is_gone_too() -> None:
    process = subprocess.Popen([sys.executable, "-c", RUN, "", "300", "deaf"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    server = psutil.Process(int(process.stdout.readline()))
    time.sleep(3)
    server.kill()  # as the terminal does, which tells all of its processes
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=20)
    assert (process.returncode, text) == (130, "stopped\n")


@pytest.mark.parametrize("times", [1, 50])
def test_ctrl_c_stops_the_run(times: int) -> None:
    process, server = started("", 300)
    with process:
        time.sleep(3)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) != 0
        finally:
            process.kill()  # nothing where it has ended
    psutil.wait_procs([server], timeout=10)
    if server.is_running():
        server.kill()


def test_a_temporary_server_that_does_not_start_in_time_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: r\nclasses:\n  a: [{source: url_list, path: a.txt}]\n"
                                     "  b: [{source: url_list, path: a.txt}]\nmodel: {weights: none}\n")  # fmt: skip
    (tmp_path / "a.txt").write_text("http://127.0.0.1:9/1.jpg\n")
    own = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1", "PREFECT_HOME": str(tmp_path / "prefect"),
           "HARVESTMAN_WORKSPACE": str(tmp_path / "workspace")}  # fmt: skip
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    ended = subprocess.run([sys.executable, "-m", "flows.cli", "run", str(tmp_path / "r.yaml")], env=clean | own,
                           capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert ended.returncode == 1
    assert "Prefect's temporary server did not start in time." in ended.stderr
    assert "Traceback" not in ended.stderr
