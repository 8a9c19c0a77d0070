from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.errors import BusyError, WorkspaceError
from tasks.core.network import NetworkPolicy
from tasks.core.tables import LEDGER, OUTCOMES, read_ledger
from tasks.core.workspace import Workspace
from tasks.ingest.batch import OnRow, run_batch
from tasks.ingest.config import IngestConfig
from tasks.ingest.journal import journal_path, open_journal
from tasks.ingest.plan import plan

from .conftest import NOW, Answer, Site, answer, in_turn, offer_urls, picture

ROOT = Path(__file__).resolve().parents[2]


class Door:
    """Plans and runs everything a test offers; holds the ledger's rows by address afterwards."""

    def __init__(self, workspace: Workspace, config: IngestConfig, network: NetworkPolicy) -> None:
        self.workspace, self.config, self.network = workspace, config, network
        self.collection = workspace.collection("birds")

    def plan(self, *urls: str, **changes: object) -> list[Path]:
        self.config = self.config.model_copy(update=changes)
        offer_urls(self.collection, *urls)
        return plan(self.collection, self.config, now=NOW).batches

    def run(self, batch: Path, on_row: OnRow | None = None) -> dict[str, int]:
        return run_batch(batch, workspace=self.workspace, config=self.config, network=self.network, on_row=on_row)

    def pass_all(self, *urls: str, **changes: object) -> dict[str, dict[str, Any]]:
        for batch in self.plan(*urls, **changes):
            self.run(batch)
        return {row["url"]: row for row in read_ledger(self.collection).to_dicts()}


@pytest.fixture
def door(workspace: Workspace, config: IngestConfig, network: NetworkPolicy) -> Door:
    return Door(workspace, config, network)


def stored(workspace: Workspace) -> list[Path]:
    return sorted(path for path in workspace.images.rglob("*") if path.is_file())


def test_a_whole_picture_is_stored_under_its_sha256_with_every_column_filled(door: Door, site: Site) -> None:
    body = picture()
    url = site.add("/photo", answer(body))
    row = door.pass_all(url)[url]
    sha256 = hashlib.sha256(body).hexdigest()
    assert row["outcome"] == "kept"
    assert (row["sha256"], row["bytes"], row["http_status"], row["attempts"]) == (sha256, len(body), 200, 1)
    assert (row["format"], row["width"], row["height"]) == ("JPEG", 160, 160)
    assert row["contrast"] > 10
    assert len(row["verify_hash"]) == 32
    assert "simplejpeg=" in row["versions"]
    assert door.workspace.image(sha256, "JPEG").read_bytes() == body
    assert stored(door.workspace) == [door.workspace.image(sha256, "JPEG")]


def test_nothing_but_the_shard_is_left_of_a_finished_batch(door: Door, site: Site) -> None:
    door.pass_all(site.add("/photo", answer(picture())))
    left = sorted(path.name for path in door.collection.rglob("*") if path.is_file())
    assert len(left) == 2
    assert left[0] == "0.parquet"
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{16}\.parquet", left[1])
    [shard] = (door.collection / "ledger").glob("*.parquet")
    assert dict(pl.read_parquet_schema(shard)) == LEDGER


@pytest.mark.parametrize(
    ("status", "outcome", "attempts"),
    [(404, "not-found", 1), (410, "not-found", 1), (403, "forbidden", 1), (451, "forbidden", 1),
     (400, "client-error", 1), (304, "client-error", 1), (500, "server-error", 2), (429, "rate-limited", 2)],
)  # fmt: skip
def test_statuses_become_outcomes_and_only_passing_ones_are_asked_again(
    door: Door, site: Site, status: int, outcome: str, attempts: int
) -> None:
    url = site.add("/x", answer(b"", status))
    row = door.pass_all(url)[url]
    assert (row["outcome"], row["http_status"], row["attempts"]) == (outcome, status, attempts)
    assert len(site.asked) == attempts


def test_a_retry_after_is_waited_for_and_the_second_answer_counts(door: Door, site: Site) -> None:
    url = site.add("/busy", in_turn(answer(b"", 429, Retry_After="1"), answer(picture())))
    row = door.pass_all(url)[url]
    assert (row["outcome"], row["attempts"]) == ("kept", 2)
    assert site.times[1] - site.times[0] >= 1.0


def test_a_retry_after_holds_back_every_address_of_the_host(door: Door, site: Site) -> None:
    first = site.add("/busy", in_turn(answer(b"", 503, Retry_After="1"), answer(picture())))
    others = [site.add(f"/{n}", answer(picture(n))) for n in range(1, 4)]
    door.pass_all(first, *others, per_host=1)
    position = site.asked.index("/busy")
    assert site.times[position + 1] - site.times[position] >= 1.0


def test_a_host_that_asks_for_a_long_rest_is_left_alone_for_the_batch(door: Door, site: Site) -> None:
    urls = [site.add(f"/{n}", answer(b"", 429, Retry_After="3600")) for n in range(5)]
    rows = door.pass_all(*urls, per_host=1)
    assert {row["outcome"] for row in rows.values()} == {"rate-limited"}
    assert len(site.asked) == 1
    assert sorted(row["attempts"] for row in rows.values()) == [0, 0, 0, 0, 1]


def test_a_page_named_jpg_is_html(door: Door, site: Site) -> None:
    url = site.add("/photo.jpg", answer(b"<!DOCTYPE html><title>Gone</title>", Content_Type="image/jpeg"))
    assert door.pass_all(url)[url]["outcome"] == "html"
    assert stored(door.workspace) == []


def test_a_truncated_jpeg_of_the_announced_length_is_damaged(door: Door, site: Site) -> None:
    body = picture()
    url = site.add("/half", answer(body[: len(body) // 2]))
    row = door.pass_all(url)[url]
    assert (row["outcome"], row["http_status"], row["sha256"]) == ("damaged", 200, None)
    assert "remature end" in row["reason"]


def test_a_body_cut_before_its_announced_length_is_incomplete_and_asked_again(door: Door, site: Site) -> None:
    def cut(request: BaseHTTPRequestHandler) -> None:
        answer(picture()[:500], Content_Length="9999")(request)
        request.close_connection = True

    url = site.add("/cut", cut)
    row = door.pass_all(url)[url]
    assert (row["outcome"], row["attempts"]) == ("incomplete", 2)


def test_a_body_that_drips_is_given_up_after_three_timeouts(door: Door, site: Site) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        for _ in range(40):
            request.wfile.write(b"x")
            time.sleep(0.1)

    url = site.add("/drip", drip)
    start = time.monotonic()
    row = door.pass_all(url, timeout=0.25, attempts=1)[url]
    assert (row["outcome"], row["http_status"]) == ("timeout", 200)
    assert 0.7 < time.monotonic() - start < 3


def test_silence_is_a_timeout(door: Door, site: Site) -> None:
    url = site.add("/silent", lambda _: time.sleep(1.5))
    row = door.pass_all(url, timeout=0.25, attempts=1)[url]
    assert (row["outcome"], row["http_status"]) == ("timeout", None)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit_is_not_downloaded_whole(door: Door, site: Site, announced: bool) -> None:
    sent = []

    def flood(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header(*(("Content-Length", "50000000") if announced else ("Connection", "close")))
        request.end_headers()
        request.close_connection = True
        for _ in range(500):
            request.wfile.write(b"x" * 100_000)
            sent.append(100_000)

    url = site.add("/flood", flood)
    assert door.pass_all(url, max_bytes=200_000)[url]["outcome"] == "too-large"
    assert sum(sent) < 25_000_000  # what the sockets' buffers swallow
    assert stored(door.workspace) == []


def test_redirects_are_followed_to_the_limit(door: Door, site: Site) -> None:
    site.add("/end", answer(picture()))
    short = site.add("/short", answer(b"", 302, Location="/end"))
    endless = site.add("/endless", answer(b"", 301, Location="/endless"))
    rows = door.pass_all(short, endless, max_redirects=3)
    assert rows[short]["outcome"] == "kept"
    assert rows[endless]["outcome"] == "too-many-redirects", rows[endless]["reason"]
    assert site.asked.count("/endless") == 4


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:9/x", "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
     "http://localhost:9/x", "http://2130706433/", "http://127.1/", "http://0.0.0.0/", "http://[fe80::1]/"],
)  # fmt: skip
def test_a_redirect_to_a_private_address_is_blocked(door: Door, site: Site, target: str) -> None:
    url = site.add("/away", answer(b"", 302, Location=target))
    row = door.pass_all(url)[url]
    assert (row["outcome"], row["attempts"]) == ("blocked-address", 1)


def test_a_name_that_resolves_to_loopback_is_blocked_though_its_number_is_allowed(door: Door, site: Site) -> None:
    port = site.address.rpartition(":")[2]
    named = f"http://localhost:{port}/photo"
    site.add("/photo", answer(picture()))
    assert door.pass_all(named)[named]["outcome"] == "blocked-address"
    assert site.asked == []


def test_a_name_that_the_settings_allow_may_be_loopback(door: Door, site: Site) -> None:
    allowed = site.address.replace("127.0.0.1", "localhost")
    door.network = NetworkPolicy(user_agent="t", allowed_hosts=(allowed,))
    site.add("/photo", answer(picture()))
    named = f"http://{allowed}/photo"
    assert door.pass_all(named)[named]["outcome"] == "kept"


def test_redirects_to_other_schemes_are_invalid_addresses(door: Door, site: Site) -> None:
    ftp = site.add("/ftp", answer(b"", 302, Location="ftp://example.org/x.jpg"))
    junk = site.add("/junk", answer(b"", 302, Location="http://example.org:none/"))
    rows = door.pass_all(ftp, junk)
    assert {row["outcome"] for row in rows.values()} == {"invalid-address"}, rows


def test_when_nothing_can_be_reached_every_row_says_so(door: Door) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    door.network = NetworkPolicy(user_agent="t", allowed_hosts=(address,))
    urls = [f"http://{address}/{n}" for n in range(3)] + ["http://no-such-host.invalid/x"]
    rows = door.pass_all(*urls)
    assert [(row["outcome"], row["attempts"]) for row in rows.values()] == [("unreachable", 2)] * 4


def test_a_host_that_is_down_is_given_up_before_every_address_has_been_tried(door: Door) -> None:
    calls: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # closed at the end of the test
                while True:
                    server.accept()[0].close()
                    calls.append(time.monotonic())

        threading.Thread(target=hang_up, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        door.network = NetworkPolicy(user_agent="t", allowed_hosts=(address,))
        rows = door.pass_all(*(f"http://{address}/{n}" for n in range(40)), robots_txt=False)
        server.shutdown(socket.SHUT_RDWR)
    assert {row["outcome"] for row in rows.values()} == {"unreachable"}
    assert sum("given up" in row["reason"] for row in rows.values()) > 20
    assert len(calls) < 40  # aiohttp calls once more where a connection ends without a word


def test_tls_that_fails_is_unreachable(door: Door, site: Site) -> None:
    url = f"https://{site.address}/x"
    assert door.pass_all(url, attempts=1)[url]["outcome"] == "unreachable"


def test_the_user_agent_is_ours_and_cookies_are_not_kept(door: Door, site: Site) -> None:
    seen: list[dict[str, str]] = []

    def note(request: BaseHTTPRequestHandler) -> None:
        seen.append({name.lower(): value for name, value in request.headers.items()})
        answer(b"", 404, Set_Cookie="tracked=yes; Path=/")(request)

    door.pass_all(*(site.add(f"/{n}", note) for n in range(3)), per_host=1)
    assert {headers["user-agent"] for headers in seen} == {"harvestman-test"}
    assert not any("cookie" in headers for headers in seen)


def test_no_more_requests_are_under_way_at_one_host_than_allowed(door: Door, site: Site) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def slow(request: BaseHTTPRequestHandler) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.05)
        answer(b"", 404)(request)
        with lock:
            under_way -= 1

    door.pass_all(*(site.add(f"/{n}", slow) for n in range(12)), per_host=3)
    assert most == 3


def test_an_address_offered_twice_is_asked_once(door: Door, site: Site) -> None:
    url = site.add("/photo", answer(picture()))
    offer_urls(door.collection, url, label="robin")
    rows = door.pass_all(url, url)
    assert len(rows) == 1
    assert site.asked == ["/photo"]


def test_counts_and_rows_are_handed_to_the_caller(door: Door, site: Site) -> None:
    urls = [site.add("/1", answer(picture(1))), site.add("/2", answer(picture(2))), site.url("/none")]
    seen: list[Any] = []
    [batch] = door.plan(*urls)
    assert door.run(batch, on_row=seen.append) == {"kept": 2, "not-found": 1}
    assert {row["url"] for row in seen} == set(urls)
    assert {row["outcome"] for row in seen} <= set(OUTCOMES)


def test_a_journal_left_behind_is_not_asked_again_and_its_torn_line_is(door: Door, site: Site) -> None:
    urls = [site.add(f"/{n}", answer(picture(n))) for n in range(4)]
    [batch] = door.plan(*urls)
    journal = journal_path(door.collection, batch.stem)
    journal.parent.mkdir(parents=True, exist_ok=True)
    whole = json.dumps({"url": urls[0], "label": "wren", "outcome": "not-found", "fetched_at": NOW.isoformat()})
    journal.write_text(whole + "\n" + json.dumps({"url": urls[1], "outcome": "kept"})[:-5])
    assert door.run(batch) == {"kept": 3, "not-found": 1}
    assert sorted(site.asked) == ["/1", "/2", "/3"]
    assert read_ledger(door.collection).height == 4
    assert not journal.exists()


def test_a_batch_that_another_process_runs_is_refused(door: Door, site: Site) -> None:
    [batch] = door.plan(site.add("/1", answer(picture())))
    with open_journal(journal_path(door.collection, batch.stem)), pytest.raises(BusyError, match="fetching"):
        door.run(batch)
    assert site.asked == []


def test_a_batch_file_that_is_gone_is_one_clear_error(door: Door) -> None:
    with pytest.raises(WorkspaceError, match="cannot be read"):
        door.run(door.collection / "batches" / "gone.parquet")


def test_an_image_store_that_cannot_be_written_is_one_clear_error_and_keeps_the_journal(door: Door, site: Site) -> None:
    [batch] = door.plan(site.add("/1", answer(picture())))
    door.workspace.images.parent.mkdir(parents=True, exist_ok=True)
    door.workspace.images.write_text("a file where the folder should be")
    with pytest.raises(WorkspaceError, match="could not be written"):
        door.run(batch)
    assert batch.exists()


def _child(door: Door, batch: Path, before: str = "") -> subprocess.Popen[str]:
    code = f"""
        import sys
        from pathlib import Path
        from tasks.core.errors import HarvestmanError
        from tasks.core.network import NetworkPolicy
        from tasks.core.workspace import Workspace
        from tasks.ingest.batch import OnRow, run_batch
        from tasks.ingest.config import IngestConfig
        {before}
        try:
            run_batch(Path({str(batch)!r}), workspace=Workspace(Path({str(door.workspace.root)!r})),
                      config=IngestConfig.model_validate_json({door.config.model_dump_json()!r}),
                      network=NetworkPolicy.model_validate_json({door.network.model_dump_json()!r}))
        except HarvestmanError as error:
            sys.exit(f"{{type(error).__name__}}: {{error}}")
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_after_kill_9_no_finished_address_is_asked_again_and_the_ledger_is_whole(door: Door, site: Site) -> None:
    def slow(seed: int) -> Answer:
        def send(request: BaseHTTPRequestHandler) -> None:
            time.sleep(0.1)
            answer(picture(seed))(request)

        return send

    urls = [site.add(f"/{n}", slow(n)) for n in range(24)]
    [batch] = door.plan(*urls, per_host=2, timeout=5)
    journal = journal_path(door.collection, batch.stem)
    with _child(door, batch) as child:
        deadline = time.monotonic() + 20
        while not (journal.exists() and journal.read_bytes().count(b"\n") >= 6) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
    whole, _, _ = journal.read_text().rpartition("\n")
    finished = {json.loads(line)["url"] for line in whole.splitlines()}
    assert 6 <= len(finished) < 24
    before = len(site.asked)

    rows = door.pass_all()  # a new plan settles the journal; new batches hold the rest
    again = {site.url(path) for path in site.asked[before:]}
    assert again.isdisjoint(finished)
    assert [row["outcome"] for row in rows.values()] == ["kept"] * 24
    assert read_ledger(door.collection).height == 24
    assert len(stored(door.workspace)) == 24
    assert not list(door.collection.rglob("*.jsonl"))


def test_a_full_disk_is_one_clear_error_and_loses_nothing_already_stored(door: Door, site: Site) -> None:
    small = [site.add(f"/{n}", answer(picture(n))) for n in range(5)]
    huge = picture(99, side=2000, image_format="BMP")
    large = site.add("/large", lambda request: (time.sleep(1), answer(huge)(request)))
    [batch] = door.plan(*small, large, timeout=5)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    with _child(door, batch, limit) as child:
        assert child.stderr is not None
        message = child.stderr.read()
    assert child.returncode == 1
    assert "WorkspaceError: The disk is full" in message
    assert "Traceback" not in message
    assert len(stored(door.workspace)) >= 5
    before = len(site.asked)

    door.run(batch)
    assert site.asked[before:] == ["/large"]
    assert read_ledger(door.collection)["outcome"].to_list() == ["kept"] * 6
