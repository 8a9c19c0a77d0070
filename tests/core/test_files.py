from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import BusyError, WorkspaceError
from tasks.core.files import check_writable, locked, publishing, read_json, storage_error, write_atomic, write_json


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"n": 1})

    def half(stream: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_atomic(path, half)
    assert read_json(path) == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_told_as_such() -> None:
    error = storage_error(OSError(errno.ENOSPC, "No space left on device"), Path("x/y"))
    assert isinstance(error, WorkspaceError)
    assert error.what == "The disk is full: x/y could not be written."
    assert "ENOSPC" in error.received


def test_a_file_size_limit_becomes_a_workspace_error(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from tasks.core.files import write_atomic\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from tasks.core.errors import WorkspaceError\n"
        "try: write_atomic(Path(sys.argv[1]), lambda s: s.write(b'x' * 5000))\n"
        "except WorkspaceError as e: print(e.what)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "f")], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("The disk is full")
    assert not list(tmp_path.iterdir())


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:

    def broken() -> None:
        with publishing(tmp_path / "out") as part:
            (part / "a").write_text("x")
            assert not (tmp_path / "out").exists()
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert not list(tmp_path.iterdir())
    with publishing(tmp_path / "out") as part:
        (part / "a").write_text("x")
    assert (tmp_path / "out" / "a").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_first_to_publish_wins(tmp_path: Path) -> None:
    with publishing(tmp_path / "out") as mine:
        (mine / "a").write_text("second")
        with publishing(tmp_path / "out") as theirs:
            (theirs / "a").write_text("first")
    assert (tmp_path / "out" / "a").read_text() == "first"


def test_a_lock_names_its_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tasks.core.files import locked\n"
        "with locked(Path(sys.argv[1]), 'it'):\n print('held', flush=True); time.sleep(60)\n"
    )
    path = tmp_path / "l"
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=str(holder.pid)), locked(path, "it"):
            pass
        holder.kill()
    with locked(path, "it"):
        assert path.read_text() == str(os.getpid())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WorkspaceError, match="HARVESTMAN_WORKSPACE"):
        check_writable(tmp_path)


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="could not be written"):
        check_writable(tmp_path / "file" / "workspace")
