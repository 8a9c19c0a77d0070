from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.core.errors import BusyError, WorkspaceError
from tasks.core.files import (
    check_writable,
    locked,
    publishing,
    read_json,
    storage_error,
    sweep,
    write_atomic,
    write_json,
)


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


def _left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _age(path: Path, days: float) -> None:
    for entry in (*path.rglob("*"), path):
        os.utime(entry, (time.time() - days * 86400,) * 2, follow_symlinks=False)


def _kill(folder: Path, code: str) -> None:
    """Run a process that kills itself in the middle of the work `code`."""
    script = (
        "import os, sys, signal; from pathlib import Path; from tasks.core import files\n"
        "folder = Path(sys.argv[1]); end = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script + code, str(folder)], check=False)
    assert done.returncode == -9


def test_what_killed_processes_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    kept = write_json(tmp_path / "a" / "b.json", {})
    _kill(tmp_path, "files.write_atomic(folder / 'a' / 'c.json', end)")
    _kill(
        tmp_path,
        "with files.publishing(folder / 'out') as part:\n (part / 'x').mkdir(); (part / 'x' / 'y').touch(); end()",
    )
    assert len(_left(tmp_path)) == 6
    assert sweep(tmp_path) == []
    left = list(tmp_path.rglob(".*"))
    _age(tmp_path, 2)
    assert sweep(tmp_path) == sorted(left)
    assert len(left) == 2
    assert _left(tmp_path) == ["a", "a/b.json"]
    assert kept.is_file()


def test_a_probe_of_a_killed_process_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".probe-01234567").touch()
    _age(tmp_path, 2)
    assert [path.name for path in sweep(tmp_path)] == [".probe-01234567"]


def test_a_folder_in_which_anything_has_just_changed_is_left_to_its_owner(tmp_path: Path) -> None:
    with publishing(tmp_path / "out") as part:
        (part / "train" / "ant").mkdir(parents=True)
        (part / ".a.01234567.part").touch()
        _age(part, 9)
        (part / "train" / "ant" / "1.jpg").touch()
        os.utime(part / "train" / "ant" / "1.jpg", (0, 0))  # as a hard link to an old photo
        assert sweep(tmp_path) == []
    assert _left(tmp_path) == ["out", "out/.a.01234567.part", "out/train", "out/train/ant", "out/train/ant/1.jpg"]


@pytest.mark.parametrize(
    "name",
    [
        "a.part",
        ".a.part",
        ".a.json.0123456.part",
        ".a.json.0123456g.part",
        ".probe",
        ".probes-01234567",
        "7.part",
        "a.b.01234567.part",
        ".a.01234567.part.bak",
    ],
)
def test_names_that_we_never_make_up_are_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    _age(tmp_path, 99)
    assert sweep(tmp_path) == []
    assert (tmp_path / name).exists()


def test_links_are_removed_themselves_and_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "workspace", tmp_path / "elsewhere"
    outside.mkdir()
    (outside / ".a.01234567.part").touch()
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / ".b.01234567.part").symlink_to(outside)
    _age(inside, 2)
    assert [path.name for path in sweep(inside)] == [".b.01234567.part"]
    assert (outside / ".a.01234567.part").exists()


def test_the_age_can_be_chosen_and_the_folder_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / ".a.01234567.part").touch()
    _age(tmp_path, 0.1)
    assert sweep(tmp_path / "nowhere") == []
    assert len(sweep(tmp_path, older=timedelta(hours=1))) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_what_may_not_be_removed_is_told(tmp_path: Path) -> None:
    (tmp_path / ".a.01234567.part").touch()
    _age(tmp_path, 2)
    tmp_path.chmod(0o500)
    with pytest.raises(WorkspaceError, match=r"\.part"):
        sweep(tmp_path)
