"""A collection with painted images, judged and split: what a report is made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from tasks.core.tables import CANDIDATES, LEDGER, MANIFEST, VERDICTS, conform, write_table
from tasks.core.workspace import Workspace
from tasks.split.config import SplitConfig
from tasks.split.report import write_report
from tasks.split.report.collected import Collected, read_collected

Row = dict[str, Any]


def _row(url: str, label: str = "bee", **changes: object) -> Row:
    """One address, stored and kept. `picture` names the image: the same name, the same bytes."""
    picture = str(changes.pop("picture", url))
    digest = hashlib.sha256(picture.encode())
    return {
        "url": url if "://" in url else f"https://photos.example/{url}.jpg",
        "label": label,
        "offered_label": label,
        "source": "list",
        "outcome": "kept",
        "verdict": "kept",
        "sha256": digest.hexdigest(),
        "cluster_id": digest.hexdigest(),
        "phash": int.from_bytes(digest.digest()[:8]),
        "verify_hash": digest.digest(),
        "format": "PNG",
        "width": 60,
        "height": 40,
        "bytes": 5000,
        "split": "train",
        "versions": "pillow=13",
        "fetched_at": datetime(2026, 1, 1, tzinfo=UTC),
    } | changes


@dataclass
class Scene:
    """The tables of one data set, and the folder of its collection."""

    workspace: Workspace
    verdicts: pl.DataFrame
    left_out: pl.DataFrame
    manifest: pl.DataFrame

    @property
    def collected(self) -> Collected:
        return read_collected(self.workspace.collection("insects"), self.verdicts, self.manifest)

    def write(self, folder: Path, **split: object) -> str:
        folder.mkdir(exist_ok=True)
        config = SplitConfig().model_dump(mode="json") | split
        path = write_report(
            folder, workspace=self.workspace, recipe="insects", verdicts=self.verdicts, left_out=self.left_out,
            manifest=self.manifest, dataset={"version": "4f00c0ffee001234", "digest": "d" * 64, "split": config},
        )  # fmt: skip
        assert path == folder / "report.html"
        return path.read_text(encoding="utf-8")


@pytest.fixture
def row() -> Callable[..., Row]:
    return _row


@pytest.fixture
def scene(workspace: Workspace) -> Callable[..., Scene]:
    """Write rows as a collection and paint their images. A row whose `split` is None is left out; `left` says why."""

    def write(rows: Sequence[Row], *, paint: bool = False) -> Scene:
        frame = pl.DataFrame(
            rows,
            infer_schema_length=None,
            schema_overrides={"phash": pl.UInt64(), "verify_hash": pl.Binary(), "left": pl.String()},
        )
        collection = workspace.collection("insects")
        write_table(
            conform(frame.filter(pl.col("verdict").ne_missing("gone")), CANDIDATES),
            collection / "candidates" / "0.parquet",
        )
        write_table(conform(frame.filter(pl.col("outcome").is_not_null()), LEDGER), collection / "ledger" / "0.parquet")
        stored = frame.filter(pl.col("outcome") == "kept")
        kept = stored.filter(pl.col("verdict") == "kept")
        left = kept.filter(pl.col("split").is_null())
        taken = kept.filter(pl.col("split").is_not_null())
        path = pl.concat_str("split", "label", pl.col("sha256") + ".png", separator="/")
        for number, sha256 in enumerate(stored["sha256"].unique(maintain_order=True)) if paint else ():
            target = workspace.image(sha256, "PNG")
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (60, 40), (40 * number % 256, 90, 160)).save(target)
        reasons = left.select("sha256", "label", pl.col("left").alias("reason")) if "left" in left.columns else None
        return Scene(
            workspace=workspace,
            verdicts=conform(stored.filter(pl.col("verdict").is_not_null()), VERDICTS),
            left_out=left.clear().select("sha256", "label", pl.lit("").alias("reason")) if reasons is None else reasons,
            manifest=conform(taken.with_columns(path.alias("path")), MANIFEST),
        )

    return write
