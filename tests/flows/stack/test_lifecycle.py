from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from flows.stack.lifecycle import _wait
from flows.stack.processes import is_alive, start_process
from flows.stack.state import Stack
from tasks.core.errors import ServerUnavailableError


def test_a_server_that_ends_while_it_is_starting_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    # `up` itself would need a broken server: 15 s for the same lines.
    command = [sys.executable, "-c", "print('the address is taken')"]
    record = start_process("mlflow", command, env=dict(os.environ), folder=tmp_path)
    while is_alive(record):
        time.sleep(0.02)
    with pytest.raises(ServerUnavailableError) as caught:
        _wait(Stack(folder=tmp_path, mlflow_port=1, processes=(record,)), ["mlflow"], print)
    assert caught.value.what == "mlflow ended while it was starting."
    assert caught.value.received.endswith("the address is taken")
    assert caught.value.hint == f"The whole log is {tmp_path / 'logs' / 'mlflow.log'}."
