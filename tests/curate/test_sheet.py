from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from tasks.core.workspace import Workspace
from tasks.curate.config import CurateConfig
from tasks.curate.sheet import pick, write_sheet
from tasks.curate.verdicts import curate

Row = Callable[..., dict[str, Any]]
LABELS = ("bee", "wasp")


def _verdicts(row: Row, collect: Callable[..., Path]) -> Path:
    rows = [row(f"u{n:02}", "bee", f"bee{n}") for n in range(11)] + [row("w", "wasp", "wasp"), row("x", "wasp", "wasp")]
    return curate(collect(rows), CurateConfig(), labels=LABELS).path


def test_the_choice_is_spread_over_each_class_and_always_the_same(row: Row, collect: Callable[..., Path]) -> None:
    verdicts = pl.read_parquet(_verdicts(row, collect))
    chosen = pick(verdicts, 3)
    assert chosen["url"].to_list() == ["u00", "u05", "u10", "w"]
    assert pick(verdicts.reverse(), 3).equals(chosen)
    assert pick(verdicts.clear(), 3).is_empty()


def test_the_sheet_lies_beside_the_verdicts(row: Row, collect: Callable[..., Path], workspace: Workspace) -> None:
    verdicts = _verdicts(row, collect)
    for sha256 in pl.read_parquet(verdicts)["sha256"].unique():
        path = workspace.image(sha256, "JPEG")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 60), (200, 30, 30)).save(path)
    sheet = write_sheet(workspace, verdicts, per_class=4)
    assert sheet == verdicts.with_suffix(".png")
    with Image.open(sheet) as image:
        assert image.width == 4 * 136
        assert image.height == 2 * 152
