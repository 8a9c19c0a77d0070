from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import zipfile
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.errors import StopError, WorkspaceError
from tasks.core.local import address
from tasks.core.network import NetworkPolicy
from tasks.core.tables import read_ledger
from tasks.core.waiting import stoppable
from tasks.core.workspace import Workspace
from tasks.ingest.address import Address
from tasks.ingest.batch import _Batch, run_batch
from tasks.ingest.config import IngestConfig
from tasks.ingest.journal import journal_path, open_journal
from tasks.ingest.local import read_local
from tasks.ingest.plan import plan

from .conftest import NOW, Site, answer, offer, offer_urls, picture

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = NetworkPolicy(user_agent="t")


class Door:
    """Plans and runs what is offered; shows the ledger's rows by the end of their address."""

    def __init__(self, workspace: Workspace, config: IngestConfig, network: NetworkPolicy) -> None:
        self.workspace, self.config, self.network = workspace, config, network
        self.collection = workspace.collection("birds")

    def offer(self, *urls: str, source: str = "folder") -> None:
        offer(self.collection, *({"url": url, "label": "wren", "source": source} for url in urls))

    def plan(self) -> list[Path]:
        return plan(self.collection, self.config, now=NOW).batches

    def pass_all(self) -> dict[str, dict[str, Any]]:
        for batch in self.plan():
            run_batch(batch, workspace=self.workspace, config=self.config, network=self.network)
        return {row["url"].rpartition("/")[2]: row for row in read_ledger(self.collection).to_dicts()}

    def outcomes(self) -> dict[str, str]:
        return {name: row["outcome"] for name, row in self.pass_all().items()}


@pytest.fixture
def door(workspace: Workspace, config: IngestConfig) -> Door:
    return Door(workspace, config, OFFLINE)


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return path


def test_a_file_is_copied_into_the_store_and_stays_where_it_is(door: Door, tmp_path: Path) -> None:
    photo = tmp_path / "a b.jpg"
    photo.write_bytes(picture())
    door.offer(address(photo))
    [row] = door.pass_all().values()
    assert (row["outcome"], row["http_status"], row["attempts"], row["bytes"]) == ("kept", None, 1, len(picture()))
    stored = door.workspace.image(row["sha256"], "JPEG")
    assert stored.read_bytes() == photo.read_bytes()
    assert (photo.stat().st_nlink, stored.stat().st_nlink, stored.is_symlink()) == (1, 1, False)
    assert not list((door.workspace.images / ".parts").rglob("*.part"))


def test_files_of_all_kinds_end_with_the_outcomes_that_downloads_have(door: Door, tmp_path: Path) -> None:
    bodies = {
        "good.jpg": picture(1), "half.jpg": picture(2)[: len(picture(2)) // 2], "page.jpg": b"<!DOCTYPE html><p>gone",
        "none.jpg": b"", "text.jpg": b"just words", "big.bmp": bytes(200_001),
        "tiny.png": picture(3, side=8, image_format="PNG"),
    }  # fmt: skip
    for name, body in bodies.items():
        (tmp_path / name).write_bytes(body)
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    names = [*bodies, "folder.jpg", "pipe.jpg", "gone.jpg", "good.jpg/below.jpg"]
    door.offer(*(address(tmp_path / name) for name in names))
    door.config = door.config.model_copy(update={"max_bytes": 200_000})
    assert door.outcomes() == {
        "good.jpg": "kept", "half.jpg": "damaged", "page.jpg": "html", "none.jpg": "empty", "text.jpg": "not-an-image",
        "tiny.png": "too-small", "big.bmp": "too-large", "folder.jpg": "not-an-image", "pipe.jpg": "not-an-image",
        "gone.jpg": "not-found", "below.jpg": "not-found",
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_forbidden(door: Door, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "a.jpg").chmod(0)
    door.offer(address(tmp_path / "a.jpg"))
    assert door.outcomes() == {"a.jpg": "forbidden"}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_members_of_archives_pass_the_same_door(door: Door, tmp_path: Path, name: str) -> None:
    members = {
        "a/1.jpg": picture(1),
        "a/2 #?.jpg": picture(2),
        "3.jpg": b"<html>",
        "4.jpg": picture(4)[: len(picture(4)) // 2],
    }
    path = (make_zip if name == "x.zip" else make_tar)(tmp_path / name, members)
    door.offer(*(address(path, member) for member in [*members, "5.jpg"]), source="archive")
    rows = {row["url"]: row["outcome"] for row in door.pass_all().values()}
    assert rows == dict(
        zip(
            [address(path, member) for member in [*members, "5.jpg"]],
            ["kept", "kept", "html", "damaged", "not-found"],
            strict=True,
        )
    )
    assert sorted(body.read_bytes() for body in door.workspace.images.rglob("*.jpg")) == sorted(
        [picture(1), picture(2)]
    )


def test_a_file_that_any_other_source_names_is_never_read(door: Door, tmp_path: Path) -> None:
    photo = tmp_path / "private.jpg"
    photo.write_bytes(picture())
    door.offer(address(photo), source="url_list")
    door.offer(address(make_zip(tmp_path / "x.zip", {"1.jpg": picture()}), "1.jpg"), source="darwin_core")
    assert door.plan() == []
    assert {row["outcome"] for row in door.pass_all().values()} == {"invalid-address"}
    batch = door.collection / "batches" / "forged.parquet"
    batch.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"url": [address(photo)], "label": ["wren"], "local": [False]}).write_parquet(batch)
    assert run_batch(batch, workspace=door.workspace, config=door.config, network=OFFLINE) == {"invalid-address": 1}
    assert not list(door.workspace.images.rglob("*.jpg"))


def test_a_file_that_a_list_named_first_is_read_once_a_folder_offers_it(door: Door, tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(picture())
    door.offer(address(photo), source="url_list")
    later = datetime.now(UTC) + timedelta(hours=1)  # so that it has not changed since
    assert plan(door.collection, door.config, now=later).batches == []
    assert read_ledger(door.collection)["outcome"].to_list() == ["invalid-address"]
    door.offer(address(photo))
    assert len(plan(door.collection, door.config, now=later).batches) == 1


def test_an_address_of_the_network_is_no_file_whatever_source_names_it(door: Door, site: Site) -> None:
    door.network = NetworkPolicy(user_agent="t", allowed_hosts=(site.address,))
    door.offer(site.add("/1.jpg", answer(picture())), source="folder")
    assert door.outcomes() == {"1.jpg": "kept"}
    assert site.asked == ["/1.jpg"]


def test_files_and_addresses_lie_in_batches_of_their_own_and_files_need_no_event_loop(
    door: Door, site: Site, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(1))
    door.network = NetworkPolicy(user_agent="t", allowed_hosts=(site.address,))
    offer_urls(door.collection, site.add("/b.jpg", answer(picture(2))))
    door.offer(address(tmp_path / "a.jpg"))
    remote, files = door.plan()
    assert pl.read_parquet(remote)["local"].to_list() == [False]

    async def within_a_loop() -> dict[str, int]:  # where another could not be started
        return run_batch(files, workspace=door.workspace, config=door.config, network=OFFLINE)

    assert asyncio.run(within_a_loop()) == {"kept": 1}
    assert site.asked == []
    assert door.outcomes() == {"a.jpg": "kept", "b.jpg": "kept"}


def test_files_end_with_the_run_and_nothing_is_written_down_after_it(door: Door, tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.jpg").write_bytes(picture(number))
    door.offer(*(address(tmp_path / f"{number}.jpg") for number in range(300)))
    [batch] = door.plan()
    rows: list[object] = []
    begun = threading.Event()
    ended: list[BaseException | int] = []

    def on_row(row: object) -> None:
        time.sleep(0.01)
        rows.append(row)
        if len(rows) == 20:
            begun.set()

    def run() -> None:
        try:
            run_batch(batch, workspace=door.workspace, config=door.config, network=OFFLINE, on_row=on_row)
        except StopError as error:
            ended.extend([error, len(rows)])

    def stopped() -> None:
        with stoppable():
            thread = threading.Thread(target=copy_context().run, args=[run])
            thread.start()
            begun.wait(20)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    deadline = time.monotonic() + 20
    while not ended and time.monotonic() < deadline:
        time.sleep(0.02)
    assert isinstance(ended[0], StopError)
    assert 20 <= len(rows) == ended[1] < 80
    assert door.outcomes() == {f"{number}.jpg": "kept" for number in range(300)}


def test_a_part_that_cannot_be_read_again_is_one_clear_error(door: Door, tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(picture(side=800, image_format="BMP"))
    part = tmp_path / "a.part"
    with open_journal(tmp_path / "a.journal.jsonl") as journal:
        batch = _Batch(door.workspace, door.config, journal, None)
        for where, fetched in read_local(
            [Address(address(tmp_path / "a.bmp"), "wren", part, local=True)], max_bytes=10**7
        ):
            part.unlink()  # as a disk that fails does
            with pytest.raises(WorkspaceError, match=r"a\.part"):
                batch.take(where, fetched)
            assert fetched.body is not None
            fetched.body.discard()
    assert not journal.rows


def test_files_named_as_inaturalist_names_sizes_are_photos_of_their_own(door: Door, tmp_path: Path) -> None:
    names = ["small.jpg", "large.jpg"]
    (tmp_path / "photos" / "7").mkdir(parents=True)
    for number, name in enumerate(names):
        (tmp_path / "photos" / "7" / name).write_bytes(picture(number))
    door.offer(*(address(tmp_path / "photos" / "7" / name) for name in names))
    assert door.outcomes() == dict.fromkeys(names, "kept")


def test_all_members_of_a_tar_share_a_batch_whatever_its_size(door: Door, tmp_path: Path) -> None:
    door.config = door.config.model_copy(update={"batch_size": 2})
    names = [f"{n}.jpg" for n in range(9)]
    for name in ("x.tar", "y.tar.gz"):
        path = make_tar(tmp_path / name, dict.fromkeys(names, b"x"))
        door.offer(*(address(path, member) for member in names))
    zipped = make_zip(tmp_path / "z.zip", dict.fromkeys(names, b"x"))
    door.offer(*(address(zipped, member) for member in names), address(tmp_path / "a.jpg"))
    batches = [pl.read_parquet(batch)["url"] for batch in door.plan()]
    archives = [urls.str.extract(r"([^/#]+)(?:#.*)?$").unique().sort().to_list() for urls in batches]
    assert archives == [["x.tar"], ["y.tar.gz"], ["a.jpg", "z.zip"]]
    assert [len(urls) for urls in batches] == [9, 9, 10]


def test_a_file_is_read_again_when_another_has_taken_its_place_and_only_then(door: Door, tmp_path: Path) -> None:
    photos = [tmp_path / f"{n}.jpg" for n in range(2)]
    for number, photo in enumerate(photos):
        photo.write_bytes(picture(number))
    zipped = make_zip(tmp_path / "x.zip", {"m.jpg": picture(8)})
    door.offer(*map(address, photos), address(zipped, "m.jpg"))
    before = door.pass_all()
    assert door.plan() == []
    time.sleep(0.02)  # the kernel's clock of changes ticks every 4 ms
    make_zip(tmp_path / "new.zip", {"m.jpg": picture(9)}).replace(zipped)
    (tmp_path / "new.jpg").write_bytes(picture(7))
    os.utime(tmp_path / "new.jpg", (0, 0))  # as copying tools set it back
    (tmp_path / "new.jpg").replace(photos[0])
    [batch] = door.plan()
    assert pl.read_parquet(batch)["url"].to_list() == [address(photos[0]), address(zipped, "m.jpg")]
    after = door.pass_all()
    assert [name for name in after if after[name]["sha256"] != before[name]["sha256"]] == ["0.jpg", "x.zip#m.jpg"]
    assert door.plan() == []


def test_members_behind_the_damage_of_an_archive_are_damaged_and_those_before_it_kept(
    door: Door, tmp_path: Path
) -> None:
    path = make_tar(tmp_path / "x.tar", {f"{n}.jpg": picture(n) for n in range(6)})
    urls = [address(path, f"{n}.jpg") for n in range(6)]
    door.offer(*urls)
    path.write_bytes(path.read_bytes()[: 3 * (512 + 512 * -(-len(picture(0)) // 512)) + 700])
    rows = {row["url"]: row for row in door.pass_all().values()}
    outcomes = [rows[url]["outcome"] for url in urls]
    assert outcomes[0] == "kept"
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes[-1] == "damaged"
    assert "damaged or cannot be read" in rows[urls[-1]]["reason"]


def test_an_archive_that_is_gone_or_has_become_something_else_is_told_in_the_ledger(door: Door, tmp_path: Path) -> None:
    (tmp_path / "page.zip").write_text("<html>")
    door.offer(address(tmp_path / "gone.zip", "1.jpg"), address(tmp_path / "page.zip", "1.jpg"))
    rows = door.pass_all()
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "gone.zip#1.jpg": "not-found", "page.zip#1.jpg": "damaged"
    }  # fmt: skip
    assert "not a zip or tar" in rows["page.zip#1.jpg"]["reason"]


def test_after_kill_9_in_the_middle_of_an_archive_only_the_rest_is_read(door: Door, tmp_path: Path) -> None:
    count = 1500
    body = picture(0, side=400)
    path = make_tar(tmp_path / "x.tar.gz", {f"{n:04}.jpg": body + str(n).encode() for n in range(count)})
    door.offer(*(address(path, f"{n:04}.jpg") for n in range(count)))
    [batch] = door.plan()
    journal = journal_path(door.collection, batch.stem)
    code = f"""
        from pathlib import Path
        from tasks.core.network import NetworkPolicy
        from tasks.core.workspace import Workspace
        from tasks.ingest.batch import run_batch
        from tasks.ingest.config import IngestConfig
        run_batch(Path({str(batch)!r}), workspace=Workspace(Path({str(door.workspace.root)!r})),
                  config=IngestConfig(min_side=32), network=NetworkPolicy(user_agent="t"))
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT) as child:
        deadline = time.monotonic() + 60
        while not (journal.exists() and journal.read_bytes().count(b"\n") >= 50) and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
    lines = journal.read_text().splitlines()
    finished = {json.loads(line)["url"] for line in lines[:-1]}
    assert 49 <= len(finished) < count
    [rest] = door.plan()
    assert finished.isdisjoint(pl.read_parquet(rest)["url"].to_list())
    assert set(door.outcomes().values()) == {"kept"}
    assert read_ledger(door.collection).height == count
    assert len(list(door.workspace.images.rglob("*.jpg"))) == count
