from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.errors import DataError, WorkspaceError
from tasks.core.files import read_json
from tasks.core.fingerprint import file_digest, table_digest
from tasks.core.tables import MANIFEST
from tasks.core.workspace import Workspace
from tasks.split.config import SplitConfig
from tasks.split.publish import Dataset, publish

Row = Callable[..., dict[str, Any]]
Store = Callable[..., Path]

ROOT = Path(__file__).resolve().parents[2]
SHM = Path("/dev/shm")  # noqa: S108 - a file system of its own on Linux; the test makes a folder there and removes it
CONFIG = SplitConfig()
LABELS = ("bee", "wasp")


def _publish(workspace: Workspace, verdicts: Path, config: SplitConfig = CONFIG) -> tuple[Dataset, bool]:
    return publish(workspace, "insects", verdicts=verdicts, config=config, labels=LABELS)


def _rows(row: Row, count: int = 20) -> list[dict[str, Any]]:
    return [row(label, n, licence="cc-by" if n % 2 else None) for label in LABELS for n in range(count)]


def _tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_digest(path) for path in folder.rglob("*") if path.is_file()}


def test_a_version_is_a_manifest_and_a_folder_a_class_of_linked_files(
    row: Row, store: Store, workspace: Workspace
) -> None:
    rows = [*_rows(row), row("bee", 99, format="PNG"), row("bee", 98, verdict="near-duplicate")]
    dataset, new = _publish(workspace, store(rows))
    folder = workspace.datasets("insects") / dataset.version
    manifest = pl.read_parquet(folder / "manifest.parquet")
    assert new
    assert dict(manifest.schema) == MANIFEST
    assert manifest.height == dataset.images == 41
    files = {path for path in _tree(folder) if "/" in path}
    assert files == set(manifest["path"])
    for sha256, label, split, image_format, path in manifest.select(
        "sha256", "label", "split", "format", "path"
    ).iter_rows():
        stored = workspace.image(sha256, image_format)
        assert path == f"{split}/{label}/{stored.name}"
        assert (folder / path).samefile(stored)


def test_dataset_json_tells_digest_counts_licences_and_where_it_came_from(
    row: Row, store: Store, workspace: Workspace
) -> None:
    dataset, _ = _publish(workspace, store(_rows(row), fingerprint="feedc0de"))
    folder = workspace.datasets("insects") / dataset.version
    told = read_json(folder / "dataset.json")
    assert told["digest"] == table_digest(pl.read_parquet(folder / "manifest.parquet")) == dataset.digest
    assert told["counts"] == {
        "train": {"bee": 14, "wasp": 14},
        "val": {"bee": 3, "wasp": 3},
        "test": {"bee": 3, "wasp": 3},
    }
    assert told["licences"] == {"cc-by": 20, "unknown": 20}
    assert (told["recipe"], told["verdicts"], told["split"]) == ("insects", "feedc0de", CONFIG.model_dump())


def test_the_same_images_make_the_same_version_byte_for_byte_whatever_the_order(
    row: Row, store: Store, workspace: Workspace, tmp_path: Path
) -> None:
    rows = _rows(row)
    first, _ = _publish(workspace, store(rows))
    folder = workspace.datasets("insects") / first.version
    before = _tree(folder)
    folder.rename(tmp_path / "aside")
    rows = rows[1::2] + rows[::2][::-1]
    second, new = _publish(workspace, store(rows))
    assert new
    assert second == first
    assert _tree(folder) == before


def test_a_version_that_exists_is_returned_untouched_without_looking_at_images(
    row: Row, store: Store, workspace: Workspace
) -> None:
    rows = _rows(row)
    first, _ = _publish(workspace, store(rows))
    verdicts = store([*rows, row("bee", 98, verdict="near-duplicate")], fingerprint="1" * 16)
    (workspace.images).rename(workspace.root / "gone")
    again, new = _publish(workspace, verdicts)
    assert not new
    assert again == first


@pytest.mark.parametrize("change", ["image", "licence", "seed", "ratio", "label"])
def test_whatever_the_manifest_depends_on_makes_another_version(
    row: Row, store: Store, workspace: Workspace, change: str
) -> None:
    rows = _rows(row)
    first, _ = _publish(workspace, store(rows))
    config = {"seed": SplitConfig(seed=2), "ratio": SplitConfig(train=0.6, val=0.2, test=0.2)}.get(change, CONFIG)
    changed = {
        "image": [*rows, row("bee", 77)],
        "licence": [rows[0] | {"licence": "cc0"}, *rows[1:]],
        "label": [rows[0] | {"label": "wasp"}, *rows[1:]],
    }.get(change, rows)
    second, new = _publish(workspace, store(changed), config)
    assert new
    assert second.version != first.version


def test_neither_component_nor_cluster_nor_observation_crosses_splits(
    row: Row, store: Store, workspace: Workspace
) -> None:
    rows = []
    for n in range(90):
        tie = {"component": f"c{n // 4}", "cluster_id": f"k{n // 2}", "group_id": f"o{n // 4}"}
        rows.append(row(LABELS[n % 2], n, **tie))
    dataset, _ = _publish(workspace, store(rows))
    manifest = pl.read_parquet(workspace.datasets("insects") / dataset.version / "manifest.parquet")
    for column in ("component", "cluster_id", "group_id"):
        assert manifest.group_by(column).agg(pl.col("split").n_unique())["split"].max() == 1


def test_a_class_too_small_is_refused_with_what_became_of_its_addresses(
    row: Row, store: Store, workspace: Workspace
) -> None:
    lost = [row("wasp", 50 + n, outcome="not-found", verdict=None) for n in range(4)]
    unasked = [row("wasp", 60, outcome=None, verdict=None)]
    doubled = [row("wasp", 70, verdict="near-duplicate")]
    rows = [r for r in _rows(row, 9) if r["label"] == "bee"] + [row("wasp", 1), row("wasp", 2)]
    with pytest.raises(DataError) as caught:
        _publish(workspace, store([*rows, *lost, *unasked, *doubled]))
    assert caught.value.received == (
        "  wasp: 2 images in 2 groups, at least 3 groups are needed; "
        "its other addresses: 1 near-duplicate, 1 not asked yet, 4 not-found"
    )
    assert not workspace.datasets("insects").exists()


def test_an_image_missing_from_the_store_is_named_and_no_folder_is_left(
    row: Row, store: Store, workspace: Workspace
) -> None:
    rows = _rows(row)
    verdicts = store(rows)
    lost = workspace.image(rows[7]["sha256"], "JPEG")
    lost.unlink()
    with pytest.raises(WorkspaceError, match=lost.name):
        _publish(workspace, verdicts)
    assert list(workspace.datasets("insects").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_clear_error(row: Row, store: Store, workspace: Workspace) -> None:
    verdicts = store(_rows(row))
    (workspace.root / "datasets").write_text("a file where a folder should be")
    with pytest.raises(WorkspaceError, match="could not be written"):
        _publish(workspace, verdicts)


@pytest.mark.skipif(not SHM.is_dir(), reason="needs a second file system")
def test_images_on_another_device_are_copied(row: Row, store: Store, workspace: Workspace, tmp_path: Path) -> None:
    verdicts = store(_rows(row))
    elsewhere = SHM / f"harvestman-test-{os.getpid()}"
    elsewhere.mkdir()
    try:
        (workspace.root / "datasets").symlink_to(elsewhere)
        if elsewhere.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("both folders lie on one device")
        dataset, _ = _publish(workspace, verdicts)
        folder = elsewhere / "insects" / dataset.version
        manifest = pl.read_parquet(folder / "manifest.parquet")
        assert all(
            (folder / path).read_text() == sha256 for path, sha256 in manifest.select("path", "sha256").iter_rows()
        )
    finally:
        shutil.rmtree(elsewhere)


def test_killed_in_the_middle_leaves_no_version_and_the_next_run_makes_it(
    row: Row, store: Store, workspace: Workspace
) -> None:
    """The process kills itself, through an audit hook, when it is about to make its 25th link."""
    rows = _rows(row)
    verdicts = store(rows)
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tasks.core.workspace import Workspace\n"
        "from tasks.split.config import SplitConfig\n"
        "from tasks.split.publish import publish\n"
        "links = []\n"
        "def die(event, args):\n"
        "    if event == 'os.link':\n"
        "        links.append(args)\n"
        "        if len(links) == 25:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(die)\n"
        "publish(Workspace(Path(sys.argv[1])), 'insects', verdicts=Path(sys.argv[2]), config=SplitConfig(),\n"
        "        labels=('bee', 'wasp'))\n"
    )
    command = [sys.executable, "-c", code, str(workspace.root), str(verdicts)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = list(workspace.datasets("insects").iterdir())
    assert left
    assert all(path.name.startswith(".") for path in left)
    dataset, new = _publish(workspace, verdicts)
    assert new
    assert len(_tree(workspace.datasets("insects") / dataset.version)) == len(rows) + 2
