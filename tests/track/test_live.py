from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.track.config import Origin, Tracker
from tasks.track.live import LiveMetrics
from tasks.track.runs import client
from tasks.track.search import log_trial, open_search_run, start_trial
from tests.conftest import LoopbackMlflow
from tests.track.conftest import T0


@pytest.fixture
def parent(served: Tracker, search: Path, dataset: Path, origin: Origin) -> str:
    return open_search_run(served, search=search, dataset=dataset, params={}, origin=origin)


def train(trial: Path, sink: LiveMetrics, epochs: range) -> float:
    """Do what training does with a figure: write it to the spool, hand it to the sink. Return the seconds waited."""
    start = time.monotonic()
    with (trial / "metrics.jsonl").open("a") as stream:
        for epoch in epochs:
            line = {"key": "loss", "value": 1 / (epoch + 1), "step": epoch, "timestamp": T0 + epoch}
            stream.write(json.dumps(line) + "\n")
            sink("loss", 1 / (epoch + 1), epoch, T0 + epoch)
    return time.monotonic() - start


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def steps(tracker: Tracker, run_id: str) -> list[int]:
    return [metric.step for metric in client(tracker.uri).get_metric_history(run_id, "loss")]


def test_figures_are_there_while_training_goes_on(
    served: Tracker, parent: str, write_trial: Callable[..., Path]
) -> None:
    trial = write_trial("live", epochs=0, status="RUNNING")
    opened: list[str] = []

    def start() -> str:
        opened.append(start_trial(served, parent, trial=trial, overrides={}))
        return opened[-1]

    with LiveMetrics(served, start) as sink:
        train(trial, sink, range(20))
        until(lambda: sink.sent == 20)
        assert steps(served, opened[0]) == list(range(20))
    assert len(opened) == 1
    assert log_trial(served, parent, write_done(trial)) == opened[0]
    assert steps(served, opened[0]) == list(range(20))


def test_an_outage_stops_nothing_and_loses_nothing(
    served: Tracker,
    parent: str,
    write_trial: Callable[..., Path],
    mlflow_server: LoopbackMlflow,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trial = write_trial("outage", epochs=0, status="RUNNING")
    run_id = start_trial(served, parent, trial=trial, overrides={})
    with caplog.at_level(logging.WARNING, "tasks.track.live"):
        with LiveMetrics(served, lambda: run_id, pause=0.0) as sink:
            train(trial, sink, range(5))
            until(lambda: sink.sent == 5)
            mlflow_server.stop()
            try:
                waited = train(trial, sink, range(5, 40))
                until(lambda: bool(caplog.records))
                waited += train(trial, sink, range(40, 60))
            finally:
                began = time.monotonic()
        assert time.monotonic() - began < 15  # the farewell is bounded
        mlflow_server.start()
    assert waited < 1
    assert len(caplog.records) == 1
    assert "does not answer" in caplog.text
    assert sink.sent == 5
    assert steps(served, run_id) == list(range(5))
    assert log_trial(served, parent, write_done(trial)) == run_id
    assert steps(served, run_id) == list(range(60))
    assert client(served.uri).get_run(run_id).info.status == "FINISHED"


def test_a_tracker_that_returns_is_used_again(served: Tracker, parent: str, write_trial: Callable[..., Path]) -> None:
    trial = write_trial("back", epochs=0, status="RUNNING")
    attempts: list[int] = []

    def start() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("away for a moment")
        return start_trial(served, parent, trial=trial, overrides={})

    with LiveMetrics(served, start, pause=0.1) as sink:
        train(trial, sink, range(1))
        until(lambda: len(attempts) == 1)
        time.sleep(0.3)
        train(trial, sink, range(1, 3))
        until(lambda: sink.sent == 2)
    run_id = log_trial(served, parent, write_done(trial))
    assert steps(served, run_id) == [0, 1, 2]


def write_done(trial: Path) -> Path:
    facts = json.loads((trial / "trial.json").read_text())
    (trial / "trial.json").write_text(json.dumps({**facts, "status": "COMPLETED"}))
    return trial
