"""What stands of a recipe, derived from the files of the workspace alone.

Reads candidates, ledger, verdicts, latest/<recipe>.json. `status` prints it, `demo` closes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.latest import latest
from flows.recipe import Recipe
from tasks.core.files import read_json
from tasks.core.tables import KEPT, read_candidates, read_ledger
from tasks.core.workspace import Workspace

MISSING = "missing.json"  # in a collection: the sources that failed when they were asked last


@dataclass(frozen=True)
class Standing:
    """A recipe in a workspace."""

    recipe: Recipe
    workspace: Workspace


def summarise(standing: Standing) -> dict[str, Any]:
    """Return counts of every stage and the model's figures, ready for JSON."""
    collection = standing.workspace.collection(standing.recipe.name)
    candidates, ledger = read_candidates(collection), read_ledger(collection)
    ledger = ledger.join(candidates.select("url").unique(), on="url", how="semi")
    known = latest(standing)
    return {
        "recipe": standing.recipe.name,
        "workspace": str(standing.workspace.root),
        "addresses": candidates["url"].n_unique(),
        "pending": candidates["url"].n_unique() - ledger.height,
        "outcomes": _counts(ledger, "outcome"),
        "classes": {
            label: {"addresses": count, "kept": kept}
            for label, count, kept in candidates.join(ledger.select("url", "outcome"), on="url", how="left")
            .group_by("label")
            .agg(pl.len().alias("n"), (pl.col("outcome") == KEPT).sum().alias("kept"))
            .sort("label")
            .iter_rows()
        },
        "missing": read_missing(collection),
        "dataset": known.get("dataset"),
        "model": _model(known.get("model")),
    }


def read_missing(collection: Path) -> list[str]:
    """Return what went wrong with sources when they were asked last."""
    path = collection / MISSING
    return list(read_json(path)) if path.is_file() else []


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(column).len().sort("len", column, descending=[True, False]).iter_rows())


def _model(model: dict[str, Any] | None) -> dict[str, Any] | None:
    if model is None:
        return None
    path = Path(model["fit"]) / "metrics.json"
    return model | {"figures": read_json(path) if path.is_file() else {}}


def show(summary: dict[str, Any], console: Console) -> None:
    """Print a summary for people."""
    console.print(Text(f"{summary['recipe']}  in {summary['workspace']}", style="bold"), soft_wrap=True)
    if not summary["addresses"]:
        console.print("Nothing has been collected yet: harvestman run RECIPE")
        return
    _outcomes(summary, console)
    if dataset := summary["dataset"]:
        _dataset(dataset, console)
    if model := summary["model"]:
        _figures(model, console)


def _titled(title: str, *columns: str) -> tuple[Text, Table]:
    return Text(f"\n{title}", style="bold"), Table(*columns, box=None, pad_edge=False)


def _outcomes(summary: dict[str, Any], console: Console) -> None:
    title, table = _titled("Addresses", "outcome", "addresses")
    for outcome, count in summary["outcomes"].items():
        table.add_row(outcome, str(count), style="green" if outcome == KEPT else None)
    if summary["pending"]:
        table.add_row("not asked yet", str(summary["pending"]), style="yellow")
    console.print(title, table)
    for text in summary["missing"]:
        console.print(Text(f"without {text.splitlines()[0]}", style="yellow"), soft_wrap=True)


def _dataset(dataset: dict[str, Any], console: Console) -> None:
    counts: dict[str, dict[str, int]] = dataset["counts"]
    title, table = _titled(f"Data set {dataset['version']}", "class", *counts)
    for label in sorted({label for of in counts.values() for label in of}):
        table.add_row(label, *(str(of.get(label, 0)) for of in counts.values()))
    console.print(title, table)
    _line("verdicts: " + ", ".join(f"{count} {name}" for name, count in dataset["verdicts"].items()), console)
    _line(f"images: {dataset['path']}", console)


def _figures(model: dict[str, Any], console: Console) -> None:
    registered = model["registered"]
    title, table = _titled(
        f"Model {registered['name']} version {registered['version']} ({', '.join(registered['aliases'])})",
        "split", "images", "accuracy", "macro-F1",
    )  # fmt: skip
    for split, row in model["figures"].items():
        table.add_row(split, f"{row['n']:.0f}", f"{row['accuracy']:.3f}", f"{row['macro_f1']:.3f}")
    console.print(title, table)
    chosen = (
        ", ".join(f"{name}={rounded(value)}" for name, value in model["overrides"].items()) or "the recipe as it is"
    )
    _line(f"{model['trials']} trials; the best: {chosen}", console)
    _line(f"report: {model['fit']}", console)
    if model["run"]["url"]:
        _line(f"MLflow: {model['run']['url']}", console)


def rounded(value: object) -> str:
    """Return a value as a person would write it: three digits are enough to tell learning rates apart."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _line(text: str, console: Console) -> None:
    console.print(Text(text, style="dim"), soft_wrap=True)
