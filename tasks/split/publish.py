"""A data set version: the manifest and a folder a class in each split, there whole or not at all.

Reads a verdicts table and the image store (names only: files are hard-linked, no pixel is read); writes
datasets/<recipe>/<version>/{manifest.parquet, dataset.json, train|val|test/<class>/<sha256>.<ext>}.
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import WorkspaceError
from tasks.core.files import publishing, read_json, write_json
from tasks.core.fingerprint import fingerprint, table_digest
from tasks.core.tables import (
    KEPT,
    MANIFEST,
    VERDICTS,
    Schema,
    conform,
    read_candidates,
    read_ledger,
    read_tables,
    write_table,
)
from tasks.core.workspace import EXTENSIONS, Workspace
from tasks.split.assign import SPLITS, assign
from tasks.split.config import SplitConfig
from tasks.split.groups import check_sizes, groups_of, kept_rows

METHOD = 1  # raised whenever the same rows and configuration would be split otherwise than before
# A hard link cannot be made: another device, a file system without links, too many links, or links forbidden.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS}


@dataclass(frozen=True)
class Dataset:
    """A published data set version, as its dataset.json tells it."""

    recipe: str
    version: str
    digest: str
    """SHA-256 of the manifest's rows."""
    verdicts: str
    """Fingerprint of the verdicts it was first made from."""
    split: dict[str, Any]
    """The split configuration."""
    images: int
    counts: dict[str, dict[str, int]]
    """Images by split and class."""
    licences: dict[str, int]
    """Images by licence; `unknown` where none is stated."""


def publish(
    workspace: Workspace, recipe: str, *, verdicts: Path, config: SplitConfig, labels: tuple[str, ...]
) -> tuple[Dataset, bool]:
    """Split the kept images of `verdicts` and publish them, unless this very version exists.

    Args:
        workspace: where images, collections and data sets lie.
        recipe: the recipe's name.
        verdicts: address of the table `tasks.curate` wrote.
        config: the recipe's `split:` block.
        labels: classes of the recipe.

    Returns:
        The data set, and whether it is new.

    Raises:
        DataError: a class cannot be split; says which, how many groups it has and what became of the rest.
        WorkspaceError: the folder cannot be written, or an image is missing from the store.
    """
    table = read_tables([verdicts], VERDICTS)
    kept = kept_rows(table, labels)
    version = fingerprint(METHOD, config, sorted(labels), table_digest(conform(kept, _identity())))
    folder = workspace.datasets(recipe) / version
    if folder.exists():
        return read_dataset(folder), False
    check_sizes(kept, labels, lambda: set_aside(workspace.collection(recipe), table))
    manifest = build_manifest(kept, config)
    with publishing(folder) as part:
        _place_images(workspace, manifest, part)
        dataset = _describe(manifest, recipe=recipe, version=version, verdicts=verdicts.stem, config=config)
        write_json(part / "dataset.json", asdict(dataset))
        write_table(manifest, part / "manifest.parquet")
    return read_dataset(folder), True


def read_dataset(folder: Path) -> Dataset:
    """Return what the published folder says of itself."""
    return Dataset(**read_json(folder / "dataset.json"))


def build_manifest(kept: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    """Return the manifest of the kept rows of a verdicts table, sorted by split, label and SHA-256."""
    splits = assign(groups_of(kept), config)
    extension = pl.col("format").replace_strict(EXTENSIONS, default=pl.col("format").str.to_lowercase())
    name = pl.concat_str(pl.col("sha256"), pl.lit("."), extension)
    manifest = kept.with_columns(pl.col("sha256").replace_strict(splits).alias("split")).with_columns(
        pl.concat_str("split", "label", name, separator="/").alias("path")
    )
    return conform(manifest, MANIFEST).sort("split", "label", "sha256")


def set_aside(collection: Path, verdicts: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return for each class how many of its addresses gave no image to split, by reason."""
    outcomes = read_ledger(collection, "url", "outcome")
    fate = pl.col("outcome").fill_null("not asked yet").alias("reason")
    refused = read_candidates(collection).join(outcomes, on="url", how="left").select("label", fate)
    judged = verdicts.select("label", pl.col("verdict").alias("reason"))
    both = pl.concat([refused, judged]).filter(pl.col("reason") != KEPT).group_by("label", "reason").len()
    reasons: dict[str, dict[str, int]] = {}
    for label, reason, count in both.iter_rows():
        reasons.setdefault(label, {})[reason] = count
    return reasons


def _identity() -> Schema:
    """Return the manifest's columns that do not follow from the split."""
    return {name: dtype for name, dtype in MANIFEST.items() if name not in {"split", "path"}}


def _place_images(workspace: Workspace, manifest: pl.DataFrame, folder: Path) -> None:
    for split, label in manifest.select("split", "label").unique().iter_rows():
        (folder / split / label).mkdir(parents=True)
    for sha256, image_format, path in manifest.select("sha256", "format", "path").iter_rows():
        stored = workspace.image(sha256, image_format)
        try:
            _link(stored, folder / path)
        except FileNotFoundError as error:
            raise WorkspaceError(
                f"An image of the collection is missing from the store: {stored}",
                received="The ledger says that it was stored.",
                hint="Put it back from a copy of the workspace, or remove the collection's ledger folder: "
                "the next run then fetches what is missing.",
            ) from error


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)


def _describe(manifest: pl.DataFrame, *, recipe: str, version: str, verdicts: str, config: SplitConfig) -> Dataset:
    counts: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    for split, label, images in manifest.group_by("split", "label").len().sort("split", "label").iter_rows():
        counts[split][label] = images
    licences = manifest.group_by(pl.col("licence").fill_null("unknown")).len().sort("licence")
    return Dataset(
        recipe=recipe,
        version=version,
        digest=table_digest(manifest),
        verdicts=verdicts,
        split=config.model_dump(mode="json"),
        images=manifest.height,
        counts=counts,
        licences=dict(licences.iter_rows()),
    )
