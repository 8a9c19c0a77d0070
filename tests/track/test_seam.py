from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tasks.core.errors import ServerUnavailableError, StopError, WorkspaceError
from tasks.track.seam import check_tracker, shown, translated, translating
from tests.conftest import LoopbackMlflow


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_that_is_well_passes(mlflow_server: LoopbackMlflow) -> None:
    check_tracker(mlflow_server.uri)
    check_tracker(mlflow_server.uri + "/")


def test_a_closed_port_is_told_at_once(closed_port: int) -> None:
    start = time.monotonic()
    with pytest.raises(ServerUnavailableError, match=f"127.0.0.1:{closed_port} does not answer") as caught:
        check_tracker(f"http://127.0.0.1:{closed_port}")
    assert time.monotonic() - start < 5
    assert "refused" in caught.value.received
    assert "harvestman up" in caught.value.hint


def test_a_server_that_hangs_is_given_up_within_six_seconds() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(ServerUnavailableError, match="does not answer") as caught:
            check_tracker(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - start < 6
    assert "ReadTimeout" in caught.value.received


def test_a_refused_host_header_names_the_option_that_helps() -> None:
    with (
        answering(403, b"Invalid Host header") as uri,
        pytest.raises(ServerUnavailableError, match="refuses us") as caught,
    ):
        check_tracker(uri)
    assert "--allowed-hosts" in caught.value.hint


def test_something_else_on_the_port_is_no_tracker() -> None:
    with answering(404, b"not here") as uri, pytest.raises(ServerUnavailableError, match="does not answer") as caught:
        check_tracker(uri)
    assert "HTTP 404" in caught.value.received


def test_an_sqlite_file_in_a_new_folder_passes(tmp_path: Path) -> None:
    check_tracker(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}")
    assert list((tmp_path / "new").iterdir()) == []


def test_an_sqlite_file_below_a_file_is_a_workspace_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="could not be written"):
        check_tracker(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")


def test_an_address_of_another_kind_is_refused_with_the_kinds_there_are() -> None:
    with pytest.raises(StopError, match="no address of an MLflow tracker") as caught:
        check_tracker("ftp://user:secret@host/x")
    assert "sqlite:///" in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_password_is_never_shown() -> None:
    assert shown("https://me:secret@host:5000/x") == "https://host:5000/x"
    assert shown("sqlite:////tmp/a@b.db") == "sqlite:////tmp/a@b.db"


def test_a_server_gone_in_the_middle_is_unavailable_within_seconds(closed_port: int) -> None:
    uri = f"http://127.0.0.1:{closed_port}"
    start = time.monotonic()
    with pytest.raises(ServerUnavailableError, match="does not answer"), translating(uri):
        MlflowClient(uri).get_experiment_by_name("any")
    assert time.monotonic() - start < 15


def test_a_refused_call_is_a_stop_with_mlflows_words(mlflow_server: LoopbackMlflow) -> None:
    with pytest.raises(StopError, match="refused what it was told") as caught, translating(mlflow_server.uri):
        MlflowClient(mlflow_server.uri).get_run("0" * 32)
    assert "not found" in caught.value.received


def test_a_file_that_is_no_database_is_a_stop(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(b"this is not a database, it only looks for trouble" * 100)
    uri = f"sqlite:///{file}"
    with pytest.raises(StopError, match="refused what it was told") as caught, translating(uri):
        MlflowClient(uri).get_experiment_by_name("any")
    assert "not a database" in caught.value.received


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("(sqlite3.OperationalError) database or disk is full", WorkspaceError),
        ("[Errno 28] No space left on device: '/x'", WorkspaceError),
        ("(sqlite3.OperationalError) attempt to write a readonly database", WorkspaceError),
        ("(sqlite3.OperationalError) database is locked", ServerUnavailableError),
    ],
)
def test_storage_trouble_at_the_tracker_has_a_name(words: str, kind: type[Exception]) -> None:
    assert type(translated(MlflowException(words), "http://tracker")) is kind


def test_a_full_disk_under_the_artifacts_is_a_workspace_error(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="The disk is full"), translating(f"sqlite:///{tmp_path / 'm.db'}"):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a"))
