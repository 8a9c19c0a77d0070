"""The fish are frames of films: one film is one observation, and its frames resemble each other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.fingerprint import file_digest
from tasks.core.workspace import Workspace
from tasks.curate.config import CurateConfig, NearDuplicates
from tasks.curate.verdicts import curate
from tasks.ingest.inspect import inspect
from tasks.split.config import SplitConfig
from tasks.split.publish import Dataset, publish

pytestmark = pytest.mark.real

Row = dict[str, Any]
# Confirmed within 80 bits of 256, one cluster chains 280 frames of the same river bed over several species; within 40
# the largest holds 10.
NEAR = NearDuplicates(verify_radius=40)


@pytest.fixture(scope="module")
def frames(real_data: Path) -> list[tuple[Path, Row]]:
    """Return every frame and what the door says of it."""
    found = []
    for path in sorted((real_data / "photos" / "fish").glob("*/*.png")):
        seen, film = inspect(path, min_side=1, max_pixels=10**8), path.stem.partition("_frame")[0]
        facts = {"sha256": file_digest(path), "bytes": path.stat().st_size, "group_id": film, "url": path.as_uri()}
        found.append((path, vars(seen) | facts))
    return found


@pytest.fixture
def fish(frames: list[tuple[Path, Row]], row: Callable[..., Row], workspace: Workspace) -> list[Row]:
    """Return a row a frame, its image in the store."""
    for path, facts in frames:
        stored = workspace.image(facts["sha256"], facts["format"])
        stored.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, stored)
    return [row(path.parent.name, 0, **facts, verdict=None) for path, facts in frames]


def _publish(workspace: Workspace, verdicts: Path, near: NearDuplicates) -> tuple[Dataset, pl.DataFrame, pl.DataFrame]:
    """Judge and publish the collection that `verdicts` lies in; return data set, manifest and all verdicts."""
    labels = tuple(sorted(pl.read_parquet(verdicts.parents[1] / "candidates" / "0.parquet")["label"].unique()))
    curated = curate(verdicts.parents[1], CurateConfig(near_duplicates=near), labels=labels)
    dataset, _, _ = publish(workspace, "insects", verdicts=curated.path, config=SplitConfig(), labels=labels)
    manifest = pl.read_parquet(workspace.datasets("insects") / dataset.version / "manifest.parquet")
    return dataset, manifest, pl.read_parquet(curated.path)


@pytest.mark.parametrize("keep", ["best", "all"])
def test_no_cluster_or_observation_of_the_fish_crosses_a_split(
    fish: list[Row],
    store: Callable[..., Path],
    workspace: Workspace,
    keep: str,
) -> None:
    dataset, manifest, verdicts = _publish(workspace, store(fish), NEAR.model_copy(update={"keep": keep}))
    assert manifest.height > 850
    assert manifest["group_id"].n_unique() < manifest.height
    everything = verdicts.join(manifest.select("component", "split").unique(), on="component")
    for column in ("component", "cluster_id", "group_id"):
        assert everything.group_by(column).agg(pl.col("split").n_unique())["split"].max() == 1
    assert manifest.group_by("label").agg(pl.col("split").n_unique())["split"].to_list() == [3] * 7
    assert verdicts.filter(verdict="label-conflict").height < 20
    shares = [sum(dataset.counts[split].values()) / manifest.height for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.02)


def test_when_the_fish_grow_frame_by_frame_nothing_is_moved_or_exchanged_and_no_film_crosses(
    fish: list[Row], store: Callable[..., Path], workspace: Workspace
) -> None:
    """Half of the frames come later: of known films and new ones, and near-duplicates of both.

    One old frame goes: a new one of another species shows the same picture, and that is a label conflict.
    """
    early = [row for row in fish if row["sha256"] < "8"]
    _, before, _ = _publish(workspace, store(early), NEAR)
    dataset, after, verdicts = _publish(workspace, store(fish), NEAR)
    assert after.height > 1.5 * before.height
    conflicting = verdicts.filter(verdict="label-conflict")["sha256"]
    old = before.filter(~pl.col("sha256").is_in(conflicting.implode()))
    assert old.height >= before.height - 1
    assert old.join(after, on=["sha256", "label", "split", "path"], how="anti").is_empty()
    for column in ("component", "cluster_id", "group_id"):
        assert after.group_by(column).agg(pl.col("split").n_unique())["split"].max() == 1
    assert after.height + sum(dataset.left_out.values()) == verdicts.filter(verdict="kept").height
    assert sum(dataset.left_out.values()) < 0.05 * after.height
