"""kill -9 at any moment, a disk that fills at any moment: nothing is lost, torn or asked twice."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.local import address
from tasks.core.network import NetworkPolicy
from tasks.core.tables import KEPT, LEDGER, read_ledger
from tasks.core.workspace import Workspace
from tasks.curate.config import CurateConfig
from tasks.curate.verdicts import curate
from tasks.ingest.config import IngestConfig
from tasks.ingest.door import WAITING
from tasks.ingest.journal import SUFFIX
from tasks.split.config import SplitConfig
from tasks.split.publish import publish

from .collecting import fill
from .conftest import Answer, Site, answer, listening, offer, picture

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("robin", "wren")
CONFIG = IngestConfig(
    timeout=10, attempts=2, max_wait=0.05, min_side=32, per_host=4, connections=24, rate=1000, batch_size=16
)
KILLS = 20
SEED = 20


@dataclass
class Town:
    """Addresses of several hosts, the files of one folder, and what the hosts were asked."""

    site: Site
    hosts: list[str]
    folder: Path
    rows: list[dict[str, object]] = field(default_factory=list)

    def add(self, page: Answer, *, host: int = 0) -> None:
        number = len(self.rows)
        path = f"/{number:04}"
        self.site.pages[path] = page
        self._offer(f"http://{self.hosts[host]}{path}", "url_list")

    def add_file(self, body: bytes) -> None:
        self.folder.mkdir(exist_ok=True)
        file = self.folder / f"{len(self.rows):04}"
        file.write_bytes(body)
        self._offer(address(file), "folder")

    def _offer(self, url: str, source: str) -> None:
        self.rows.append({"url": url, "label": LABELS[len(self.rows) % 2], "source": source})


@contextmanager
def town(site: Site, folder: Path, hosts: int) -> Iterator[Town]:
    with ExitStack() as held:
        yield Town(site, [held.enter_context(listening(site)) for _ in range(hosts)], folder)


class Machine:
    """One workspace, and the processes that collect in it until they are killed or done."""

    def __init__(self, collector: Collector, root: Path, offered: Town, *, inner: Path | None = None) -> None:
        """`inner` is what a collector that has a disk of its own calls `root`."""
        self.workspace, self.town, self.collector = Workspace(root), offered, collector
        self.collection = self.workspace.collection("birds")
        offer(self.collection, *offered.rows)
        inner = inner or root
        network = NetworkPolicy(
            user_agent="harvestman-test", allowed_hosts=tuple(offered.hosts), spent=Workspace(inner).spent
        )
        self.job: dict[str, Any] = {
            "workspace": str(inner),
            "collection": "birds",
            "config": CONFIG.model_dump(mode="json"),
            "network": network.model_dump(mode="json"),
        }
        self._hashed: dict[Path, str] = {}

    def start(self, **more: object) -> int:
        return self.collector.start(self.job | more)

    def run(self, **more: object) -> None:
        self.start(**more)
        assert self.collector.wait() == 0, self.collector.said()

    def fail(self, **more: object) -> str:
        """Run and return what a person is told of why it could not end."""
        before = len(self.collector.said())
        self.start(**more)
        assert self.collector.wait() == 1
        return self.collector.said()[before:]

    def shards(self) -> pl.DataFrame:
        """All rows of the ledger as they lie there; every shard can be read."""
        paths = sorted((self.collection / "ledger").glob("*.parquet"))
        return pl.concat([pl.DataFrame(schema=LEDGER), *(pl.read_parquet(path) for path in paths)])

    def written(self) -> dict[str, str | None]:
        """What is known of each address by ledger and journals: its SHA-256 where it is kept."""
        known = {row["url"]: row["sha256"] for row in self.shards().iter_rows(named=True)}
        for journal in (self.collection / "ledger").glob(f"*{SUFFIX}"):
            content = journal.read_bytes()
            for line in content[: content.rfind(b"\n") + 1].splitlines():
                row = json.loads(line)
                known[row["url"]] = row.get("sha256")
        return known

    def paths(self) -> set[str]:
        """Paths of the addresses that are known."""
        return {url[url.rindex("/") :] for url in self.written()}

    def check(self) -> None:
        """Every image in the store is whole, and every image that the ledger or a journal speaks of is there."""
        names = set()
        for path in self.workspace.images.glob("??/*"):
            if path not in self._hashed:
                self._hashed[path] = hashlib.sha256(path.read_bytes()).hexdigest()
            assert path.stem == self._hashed[path], "a torn file in the store"
            names.add(path.stem)
        assert {sha256 for sha256 in self.written().values() if sha256} <= names

    def check_end(self) -> None:
        """One row an address, nothing torn, nothing left behind."""
        self.check()
        rows = self.shards()
        assert sorted(rows["url"]) == sorted(str(row["url"]) for row in self.town.rows)
        files = [path for path in self.workspace.root.rglob("*") if path.is_file()]
        assert [path for path in files if SUFFIX in path.name or ".part" in path.name or ".parts" in path.parts] == []
        assert list((self.collection / "batches").glob("*")) == []
        assert rows.filter(pl.col("outcome") == KEPT)["sha256"].n_unique() == len(self._hashed)

    def outcomes(self) -> dict[str, str]:
        return dict(read_ledger(self.collection, "url", "outcome").iter_rows())

    def digest(self) -> str:
        """Publish a data set and return what names its images, labels and splits."""
        verdicts = curate(self.collection, CurateConfig(), labels=LABELS).path
        dataset = publish(self.workspace, "birds", verdicts=verdicts, config=SplitConfig(), labels=LABELS).dataset
        return dataset.digest


class Collector:
    """The process that forks a child for each job; see collecting.py."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self._log = process, log

    def start(self, job: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return int(self._line())

    def wait(self) -> int:
        return int(self._line())

    def said(self) -> str:
        return self._log.read_text()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        return line


@contextmanager
def collecting(folder: Path, *words: str) -> Iterator[Collector]:
    """Start a collector, behind `words` where it is another command that starts it."""
    log = folder / "collector.log"
    command = [*words, sys.executable, "-m", "tests.ingest.collecting"]
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with log.open("ab") as errors, subprocess.Popen(command, cwd=ROOT, stderr=errors, **streams) as process:
        assert process.stdin is not None
        yield Collector(process, log)
        process.stdin.close()
        process.wait(30)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    with collecting(tmp_path) as started:
        yield started


def slow(page: Answer, seconds: float) -> Answer:
    def send(request: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        page(request)

    return send


def settle(offered: Town, *, hosts: tuple[int, ...], seconds: float = 0.0) -> None:
    """Offer as many addresses of each host as `hosts` says, of all kinds, and a few files of this machine."""
    bitmap = picture(1, side=640, image_format="BMP")  # more than a megabyte: it arrives in a file
    special: dict[int, Answer] = {
        3: answer(b"", 404),
        5: answer(b"<!doctype html><title>Gone</title>"),
        7: answer(b"", 503),  # passing, so it is asked twice by each run that has not written it down
        8: answer(bitmap),
        9: answer(picture(2)),  # the bytes of another address
        10: answer(picture(2)),
    }
    for host, addresses in enumerate(hosts):
        for number in range(addresses):
            page = special.get(number % 40) or answer(picture(1000 * (host + 1) + number))
            offered.add(slow(page, seconds) if seconds else page, host=host)
    for number in range(6):
        offered.add_file(picture(100 + number))


def until(ready: Callable[[], bool], pid: int) -> None:
    """Wait until something is so, or the process is over."""
    deadline = time.monotonic() + 60
    while not ready() and Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it was done before


def test_after_twenty_kills_at_random_moments_the_data_set_is_that_of_an_undisturbed_run(
    collector: Collector, site: Site, tmp_path: Path
) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a schedule that can be repeated
    with town(site, tmp_path / "own", 4) as offered:
        settle(offered, hosts=(120, 70, 45, 25), seconds=0.02)
        calm = Machine(collector, tmp_path / "calm", offered)
        calm.run()
        calm.check_end()
        restless = Machine(collector, tmp_path / "restless", offered)
        site.asked.clear()
        finished, moments, under_way = set[str](), [], 0
        for number in range(KILLS):
            before = len(site.asked)
            # Every fourth falls into what comes first: the journals of the run before, and the plan.
            wanted = before + chance.randrange(1, 45) if number % 4 else 0
            delay = chance.uniform(0, 0.08)
            pid = restless.start()
            until(lambda wanted=wanted: len(site.asked) >= wanted, pid)
            time.sleep(delay)
            kill(pid)
            code = collector.wait()
            assert code in {0, -signal.SIGKILL}, collector.said()
            restless.check()
            asked = set(site.asked[before:])
            assert asked & finished == set(), "asked again, although it was written down"
            known = restless.paths()
            assert finished <= known, "what was written down is gone"
            finished = known
            assert len(asked - known) <= CONFIG.connections + WAITING
            under_way += len(asked - known)
            moments.append(f"{number}: {len(asked)} asked, {len(known)} known, {code}")
        print(f"seed {SEED}\n" + "\n".join(moments))  # noqa: T201 - pytest shows it where this fails
        before = len(site.asked)
        restless.run()
        assert finished.isdisjoint(site.asked[before:])
        restless.check_end()

        again = len(site.asked) - len(set(site.asked))
        unavailable = {path for path in site.pages if int(path[1:]) % 40 == 7}
        assert again <= under_way + len(unavailable) * 2
        assert restless.outcomes() == calm.outcomes()
        assert set(calm.outcomes().values()) == {KEPT, "not-found", "html", "server-error"}
        assert restless.digest() == calm.digest()


def test_a_kill_right_after_any_change_of_a_file_loses_nothing_and_repeats_nothing(
    collector: Collector, site: Site, tmp_path: Path
) -> None:
    with town(site, tmp_path / "own", 2) as offered:
        settle(offered, hosts=(10, 4))
        calm = Machine(collector, tmp_path / "calm", offered)
        calm.run(steps=str(tmp_path / "steps.json"))
        steps = json.loads((tmp_path / "steps.json").read_text())
        assert steps.keys() >= {
            "plan._written: replace", "body.move_to: replace", "journal.append: write", "journal.seal: replace",
            "batch._finish: unlink",
        }  # fmt: skip
        moments = sorted({(name, number) for name, times in steps.items() for number in (1, times)})
        moments += [("body.move_to: replace", 4), ("journal.append: write", 9)]  # in the midst of it
        killed = 0
        for name, number in moments:
            machine = Machine(collector, tmp_path / f"{name} {number}".replace(os.sep, " "), offered)
            machine.start(steps=str(tmp_path / "unused"), fatal=[name, number])
            code = collector.wait()
            assert code in {0, -signal.SIGKILL}, collector.said()
            killed += code != 0
            machine.check()
            finished, before = machine.paths(), len(site.asked)
            machine.run()
            assert finished.isdisjoint(site.asked[before:]), "asked again, although it was written down"
            machine.check_end()
            assert machine.outcomes() == calm.outcomes()
            shutil.rmtree(machine.workspace.root)
        assert killed >= len(moments) * 0.8  # how often a step is taken depends a little on the moment


# ---- a disk that is full: a tmpfs in a mount namespace of its own, which is gone with its process


MOUNT = 'mount -t tmpfs -o size=12m,mode=700 disk "$0" && exec "$@"'
ROOM = 1_500_000  # bytes; sixteen of the pictures below


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Collector, Path, Path]]:
    """A collector with a disk of 12 MB, the disk as we see it, and as the collector does."""
    inner = tmp_path / "disk"
    inner.mkdir()
    # A user namespace too, so that no root is needed where the kernel lets users have one.
    words = ("unshare", "--mount", "--map-root-user", "sh", "-c", MOUNT, str(inner))
    probe = [*words, "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets us mount no file system (unshare --mount --map-root-user)")
    with collecting(tmp_path, *words) as collector:
        outer = Path(f"/proc/{collector.process.pid}/root{inner}")
        until(lambda: os.statvfs(outer).f_blocks * os.statvfs(outer).f_frsize < 20e6, collector.process.pid)
        yield collector, outer, inner


def heavy(offered: Town, pictures: int) -> None:
    for number in range(pictures):
        offered.add(answer(picture(number, side=180, image_format="BMP")), host=number % len(offered.hosts))


def check_message(text: str) -> None:
    """What broke, what was received, what to do; and nothing else."""
    what, received, hint = text.strip().splitlines()
    assert what.startswith("WorkspaceError: The disk is full: ")
    assert received == "No space left on device (ENOSPC)"
    assert hint.startswith("Free some space and run the same command again")


def test_a_disk_that_fills_while_images_come_costs_nothing_that_was_stored(
    small_disk: tuple[Collector, Path, Path], site: Site, tmp_path: Path
) -> None:
    collector, disk, inner = small_disk
    with town(site, tmp_path / "own", 3) as offered:
        heavy(offered, 50)
        machine = Machine(collector, disk / "workspace", offered, inner=inner / "workspace")
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - ROOM))
        check_message(machine.fail())
        machine.check()
        finished, before = machine.paths(), len(site.asked)
        assert 5 <= len(finished) < ROOM / 97_000

        check_message(machine.fail())  # as often as you like
        machine.check()
        assert finished <= machine.paths()
        assert finished.isdisjoint(site.asked[before:])

        (disk / "ballast").unlink()
        finished, before = machine.paths(), len(site.asked)
        machine.run()
        machine.check_end()
        assert sorted(site.asked[before:]) == sorted(set(site.pages) - finished)
        assert set(machine.outcomes().values()) == {KEPT}


def test_a_disk_that_is_full_from_the_start_is_told_whatever_is_written_first(
    small_disk: tuple[Collector, Path, Path], site: Site, tmp_path: Path
) -> None:
    collector, disk, inner = small_disk
    with town(site, tmp_path / "own", 2) as offered:
        heavy(offered, 40)
        machine = Machine(collector, disk / "workspace", offered, inner=inner / "workspace")
        fill(disk)
        said = []
        for _ in range(3):  # there is room for nothing, then for the lock, then for a batch too
            said.append(machine.fail())
            check_message(said[-1])
            machine.check()
            assert site.asked == []
            os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - 4096)
        assert ".lock could not be written" in said[0]
        assert all("/batches/" in text for text in said[1:])
        (disk / "ballast").unlink()
        machine.run()
        machine.check_end()


def test_a_disk_that_is_full_when_the_journal_of_a_killed_run_becomes_a_shard_costs_no_row_of_it(
    small_disk: tuple[Collector, Path, Path], site: Site, tmp_path: Path
) -> None:
    collector, disk, inner = small_disk
    with town(site, tmp_path / "own", 1) as offered:
        heavy(offered, 16)
        machine = Machine(collector, disk / "workspace", offered, inner=inner / "workspace")
        machine.start(steps=str(inner / "unused"), fatal=["journal.append: write", 9])
        assert collector.wait() == -signal.SIGKILL
        finished, before = machine.paths(), len(site.asked)
        assert len(finished) == 9
        fill(disk)
        check_message(machine.fail())
        machine.check()
        assert (machine.paths(), len(site.asked)) == (finished, before)
        (disk / "ballast").unlink()
        machine.run()
        machine.check_end()
        assert finished.isdisjoint(site.asked[before:])


def test_a_disk_that_is_full_when_a_batch_is_done_costs_no_row_of_it(
    small_disk: tuple[Collector, Path, Path], site: Site, tmp_path: Path
) -> None:
    collector, disk, inner = small_disk
    with town(site, tmp_path / "own", 1) as offered:
        heavy(offered, 12)
        machine = Machine(collector, disk / "workspace", offered, inner=inner / "workspace")
        check_message(machine.fail(fill_after=12))
        machine.check()
        assert machine.paths() == set(site.pages)
        before = len(site.asked)
        (disk / "workspace" / "ballast").unlink()
        machine.run()
        machine.check_end()
        assert len(site.asked) == before
