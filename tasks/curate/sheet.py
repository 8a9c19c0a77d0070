"""The contact sheet of what was kept: a few images of each class, so that a person can look.

Reads a verdicts table and the image store; writes the sheet beside the table.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tasks.core.files import write_atomic
from tasks.core.sheet import contact_sheet
from tasks.core.tables import KEPT, VERDICTS, read_tables
from tasks.core.thumbnails import spread
from tasks.core.workspace import Workspace

TILE = 128  # pixels


def pick(verdicts: pl.DataFrame, per_class: int) -> pl.DataFrame:
    """Return up to `per_class` kept rows of each class, evenly spread over its addresses, always the same ones."""
    kept = verdicts.filter(pl.col("verdict") == KEPT).sort("label", "url")
    chosen = [spread(group, per_class) for group in kept.partition_by("label", maintain_order=True)]
    return pl.concat([kept.clear(), *chosen])


def write_sheet(workspace: Workspace, verdicts: Path, *, per_class: int = 8) -> Path:
    """Draw the sheet of the verdicts table `verdicts`, unless it is drawn; return its address, `<verdicts>.png`.

    Raises:
        WorkspaceError: the sheet cannot be written.
    """
    target = verdicts.with_suffix(".png")
    if target.is_file():
        return target
    rows = pick(read_tables([verdicts], VERDICTS), per_class)
    pictures = [
        (label, workspace.image(sha256, image_format))
        for label, sha256, image_format in rows.select("label", "sha256", "format").iter_rows()
    ]
    sheet = contact_sheet(pictures, columns=per_class, tile=TILE)
    return write_atomic(target, lambda stream: stream.write(sheet))
