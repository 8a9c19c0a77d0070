"""A data set version in the tracker: what it holds, what was refused on the way, under its digest.

Reads the manifest, dataset.json, report.html and CREDITS.csv of a published version, the ledger and the verdicts of
its collection. Writes one finished MLflow run a version.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from mlflow.entities import Dataset, DatasetInput, InputTag

from tasks.core.files import read_json
from tasks.core.tables import MANIFEST, VERDICTS, read_ledger, read_tables
from tasks.track.config import Origin, Tracker
from tasks.track.names import DIGEST_LENGTH, metric_name
from tasks.track.runs import (
    FINISHED,
    NOTE,
    ONE_BY_ONE,
    client,
    close_run,
    ended,
    log_figures,
    log_files,
    log_params,
    open_run,
    set_tags,
)
from tasks.track.seam import translating

_CONTEXT = "mlflow.data.context"
_FILES = ("manifest.parquet", "dataset.json", "report.html", "CREDITS.csv")  # older versions lack the last two


@dataclass(frozen=True)
class Published:
    """A published data set version: its folder, its rows, the digest of its manifest."""

    folder: Path
    manifest: pl.DataFrame
    digest: str

    @property
    def version(self) -> str:
        """The version: the name of the folder."""
        return self.folder.name

    @property
    def labels(self) -> list[str]:
        """The classes, sorted."""
        return sorted(self.manifest["label"].unique())

    def tags(self) -> dict[str, str]:
        """What every run that uses this version carries."""
        return {"harvestman.dataset": self.version, "harvestman.dataset_digest": self.digest}


def read_published(folder: Path) -> Published:
    """Read the data set version in `folder`."""
    manifest = read_tables([folder / "manifest.parquet"], MANIFEST)
    return Published(folder, manifest, str(read_json(folder / "dataset.json")["digest"]))


def log_input(tracker: Tracker, run_id: str, *, dataset: Published, name: str, context: str) -> None:
    """Name the data set as an input of a run; the same one again changes nothing.

    MLflow keeps 36 characters of a digest: these are the first 36 of the manifest's 64.
    """
    columns = [{"name": column, "type": "string", "required": False} for column in ("path", "sha256", "split", "label")]
    entity = Dataset(
        name=name,
        digest=dataset.digest[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": str(dataset.folder / "manifest.parquet")}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": dataset.manifest.height, "num_classes": len(dataset.labels)}),
    )
    with ONE_BY_ONE, translating(tracker.uri):
        client(tracker.uri).log_inputs(run_id, [DatasetInput(entity, [InputTag(_CONTEXT, context)])])


def log_dataset_run(
    tracker: Tracker,
    *,
    dataset: Path,
    collection: Path,
    origin: Origin,
    verdicts: Path | None = None,
    sheet: Path | None = None,
) -> str:
    """Log a published data set version as a run and return the run's id; a version logged before is left alone.

    Args:
        tracker: where.
        dataset: folder of the version.
        collection: folder with the ledger it was made from.
        origin: what made it.
        verdicts: the curation's table.
        sheet: a contact sheet of it.

    Raises:
        ServerUnavailableError: the tracker does not answer.
    """
    published = read_published(dataset)
    tags = {**origin.tags(), **published.tags(), "harvestman.kind": "dataset"}
    run = open_run(tracker, f"dataset:{published.version}", name=f"dataset-{published.version}", tags=tags)
    run_id = str(run.info.run_id)
    if ended(run):
        return run_id
    outcomes = outcome_table(collection, published.labels)
    figures = {**_sizes(published.manifest), **_totals("outcome", outcomes, "outcome")}
    if verdicts is not None:
        figures |= _totals("verdict", read_tables([verdicts], VERDICTS).group_by("verdict").len("n"), "verdict")
    log_params(tracker, run_id, {"recipe": origin.recipe, "version": published.version, "digest": published.digest,
                              "classes": str(len(published.labels))})  # fmt: skip
    log_figures(tracker, run, figures)
    log_input(tracker, run_id, dataset=published, name=origin.recipe, context="collected")
    log_files(tracker, run_id, [(dataset / name, "dataset") for name in _FILES])
    if sheet is not None:
        log_files(tracker, run_id, [(sheet, "dataset")])
    with translating(tracker.uri):
        client(tracker.uri).log_text(run_id, outcomes.write_csv(), "dataset/outcomes.csv")
    set_tags(tracker, run_id, {NOTE: _note(published, figures, origin)})
    close_run(tracker, run_id, FINISHED)
    return run_id


def outcome_table(collection: Path, labels: list[str]) -> pl.DataFrame:
    """Return how often each outcome befell the addresses of each of `labels`: label, outcome, n."""
    ledger = read_ledger(collection, "label", "outcome").filter(pl.col("label").is_in(labels))
    return ledger.group_by("label", "outcome").len("n").sort("label", "outcome")


def _sizes(manifest: pl.DataFrame) -> dict[str, float]:
    by_split = dict(manifest.group_by("split").len().iter_rows())
    by_class = dict(manifest.group_by("label").len().iter_rows())
    return {
        "images": float(manifest.height),
        **{metric_name("split", split): float(n) for split, n in sorted(by_split.items())},
        **{metric_name("class", label): float(n) for label, n in sorted(by_class.items())},
    }


def _totals(group: str, table: pl.DataFrame, column: str) -> dict[str, float]:
    totals = table.group_by(column).agg(pl.col("n").sum()).sort(column)
    return {metric_name(group, name): float(n) for name, n in totals.iter_rows()}


def _note(published: Published, figures: dict[str, float], origin: Origin) -> str:
    splits = ", ".join(
        f"{name.removeprefix('split/')} {n:.0f}" for name, n in figures.items() if name.startswith("split/")
    )
    return (
        f"Data set version `{published.version}` of **{origin.recipe}**: {published.manifest.height} images, "
        f"{len(published.labels)} classes ({splits}).{origin.note()}"
    )
