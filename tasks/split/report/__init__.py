"""report.html of a data set version: what it holds, how it came about, what was refused, on one self-contained page.

Reads the collection, the verdicts and the image store (the shown images only); writes one file, the same bytes for the
same inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.files import write_text
from tasks.core.workspace import Workspace
from tasks.split.report.classes import balance, folds, shares
from tasks.split.report.clusters import Gallery, galleries
from tasks.split.report.collected import read_collected
from tasks.split.report.funnel import steps
from tasks.split.report.origins import creators, licences, sources
from tasks.split.report.page import render
from tasks.split.report.pictures import Tile, draw
from tasks.split.report.samples import contact_sheet, left_out_samples, refusals, set_aside
from tasks.split.report.sizes import bytes_histogram, side_histogram

REPORT = "report.html"


def write_report(
    folder: Path,
    *,
    workspace: Workspace,
    recipe: str,
    verdicts: pl.DataFrame,
    left_out: pl.DataFrame,
    manifest: pl.DataFrame,
    dataset: Mapping[str, Any],
) -> Path:
    """Write report.html of a data set into `folder` and return its address. It is smaller than 8 MB.

    Args:
        folder: where the version is being published.
        workspace: where the collection and the images lie; an image that cannot be read is shown as missing.
        recipe: the recipe's name.
        verdicts: the table of `tasks.curate`, schema VERDICTS.
        left_out: images the split left out: sha256, label, reason.
        manifest: the images of the version, schema MANIFEST.
        dataset: what dataset.json tells; `version`, `digest` and `split` are needed.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    figures = _figures(workspace.collection(recipe), verdicts=verdicts, left_out=left_out, manifest=manifest)
    config = dict(dataset["split"])
    figures |= {
        "recipe": recipe,
        "dataset": dataset,
        "split": config,
        "images": manifest.height,
        "shares": shares(manifest, config),
        "folds": folds(manifest),
        "pictures": draw(workspace, _tiles(figures)),
    }
    return write_text(folder / REPORT, render(figures))


def _figures(
    collection: Path, *, verdicts: pl.DataFrame, left_out: pl.DataFrame, manifest: pl.DataFrame
) -> dict[str, Any]:
    """Return what the tables alone tell."""
    manifest = manifest.sort("split", "label", "sha256")
    collected = read_collected(collection, verdicts, manifest)
    classes = balance(collected, manifest)
    near, conflicts = galleries(collected)
    return {
        "funnel": steps(collected, left_out, manifest),
        "gone": collected.gone["sha256"].n_unique(),
        "balance": classes,
        "histograms": (side_histogram(manifest), bytes_histogram(manifest, verdicts)),
        "licences": licences(manifest),
        "creators": creators(manifest),
        "sources": sources(collected, manifest),
        "sheet": contact_sheet(manifest, tuple(row.label for row in classes.rows)),
        "near_duplicates": near,
        "conflicts": conflicts,
        "set_aside": set_aside(collected),
        "refusals": refusals(collected),
        "left_out": left_out_samples(left_out, collected),
        "versions": collected.versions,
    }


def _tiles(figures: Mapping[str, Any]) -> list[Tile]:
    shown: tuple[Gallery, ...] = (figures["near_duplicates"], figures["conflicts"])
    samples = (*figures["sheet"].classes, *figures["set_aside"], *figures["left_out"])
    return [
        *(tile for gallery in shown for cluster in gallery.clusters for tile in cluster.tiles),
        *(tile for sample in samples for tile in sample.tiles),
    ]
