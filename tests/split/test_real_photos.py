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
from tasks.split.publish import publish

pytestmark = pytest.mark.real


@pytest.mark.parametrize("keep", ["best", "all"])
def test_no_cluster_or_observation_of_the_fish_crosses_a_split(
    real_data: Path,
    row: Callable[..., dict[str, Any]],
    store: Callable[..., Path],
    workspace: Workspace,
    keep: Any,  # noqa: ANN401
) -> None:
    """The photos are video frames: one film is one observation, and its frames resemble each other.

    Confirmed within 80 bits of 256, one cluster chains 280 frames of the same river bed over several species;
    within 40 the largest holds 10.
    """
    rows = []
    for path in sorted((real_data / "photos" / "fish").glob("*/*.png")):
        seen, sha256 = inspect(path, min_side=1, max_pixels=10**8), file_digest(path)
        film = path.stem.partition("_frame")[0]
        facts = vars(seen) | {"sha256": sha256, "bytes": path.stat().st_size, "group_id": film, "url": path.as_uri()}
        rows.append(row(path.parent.name, 0, **facts))
        stored = workspace.image(sha256, seen.format)
        stored.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, stored)
    labels = tuple(sorted({r["label"] for r in rows}))
    verdicts = store([r | {"verdict": None} for r in rows])
    config = CurateConfig(near_duplicates=NearDuplicates(verify_radius=40, keep=keep))
    curated = curate(verdicts.parents[1], config, labels=labels)
    dataset, _ = publish(workspace, "insects", verdicts=curated.path, config=SplitConfig(), labels=labels)

    manifest = pl.read_parquet(workspace.datasets("insects") / dataset.version / "manifest.parquet")
    assert manifest.height > 850
    assert manifest["group_id"].n_unique() < manifest.height
    everything = pl.read_parquet(curated.path).join(manifest.select("component", "split").unique(), on="component")
    for column in ("component", "cluster_id", "group_id"):
        assert everything.group_by(column).agg(pl.col("split").n_unique())["split"].max() == 1
    assert manifest.group_by("label").agg(pl.col("split").n_unique())["split"].to_list() == [3] * 7
    assert curated.verdicts["label-conflict"] < 20
    shares = [sum(dataset.counts[split].values()) / manifest.height for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.02)
