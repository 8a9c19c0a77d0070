from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.errors import DataError, WorkspaceError
from tasks.core.files import locked, read_json
from tasks.core.fingerprint import file_digest, table_digest
from tasks.core.history import read_history
from tasks.core.tables import MANIFEST
from tasks.core.workspace import Workspace
from tasks.split.config import SplitConfig
from tasks.split.publish import Dataset, publish
from tasks.split.sides import line_of

Row = Callable[..., dict[str, Any]]
Store = Callable[..., Path]

ROOT = Path(__file__).resolve().parents[2]
SHM = Path("/dev/shm")  # noqa: S108 - a file system of its own on Linux; the test makes a folder there and removes it
CONFIG = SplitConfig()
LABELS = ("bee", "wasp")


def _publish(workspace: Workspace, verdicts: Path, config: SplitConfig = CONFIG) -> tuple[Dataset, bool]:
    dataset, new, _ = publish(workspace, "insects", verdicts=verdicts, config=config, labels=LABELS)
    return dataset, new


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
    files = _tree(folder).keys()
    assert {path for path in files if "/" in path} == set(manifest["path"])
    assert {path for path in files if "/" not in path} == {
        "manifest.parquet",
        "left_out.parquet",
        "dataset.json",
        "CREDITS.csv",
        "report.html",
    }
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
    assert told["digest"] == dataset.digest
    identity = pl.read_parquet(folder / "manifest.parquet").drop("component", "cluster_id")
    assert dataset.digest == table_digest(identity)
    assert told["counts"] == {
        "train": {"bee": 14, "wasp": 14},
        "val": {"bee": 3, "wasp": 3},
        "test": {"bee": 3, "wasp": 3},
    }
    assert told["shares"] == {label: {"train": 0.7, "val": 0.15, "test": 0.15} for label in LABELS}
    assert told["licences"] == {"cc-by": 20, "unknown": 20}
    assert (told["left_out"], told["line"], told["decisions"]) == ({}, line_of(CONFIG), None)
    assert (told["recipe"], told["verdicts"], told["split"]) == ("insects", "feedc0de", CONFIG.model_dump(mode="json"))


def test_the_same_images_make_the_same_version_byte_for_byte_whatever_the_order(
    row: Row, store: Store, workspace: Workspace, tmp_path: Path
) -> None:
    rows = _rows(row)
    first, _ = _publish(workspace, store(rows))
    folder = workspace.datasets("insects") / first.version
    before = _tree(folder)
    workspace.root.rename(tmp_path / "aside")
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
    workspace.images.rename(workspace.root / "gone")
    again, new = _publish(workspace, verdicts)
    assert not new
    assert again == replace(first, verdicts="1" * 16)


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


def _manifest(workspace: Workspace, dataset: Dataset) -> pl.DataFrame:
    return pl.read_parquet(workspace.datasets("insects") / dataset.version / "manifest.parquet")


def test_when_a_collection_grows_every_old_row_is_in_the_new_manifest_with_the_same_path(
    row: Row, store: Store, workspace: Workspace
) -> None:
    rows = _rows(row)
    first, _ = _publish(workspace, store(rows))
    grown = [*rows, *(row(label, 100 + n) for label in LABELS for n in range(17))]
    second, new = _publish(workspace, store(grown))
    before, after = _manifest(workspace, first), _manifest(workspace, second)
    assert new
    assert after.height == 74
    columns = ["sha256", "label", "split", "path"]
    assert before.join(after, on=columns, how="anti").is_empty()
    assert second.shares == {label: {"train": 0.7027, "val": 0.1351, "test": 0.1622} for label in LABELS}
    assert second.line == first.line


def test_other_ratios_keep_old_images_and_steer_new_ones(row: Row, store: Store, workspace: Workspace) -> None:
    rows = _rows(row)
    first, _ = _publish(workspace, store(rows))
    config = SplitConfig(train=0.4, val=0.2, test=0.4)
    same, _ = _publish(workspace, store(rows), config)
    assert same.version != first.version
    assert same.counts == first.counts
    grown = [*rows, *(row(label, 100 + n) for label in LABELS for n in range(20))]
    second, _ = _publish(workspace, store(grown), config)
    assert second.shares == {label: {"train": 0.4, "val": 0.2, "test": 0.4} for label in LABELS}


def test_another_seed_deals_all_images_anew_and_coming_back_finds_the_old_sides(
    row: Row, store: Store, workspace: Workspace
) -> None:
    verdicts = store(_rows(row))
    first, _ = _publish(workspace, verdicts)
    other, _ = _publish(workspace, verdicts, SplitConfig(seed=2))
    again, new = _publish(workspace, verdicts)
    columns = ["sha256", "split"]
    moved = _manifest(workspace, other).join(_manifest(workspace, first), on=columns, how="anti")
    assert moved.height > 5
    assert other.line != first.line
    assert (again, new) == (first, False)


def test_what_was_in_test_and_vanished_never_trains_when_it_comes_back(
    row: Row, store: Store, workspace: Workspace
) -> None:
    rows = _rows(row, 40)
    first, _ = _publish(workspace, store(rows))
    tested = set(_manifest(workspace, first).filter(split="test")["sha256"])
    gone = [r for r in rows if r["sha256"] not in tested or r["sha256"] == min(tested)]
    more = [row(label, 100 + n) for label in LABELS for n in range(20)]
    second, _ = _publish(workspace, store([*gone, *more]))
    assert not tested - {min(tested)} & set(_manifest(workspace, second)["sha256"])
    third, _ = _publish(workspace, store([*rows, *more]))
    back = _manifest(workspace, third).filter(pl.col("sha256").is_in(tested))
    assert (back.height, back["split"].unique().to_list()) == (12, ["test"])


def test_what_is_left_out_is_listed_with_its_reason_and_counted(row: Row, store: Store, workspace: Workspace) -> None:
    rows = _rows(row)
    first, _ = _publish(workspace, store(rows))
    sides = dict(_manifest(workspace, first).select("split", "sha256").iter_rows())
    ties = {sides["test"]: "o1", sides["train"]: "o2"}
    rows = [r | {"group_id": ties.get(r["sha256"])} for r in rows]
    bridge = row("bee", 99, group_id="o1", cluster_id="k")
    rows += [bridge, row("bee", 98, group_id="o2", cluster_id="k", verdict="near-duplicate"), row("bee", 97)]
    second, _ = _publish(workspace, store(rows))
    assert second.left_out == {"bridges-splits": 1}
    assert second.images == first.images + 1
    left_out = pl.read_parquet(workspace.datasets("insects") / second.version / "left_out.parquet")
    assert left_out.rows() == [(bridge["sha256"], "bee", "bridges-splits")]


def test_a_version_that_exists_is_told_with_what_is_left_out_now(row: Row, store: Store, workspace: Workspace) -> None:
    rows = _rows(row)
    first, _ = _publish(workspace, store(rows))
    sides = dict(_manifest(workspace, first).select("split", "sha256").iter_rows())
    near = {sides["test"], sides["train"]}
    rows = [r | ({"component": "c"} if r["sha256"] in near else {}) for r in rows]
    second, new = _publish(workspace, store([*rows, row("bee", 99, component="c")]))
    assert (second.version, new) == (first.version, False)
    assert second.left_out == {"bridges-splits": 1}
    assert read_json(workspace.datasets("insects") / first.version / "dataset.json")["left_out"] == {}


def test_a_new_copy_that_is_not_kept_makes_no_version(row: Row, store: Store, workspace: Workspace) -> None:
    """Curation names a component after its smallest image, kept or not: here one that sorts before all others."""
    rows = _rows(row)
    first, _ = _publish(workspace, store(rows))
    copy = row("bee", 98, sha256="0" * 64, verdict="near-duplicate")
    for tied in (rows[:1], rows[:2]):
        for of in (copy, *tied):
            of["component"] = copy["sha256"]
        assert _publish(workspace, store([*rows, copy], "1" * 16)) == (replace(first, verdicts="1" * 16), False)
    shutil.rmtree(workspace.datasets("insects"))
    shutil.rmtree(workspace.collection("insects") / "splits")
    rows[1]["component"] = rows[1]["sha256"]
    again, _ = _publish(workspace, store([*rows, copy]))
    assert again == first
    assert rows[0]["sha256"] in _manifest(workspace, again)["component"]
    assert copy["sha256"] not in _manifest(workspace, again)["component"]


def test_who_publishes_is_told_where_all_images_were_dealt_anew(row: Row, store: Store, workspace: Workspace) -> None:
    verdicts, other = store(_rows(row)), SplitConfig(seed=2)
    told = [
        publish(workspace, "insects", verdicts=verdicts, config=config, labels=LABELS).dealt_anew
        for config in (CONFIG, CONFIG, other, other, CONFIG)
    ]
    assert told == [False, False, True, False, False]


def test_two_splits_make_no_val_folder(row: Row, store: Store, workspace: Workspace) -> None:
    dataset, _ = _publish(workspace, store(_rows(row)), SplitConfig(train=0.8, val=0, test=0.2))
    folder = workspace.datasets("insects") / dataset.version
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["test", "train"]
    assert dataset.counts == {"train": {"bee": 16, "wasp": 16}, "test": {"bee": 4, "wasp": 4}}


def test_folds_are_in_the_manifest_and_fold_0_is_the_folder_val(row: Row, store: Store, workspace: Workspace) -> None:
    dataset, _ = _publish(workspace, store(_rows(row)), SplitConfig(train=0.8, val=0, test=0.2, folds=4))
    table = _manifest(workspace, dataset).group_by("split", "fold").len().sort("fold", "split", nulls_last=True)
    assert table.rows() == [("val", 0, 8), ("train", 1, 8), ("train", 2, 8), ("train", 3, 8), ("test", None, 8)]
    history = read_history(workspace.collection("insects"))
    assert history.group_by("fold").len().sort("fold").rows() == [(None, 8), (0, 8), (1, 8), (2, 8), (3, 8)]


@pytest.mark.parametrize(("labels", "fault"), [(("bee", "../wasp"), "wasp"), (("bee", "Bee"), "upper and lower case")])
def test_classes_that_cannot_be_folders_are_refused_before_anything_is_written(
    row: Row, store: Store, workspace: Workspace, labels: tuple[str, ...], fault: str
) -> None:
    verdicts = store([row(label, n) for label in labels for n in range(9)])
    with pytest.raises(DataError, match=fault):
        publish(workspace, "insects", verdicts=verdicts, config=CONFIG, labels=labels)
    assert not workspace.datasets("insects").exists()
    assert not (workspace.collection("insects") / "splits").exists()


def test_class_names_in_any_script_are_folders_as_they_are(row: Row, store: Store, workspace: Workspace) -> None:
    labels = ("паук", "クモ")
    verdicts = store([row(label, n) for label in labels for n in range(9)])
    dataset, _, _ = publish(workspace, "insects", verdicts=verdicts, config=CONFIG, labels=labels)
    folder = workspace.datasets("insects") / dataset.version
    assert {path.name for path in (folder / "train").iterdir()} == set(labels)


def test_who_decided_is_written_down_and_changes_no_version(row: Row, store: Store, workspace: Workspace) -> None:
    verdicts = store(_rows(row))
    dataset, _, _ = publish(workspace, "insects", verdicts=verdicts, config=CONFIG, labels=LABELS, decisions="d" * 16)
    assert dataset.decisions == "d" * 16
    assert _publish(workspace, verdicts) == (replace(dataset, decisions=None), False)
    assert read_json(workspace.datasets("insects") / dataset.version / "dataset.json")["decisions"] == "d" * 16


def test_sides_are_written_down_before_a_version_is_published(row: Row, store: Store, workspace: Workspace) -> None:
    rows = _rows(row)
    verdicts = store(rows)
    lost = workspace.image(rows[7]["sha256"], "JPEG")
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(WorkspaceError):
        _publish(workspace, verdicts)
    before = read_history(workspace.collection("insects"))
    assert before.height == 40
    lost.write_bytes(content)
    dataset, new = _publish(workspace, verdicts)
    assert new
    assert read_history(workspace.collection("insects")).equals(before)
    assert before["line"].unique().to_list() == [dataset.line]


def test_whoever_publishes_the_same_recipe_waits_its_turn(row: Row, store: Store, workspace: Workspace) -> None:
    """Both would read the same history, and each would put new images where it likes."""
    verdicts = store(_rows(row))
    lock = workspace.collection("insects") / "split.lock"
    with ThreadPoolExecutor(1) as pool:
        with locked(lock, "the splits of insects"):
            waiting = pool.submit(_publish, workspace, verdicts)
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
            assert not (workspace.collection("insects") / "splits").exists()
        assert waiting.result(60)[1]


def test_sides_of_a_version_that_exists_are_written_down_again_where_they_were_lost(
    row: Row, store: Store, workspace: Workspace
) -> None:
    verdicts = store(_rows(row))
    _publish(workspace, verdicts)
    before = read_history(workspace.collection("insects"))
    shutil.rmtree(workspace.collection("insects") / "splits")
    assert not _publish(workspace, verdicts)[1]
    assert read_history(workspace.collection("insects")).equals(before)


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


def test_sides_that_cannot_be_written_are_one_clear_error_and_no_version_is_left(
    row: Row, store: Store, workspace: Workspace
) -> None:
    verdicts = store(_rows(row))
    (workspace.collection("insects") / "splits").write_text("a file where a folder should be")
    with pytest.raises(WorkspaceError, match="could not be written"):
        _publish(workspace, verdicts)
    assert not workspace.datasets("insects").exists()


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
    assert len(_tree(workspace.datasets("insects") / dataset.version)) == len(rows) + 5
