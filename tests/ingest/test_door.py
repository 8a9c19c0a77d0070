from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tasks.core.errors import StopError, WorkspaceError
from tasks.core.network import NetworkPolicy
from tasks.core.waiting import stoppable
from tasks.ingest.address import Address
from tasks.ingest.config import IngestConfig
from tasks.ingest.door import open_door
from tasks.ingest.fetch import Fetched

from .conftest import Answer, Site, answer, picture

ROOT = Path(__file__).resolve().parents[2]


def addresses(site: Site, folder: Path, page: Answer, *names: str) -> list[Address]:
    return [Address(site.add(f"/{name}", page), "wren", folder / f"{name}.part") for name in names]


def drop(*_: object) -> None:
    """Take what came, and nothing of it."""


def slow(seconds: float) -> Answer:
    def send(request: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        answer(picture(1))(request)

    return send


def test_batches_at_once_share_what_a_host_is_spared_and_its_rules(
    site: Site, network: NetworkPolicy, config: IngestConfig, tmp_path: Path
) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def counted(request: BaseHTTPRequestHandler) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.03)
        answer(picture(1))(request)
        with lock:
            under_way -= 1

    config = config.model_copy(update={"per_host": 3, "timeout": 5})
    taken: list[str] = []

    def pass_one(batch: int) -> None:
        mine = addresses(site, tmp_path, counted, *(f"{batch}-{number}" for number in range(8)))
        with open_door(network, config) as door:
            door.fetch_all(mine, lambda address, fetched: taken.append(f"{address.part.stem} {fetched.outcome}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(pass_one, range(4)))
    assert sorted(taken) == sorted(f"{batch}-{number} kept" for batch in range(4) for number in range(8))
    assert most <= 3
    assert len(site.robots) == 1


def test_the_door_closes_behind_the_last(
    site: Site, network: NetworkPolicy, config: IngestConfig, tmp_path: Path
) -> None:
    with open_door(network, config) as first:
        with open_door(network, config) as second:
            assert second is first
        first.fetch_all(addresses(site, tmp_path, answer(picture(1)), "1"), drop)
        with open_door(network, config.model_copy(update={"rate": 2})) as other:
            assert other is not first
    assert "door" not in {thread.name for thread in threading.enumerate()}


def test_a_batch_that_is_stopped_stops_alone(
    site: Site, network: NetworkPolicy, config: IngestConfig, tmp_path: Path
) -> None:
    config = config.model_copy(update={"per_host": 1, "timeout": 5})
    ended: dict[str, BaseException | str] = {}

    def pass_one(name: str) -> None:
        mine = addresses(site, tmp_path, slow(0.2), *(f"{name}-{number}" for number in range(6)))
        try:
            with open_door(network, config) as door:
                door.fetch_all(mine, drop)
            ended[name] = "well"
        except StopError as error:
            ended[name] = error

    other = threading.Thread(target=pass_one, args=["other"])
    other.start()

    def stopped() -> None:
        with stoppable():
            context = copy_context()
            stopping = threading.Thread(target=context.run, args=[pass_one, "stopped"])
            stopping.start()
            time.sleep(0.5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    other.join(10)
    assert isinstance(ended["stopped"], StopError)
    assert ended["other"] == "well"


def test_an_error_of_the_one_who_takes_ends_the_batch_and_comes_out_as_itself(
    site: Site, network: NetworkPolicy, config: IngestConfig, tmp_path: Path
) -> None:
    def full(address: Address, fetched: Fetched) -> None:
        assert fetched.outcome == "kept"
        if address.part.stem == "3":
            raise WorkspaceError("The disk is full.")

    mine = addresses(site, tmp_path, answer(picture(1)), *(str(number) for number in range(8)))
    with open_door(network, config) as door:
        with pytest.raises(WorkspaceError, match="The disk is full"):
            door.fetch_all(mine[3:4], full)
        seen = len(site.asked)
        door.fetch_all(mine[:1], full)
        assert len(site.asked) == seen + 1


def test_bodies_wait_for_an_inspector_in_bounded_number(
    site: Site, network: NetworkPolicy, config: IngestConfig, tmp_path: Path
) -> None:
    go = threading.Event()
    waiting: list[str] = []

    def stuck(address: Address, _: Fetched) -> None:
        waiting.append(address.url)
        go.wait(10)

    config = config.model_copy(update={"per_host": 64, "connections": 4, "timeout": 10})
    mine = addresses(site, tmp_path, answer(picture(1)), *(str(number) for number in range(200)))
    with open_door(network, config) as door:
        passing = threading.Thread(target=door.fetch_all, args=[mine, stuck])
        passing.start()
        seen = -1
        while seen != len(site.asked):  # until nothing is asked any more
            seen = len(site.asked)
            time.sleep(0.3)
        assert 20 < seen <= 4 + 64 + 4
        go.set()
        passing.join(20)
    assert len(waiting) == 200


def test_nothing_is_taken_any_more_after_a_second_ctrl_c(
    site: Site, network: NetworkPolicy, config: IngestConfig, tmp_path: Path
) -> None:
    taking, taken = threading.Event(), threading.Event()

    def take(*_: object) -> None:
        taking.set()
        time.sleep(1)
        taken.set()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)

    def impatient() -> None:
        taking.wait(10)
        for _ in range(2):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(0.2)

    person = threading.Thread(target=impatient)
    person.start()
    try:
        with open_door(network, config) as door:
            with pytest.raises(KeyboardInterrupt):
                door.fetch_all(addresses(site, tmp_path, answer(picture(1)), "1"), take)
            assert taken.is_set()
    finally:
        person.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_forked_child_opens_a_door_and_has_inspectors_of_its_own(tmp_path: Path) -> None:
    code = f"""
        import os, signal, sys
        from pathlib import Path
        from tasks.core.network import NetworkPolicy
        from tasks.ingest.address import Address
        from tasks.ingest.config import IngestConfig
        from tasks.ingest.door import open_door
        network, config = NetworkPolicy(user_agent="t"), IngestConfig()

        def pass_one():
            taken = []
            with open_door(network, config) as door:
                door.fetch_all([Address("file:///x", "wren", Path({str(tmp_path)!r}, "x.part"), False)],
                               lambda address, fetched: taken.append(fetched.outcome))
            assert taken == ["invalid-address"], taken

        with open_door(network, config):
            pass_one()
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                try:
                    pass_one()
                    os._exit(0)
                finally:
                    os._exit(1)
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
