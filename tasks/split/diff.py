"""What changed between two data set versions: images added, gone, moved, relabelled, put in another fold.

Reads two manifests and, for why an image is gone, what the new version left out and the verdicts it was made from;
writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import DataError
from tasks.core.files import read_json
from tasks.core.tables import DUPLICATE_BYTES, KEPT, MANIFEST, VERDICT_SLUGS, conform
from tasks.core.workspace import Workspace

MANIFEST_FILE = "manifest.parquet"
KINDS = ("added", "gone", "moved", "relabelled", "refolded")
NOT_OFFERED = "not-offered"  # no source told of the image when the new version was made

_COLUMNS = ("sha256", "label", "split", "fold", "url")
# Of several rows of one image the one that says why it is out: identical bytes only where nothing else is said.
_SAYS_LEAST = (DUPLICATE_BYTES, KEPT)
_WHY = (*(slug for slug in VERDICT_SLUGS if slug not in _SAYS_LEAST), *_SAYS_LEAST)


@dataclass(frozen=True)
class Diff:
    """What changed from one version to another. Tables are sorted by class, then SHA-256; an image may be in several.

    Those of moved, relabelled and refolded images are sorted by the new class.
    """

    old: dict[str, Any]
    """`version`, `digest` and `images` of the old one; `version` is the folder's name, `digest` may be None."""
    new: dict[str, Any]
    """The same of the new one."""
    added: pl.DataFrame
    """sha256, label, split, url."""
    gone: pl.DataFrame
    """sha256, label, split, url as they were, `reason` (a slug, null where nobody wrote it down) and `detail`."""
    moved: pl.DataFrame
    """sha256, label (the new one), `before`, `after`: splits."""
    relabelled: pl.DataFrame
    """sha256, split (the new one), `before`, `after`: classes."""
    refolded: pl.DataFrame
    """sha256, label (the new one), `before`, `after`: folds of the cross-validation, null = none."""
    classes: pl.DataFrame
    """A row a class, sorted: label, old, new (images), added, gone, moved, relabelled_to, relabelled_from, refolded.
    new = old + added - gone + relabelled_to - relabelled_from. Moved and refolded count in the new class."""

    @property
    def counts(self) -> dict[str, int]:
        """Images by kind of change."""
        return {kind: getattr(self, kind).height for kind in KINDS}

    @property
    def differs(self) -> bool:
        """Whether anything changed."""
        return any(self.counts.values())

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values: `old`, `new`, `counts`, `classes`, and a list for each kind of change."""
        tables = {kind: getattr(self, kind).to_dicts() for kind in KINDS}
        classes = {row.pop("label"): row for row in self.classes.to_dicts()}
        return {"old": self.old, "new": self.new, "counts": self.counts, "classes": classes, **tables}


def diff(old: Path, new: Path) -> Diff:
    """Return what changed from the version `old` to the version `new`, image by image.

    Args:
        old: a version's folder, or its manifest file.
        new: the same. Beside it lie left_out.parquet and dataset.json, and in its workspace the verdicts: they tell why
            images are gone. Without them the reasons are null.

    Raises:
        DataError: there is no manifest, or it cannot be read.
    """
    before, after = read_manifest(old), read_manifest(new)
    both = before.join(after, on="sha256", how="inner", suffix="_after").sort("label_after", "sha256")
    added, gone = (
        rows.join(others, on="sha256", how="anti").sort("label", "sha256").drop("fold")
        for rows, others in ((after, before), (before, after))
    )
    changes = {
        "added": added,
        "gone": gone.join(reasons(new, gone["sha256"]), on="sha256", how="left", maintain_order="left"),
        "moved": _changed(both, "split", beside="label"),
        "relabelled": _changed(both, "label", beside="split"),
        "refolded": _changed(both, "fold", beside="label"),
    }
    return Diff(
        old=_described(old, before), new=_described(new, after), classes=_by_class(before, after, changes), **changes
    )


def read_manifest(version: Path) -> pl.DataFrame:
    """Return sha256, label, split, fold and url of every image of a version: its folder, or its manifest file.

    Raises:
        DataError: there is no manifest, or it cannot be read.
    """
    path = _manifest_file(version)
    try:
        rows = pl.read_parquet(path)
        missing = {"sha256", "label", "split"} - set(rows.columns)
        return conform(rows, MANIFEST).select(_COLUMNS) if not missing else _refuse(path, missing)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{version} is no data set version.",
            received=f"{path.name}: {error}" if path.exists() else f"There is no {path}.",
            hint="A version is a folder below datasets/<recipe>/ of a workspace; it holds manifest.parquet.",
        ) from error


def _manifest_file(version: Path) -> Path:
    return version if version.suffix == ".parquet" else version / MANIFEST_FILE


def _refuse(path: Path, missing: set[str]) -> pl.DataFrame:
    raise DataError(
        f"{path} is no manifest of a data set.",
        received=f"It has no column {', '.join(sorted(missing))}.",
        hint="Name a version's folder, or the file manifest.parquet in it.",
    )


def _changed(both: pl.DataFrame, column: str, *, beside: str) -> pl.DataFrame:
    rows = both.filter(pl.col(column).ne_missing(pl.col(f"{column}_after")))
    return rows.select("sha256", pl.col(f"{beside}_after").alias(beside), before=column, after=f"{column}_after")


def _described(version: Path, manifest: pl.DataFrame) -> dict[str, Any]:
    folder = _manifest_file(version).parent
    about = folder / "dataset.json"
    digest = read_json(about).get("digest") if about.is_file() else None
    return {"version": folder.resolve().name, "digest": digest, "images": manifest.height}


def _by_class(before: pl.DataFrame, after: pl.DataFrame, changes: dict[str, pl.DataFrame]) -> pl.DataFrame:
    relabelled = changes["relabelled"]
    counted = {
        "old": before["label"],
        "new": after["label"],
        "added": changes["added"]["label"],
        "gone": changes["gone"]["label"],
        "moved": changes["moved"]["label"],
        "relabelled_to": relabelled["after"],
        "relabelled_from": relabelled["before"],
        "refolded": changes["refolded"]["label"],
    }
    classes = pl.concat([before.select("label"), after.select("label")]).unique().sort("label")
    for name, labels in counted.items():
        counts = labels.alias("label").to_frame().group_by("label").agg(pl.len().cast(pl.Int64).alias(name))
        classes = classes.join(counts, on="label", how="left", maintain_order="left")
    return classes.with_columns(pl.exclude("label").fill_null(0))


def reasons(version: Path, images: pl.Series) -> pl.DataFrame:
    """Return why each of `images` (SHA-256) is not in `version`: sha256, reason, detail, one row per image told of.

    What the split left out counts before what curation set aside. An image that the verdicts do not know is
    `not-offered`; without the tables there are no rows.
    """
    folder = _manifest_file(version).parent.resolve()
    left_out, verdicts = folder / "left_out.parquet", _verdicts_file(folder)
    asked = images.alias("sha256").to_frame().unique()
    told = [pl.DataFrame(schema={"sha256": pl.String(), "reason": pl.String(), "detail": pl.String()})]
    if left_out.is_file():
        rows = pl.read_parquet(left_out, columns=["sha256", "reason"])
        told.append(rows.with_columns(pl.lit(None, pl.String).alias("detail")))
    if verdicts is not None:
        rows = pl.read_parquet(verdicts)
        rows = rows if "detail" in rows.columns else rows.with_columns(pl.lit(None, pl.String).alias("detail"))
        told.append(rows.select("sha256", pl.col("verdict").alias("reason"), "detail").sort(_rank(), "detail"))
        told.append(
            asked.select("sha256", pl.lit(NOT_OFFERED).alias("reason"), pl.lit(None, pl.String).alias("detail"))
        )
    found = pl.concat(told).unique("sha256", keep="first", maintain_order=True)
    return asked.join(found, on="sha256", how="inner").sort("sha256")


def _rank() -> pl.Expr:
    return pl.col("reason").replace_strict(_WHY, range(len(_WHY)), default=len(_WHY), return_dtype=pl.Int64)


def _verdicts_file(folder: Path) -> Path | None:
    """Return the verdicts that a version of a workspace was made from, where they are still there."""
    about = folder / "dataset.json"
    if not about.is_file():
        return None
    dataset = read_json(about)
    if not {"recipe", "verdicts"} <= dataset.keys():
        return None
    collection = Workspace(folder.parents[2]).collection(dataset["recipe"])
    path = collection / "verdicts" / f"{dataset['verdicts']}.parquet"
    return path if path.is_file() else None
