"""`harvestman diff` as a person and a script meet it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from flows.diff import LISTED, find_version, show
from tasks.core.errors import DataError
from tasks.core.tables import MANIFEST, conform, write_table
from tasks.core.workspace import Workspace
from tasks.split.diff import diff


def _version(workspace: Workspace, recipe: str, name: str, *images: tuple[str, str, str]) -> Path:
    rows = pl.DataFrame(list(images), schema=["sha256", "label", "split"], orient="row")
    folder = workspace.datasets(recipe) / name
    write_table(conform(rows, MANIFEST), folder / "manifest.parquet")
    return folder


@pytest.fixture
def versions(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("HARVESTMAN_WORKSPACE", str(workspace.root))
    many = [(f"{number:064x}", "bee", "train") for number in range(LISTED + 5)]
    return [
        _version(workspace, "insects", "ab12", ("1" * 64, "wasp", "val")),
        _version(workspace, "insects", "ab34", ("1" * 64, "wasp", "val"), *many),
        _version(workspace, "insects", "cd56", ("1" * 64, "bee", "test"), ("2" * 64, "żuk", "train")),
        _version(workspace, "fish", "cd78", ("3" * 64, "perch", "train")),
    ]


def test_a_version_is_found_by_path_name_or_the_beginning_of_its_name(versions: list[Path]) -> None:
    assert find_version(str(versions[0])) == versions[0]
    assert find_version(str(versions[0] / "manifest.parquet")) == versions[0] / "manifest.parquet"
    assert find_version("ab12") == versions[0]
    assert find_version("ab3") == versions[1]
    assert find_version("cd", "fish") == versions[3]


def test_a_file_or_folder_that_is_no_version_does_not_win_over_a_name(
    versions: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ab1").write_text("a note")
    (tmp_path / "cd5").mkdir()
    assert find_version("ab1") == versions[0]
    assert find_version("cd5") == versions[2]


def test_an_exact_name_counts_before_longer_ones(versions: list[Path], workspace: Workspace) -> None:
    _version(workspace, "insects", "ab1234", ("1" * 64, "wasp", "val"))
    assert find_version("ab12") == versions[0]


@pytest.mark.parametrize(
    ("name", "recipe", "told", "listed"),
    [
        ("zz", None, "There is no data set version zz", ["fish/cd78", "insects/ab12", "insects/ab34", "insects/cd56"]),
        ("ab", None, "may be one of several", ["insects/ab12", "insects/ab34"]),
        ("cd", None, "may be one of several", ["fish/cd78", "insects/cd56"]),
        ("ab12", "fish", "There is no data set version ab12", ["fish/cd78"]),
        ("a", "birds", "There is no data set version a", ["no version"]),
    ],
)
@pytest.mark.usefixtures("versions")
def test_a_name_that_means_none_or_several_is_told_with_those_there_are(
    name: str, recipe: str | None, told: str, listed: list[str]
) -> None:
    with pytest.raises(DataError, match=told) as error:
        find_version(name, recipe)
    assert error.value.received.splitlines()[1:] == [f"  {line}" for line in listed]


def test_a_version_that_is_not_published_yet_is_none(versions: list[Path]) -> None:
    versions[0].rename(versions[0].with_name(".ab12.0f0f0f0f.part"))
    with pytest.raises(DataError):
        find_version("ab12")
    with pytest.raises(DataError):
        find_version(".ab12")


def _shown(old: Path, new: Path) -> str:
    stream = io.StringIO()
    show(diff(old, new), Console(file=stream, width=100))
    return stream.getvalue()


def test_people_see_a_table_of_classes_and_the_first_images_of_each_kind(versions: list[Path]) -> None:
    text = _shown(versions[0], versions[1])
    assert "25 added" in text
    assert text.count("train/bee") == LISTED
    assert "… and 5 more" in text
    assert "gone" not in text  # columns and lists without anything to say are left out
    assert "1 class unchanged" in text
    moved = _shown(versions[0], versions[2])
    assert "val -> test  (bee)" in moved
    assert "wasp -> bee  (test)" in moved
    assert "train/żuk" in moved
    assert _shown(versions[0], versions[0]).splitlines()[1:] == ["no difference"]


def test_class_names_cannot_speak_to_the_terminal(workspace: Workspace) -> None:
    old = _version(workspace, "r", "v1", ("1" * 64, "bee", "train"))
    new = _version(workspace, "r", "v2", ("1" * 64, "bee", "train"), ("2" * 64, "\x1b[31m[bold]x", "train"))
    text = _shown(old, new)
    assert "\x1b" not in text
    assert text.count("?[31m[bold]x") == 2


def _command(*arguments: str, workspace: Path, code: int) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "diff", *arguments],
        capture_output=True, text=True, check=False, env=os.environ | {"HARVESTMAN_WORKSPACE": str(workspace)},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_the_command_prints_json_and_tells_scripts_by_its_exit_code(versions: list[Path], workspace: Workspace) -> None:
    text, errors = _command("ab12", "cd56", "--json", "--exit-code", workspace=workspace.root, code=1)
    assert errors == ""
    assert json.loads(text) == diff(versions[0], versions[2]).as_json()
    text, _ = _command("ab12", str(versions[0]), "--exit-code", workspace=workspace.root, code=0)
    assert "no difference" in text
    _, errors = _command("ab12", "zz", workspace=workspace.root, code=1)
    assert "There is no data set version zz" in errors
