"""A data set version: the manifest and a folder a class in each split, there whole or not at all.

Reads a verdicts table, the sides of earlier versions and the image store; writes the sides of this one into the
collection, then datasets/<recipe>/<version>/{manifest.parquet, left_out.parquet, dataset.json, CREDITS.csv,
report.html, train|val|test/<class>/<sha256>.<ext>}.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.core.errors import WorkspaceError
from tasks.core.files import locked, publishing, read_json, write_json
from tasks.core.fingerprint import fingerprint, table_digest
from tasks.core.history import published_rows, read_history, scan_facts, write_history
from tasks.core.tables import KEPT, VERDICTS, read_candidates, read_ledger, read_tables, write_table
from tasks.core.workspace import Workspace
from tasks.split.config import SplitConfig
from tasks.split.credits import write_credits
from tasks.split.groups import check_names, told
from tasks.split.manifest import Divided, divide
from tasks.split.report import write_report
from tasks.split.sides import line_of

METHOD = 2  # raised whenever the same manifest would be published as something else than before
# Not in the digest: what was not kept, and an image come and gone, may tie the same images in another way.
_TIES = ("component", "cluster_id")
# A hard link cannot be made: another device, a file system without links, too many links, or links forbidden.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS}


@dataclass(frozen=True)
class Dataset:
    """A published data set version, as its dataset.json tells it."""

    recipe: str
    version: str
    digest: str
    """SHA-256 of the manifest's rows without component and cluster_id."""
    verdicts: str
    """Fingerprint of the verdicts it was made from."""
    split: dict[str, Any]
    """The split configuration."""
    images: int
    counts: dict[str, dict[str, int]]
    """Images by split and class."""
    licences: dict[str, int]
    """Images by licence; `unknown` where none is stated."""
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    """Share of a class's images in each split, by class and split, 0 to 1."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Images kept by curation that could be on no side without a leak, by reason; left_out.parquet lists them."""
    line: str = ""
    """Versions of one line share the sides of their images; see `tasks.split.sides.line_of`."""
    decisions: str | None = None
    """Digest of the decisions of persons that were obeyed, that of an empty table where there were none; None = the
    caller told of none."""


class Published(NamedTuple):
    """What `publish` did."""

    dataset: Dataset
    """Of a version that existed: as its dataset.json tells it, but `verdicts`, `left_out` and `decisions` of now."""
    new: bool
    """Whether the version was published just now."""
    dealt_anew: bool
    """Whether there were versions, but none of this line: what was in test may now train."""


def publish(
    workspace: Workspace,
    recipe: str,
    *,
    verdicts: Path,
    config: SplitConfig,
    labels: tuple[str, ...],
    decisions: str | None = None,
) -> Published:
    """Split the kept images of `verdicts` and publish them, unless this very version exists.

    Images of earlier versions keep their sides. The sides of this one are written down before it is published, so
    that a process killed in between changes nothing: the next one arrives at the same version. What is left out, and
    who decided, makes no version of its own: a version is what can be trained on. Its folder tells what they were when
    it was first made, the answer tells what they are now.

    Args:
        workspace: where images, collections and data sets lie.
        recipe: the recipe's name.
        verdicts: address of the table `tasks.curate` wrote.
        config: the recipe's `split:` block.
        labels: classes of the recipe.
        decisions: digest of the decisions of persons behind the verdicts.

    Raises:
        DataError: a class cannot be split or cannot be a folder; says which and why.
        WorkspaceError: the folder cannot be written, or an image is missing from the store.
    """
    check_names(labels)
    table = read_tables([verdicts], VERDICTS)
    collection, line = workspace.collection(recipe), line_of(config)
    # Two processes that read the same history would each put new images where it likes.
    with locked(collection / "split.lock", f"the splits of {recipe}", wait=True):
        sides = read_history(collection)
        history = sides.filter(line=line)
        dealt_anew = bool(sides.height) and history.is_empty()
        facts = scan_facts(collection).select(told(config)).unique().collect(engine="streaming")
        parts = divide(
            table,
            config,
            labels=labels,
            history=history,
            facts=facts,
            set_aside=lambda: set_aside(collection, table),
        )
        dataset = describe(parts, recipe=recipe, config=config, verdicts=verdicts.stem, decisions=decisions)
        folder = workspace.datasets(recipe) / dataset.version
        if not (collection / "splits" / f"{dataset.version}.parquet").exists():
            rows = published_rows(collection, parts.manifest, table)
            write_history(collection, dataset.version, rows, line=line)
        new = not folder.exists()
        if new:
            _write(workspace, dataset, parts, verdicts=table, folder=folder)
    now = {name: getattr(dataset, name) for name in ("verdicts", "left_out", "decisions")}
    return Published(replace(read_dataset(folder), **now), new, dealt_anew)


def read_dataset(folder: Path) -> Dataset:
    """Return what the published folder says of itself."""
    return Dataset(**read_json(folder / "dataset.json"))


def describe(
    parts: Divided, *, recipe: str, config: SplitConfig, verdicts: str, decisions: str | None = None
) -> Dataset:
    """Return what is to be known of a version, its name included: the fingerprint of its manifest and configuration."""
    manifest, digest = parts.manifest, table_digest(parts.manifest.drop(_TIES))
    counts: dict[str, dict[str, int]] = {split: {} for split in config.splits}
    for split, label, images in manifest.group_by("split", "label").len().sort("split", "label").iter_rows():
        counts[split][label] = images
    licences = manifest.group_by(pl.col("licence").fill_null("unknown")).len().sort("licence")
    return Dataset(
        recipe=recipe,
        version=fingerprint(METHOD, config, digest),
        digest=digest,
        verdicts=verdicts,
        split=config.model_dump(mode="json"),
        images=manifest.height,
        counts=counts,
        licences=dict(licences.iter_rows()),
        shares=_shares(counts),
        left_out=dict(parts.left_out.group_by("reason").len().sort("reason").iter_rows()),
        line=line_of(config),
        decisions=decisions,
    )


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


def _shares(counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, float]]:
    labels = sorted({label for of in counts.values() for label in of})
    totals = {label: sum(of.get(label, 0) for of in counts.values()) for label in labels}
    return {
        label: {split: round(of.get(label, 0) / totals[label], 4) for split, of in counts.items()} for label in labels
    }


def _write(workspace: Workspace, dataset: Dataset, parts: Divided, *, verdicts: pl.DataFrame, folder: Path) -> None:
    about = asdict(dataset)
    with publishing(folder) as part:
        _place_images(workspace, parts.manifest, part)
        write_table(parts.left_out, part / "left_out.parquet")
        write_credits(parts.manifest, part / "CREDITS.csv")
        write_report(
            part,
            workspace=workspace,
            recipe=dataset.recipe,
            verdicts=verdicts,
            left_out=parts.left_out,
            manifest=parts.manifest,
            dataset=about,
        )
        write_json(part / "dataset.json", about)
        write_table(parts.manifest, part / "manifest.parquet")


def _place_images(workspace: Workspace, manifest: pl.DataFrame, folder: Path) -> None:
    """Put every image of `manifest` at its `path` below `folder`: hard links into the store, else copies."""
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
