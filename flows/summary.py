"""What stands of a recipe, derived from the files of the workspace alone.

Reads candidates, ledger, verdicts, latest/<recipe>.json. `status` prints it, `demo` closes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.addresses import count_addresses, read_addresses
from flows.latest import latest
from flows.recipe import Recipe
from flows.terminal import printable
from tasks.core.files import read_json
from tasks.core.tables import KEPT
from tasks.core.workspace import Workspace

MISSING = "missing.json"  # in a collection: the sources that failed when they were asked last
SHOWN = 10  # rows of a table of hosts or classes that people are shown; --json has them all


@dataclass(frozen=True)
class Standing:
    """A recipe in a workspace."""

    recipe: Recipe
    workspace: Workspace


def summarise(standing: Standing) -> dict[str, Any]:
    """Return counts of every stage and the model's figures, ready for JSON; docs/ingest.md names the keys."""
    recipe, collection = standing.recipe, standing.workspace.collection(standing.recipe.name)
    known = latest(standing)
    return {
        "recipe": recipe.name,
        "workspace": str(standing.workspace.root),
        **count_addresses(read_addresses(collection), retry_after_hours=recipe.ingest.retry_after_hours),
        "missing": read_missing(collection),
        "dataset": known.get("dataset"),
        "model": _model(known.get("model")),
    }


def read_missing(collection: Path) -> list[str]:
    """Return what went wrong with sources when they were asked last."""
    path = collection / MISSING
    return list(read_json(path)) if path.is_file() else []


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
    _retry(summary["retry"], console)
    _classes(summary["classes"], console)
    _hosts(summary, console)
    if dataset := summary["dataset"]:
        _dataset(dataset, console)
    if model := summary["model"]:
        _figures(model, console)


@dataclass
class _Listing:
    """A table under its title, of which people see the first rows."""

    title: str
    columns: Sequence[str]

    def print(self, rows: Sequence[Sequence[str]], console: Console, *, styles: Sequence[str] = ()) -> None:
        """Print at most SHOWN of `rows`, each in its style, and how many more there are."""
        table = Table(*self.columns, box=None, pad_edge=False)
        for number, row in enumerate(rows[:SHOWN]):
            # As text: a host such as [::1]:8000 would be read as markup, and servers had a say in the reasons.
            cells = (Text(printable(cell), overflow="ellipsis", no_wrap=True) for cell in row)
            table.add_row(*cells, style=styles[number] if styles else None)
        console.print(Text(f"\n{self.title}", style="bold"), table)
        if len(rows) > SHOWN:
            _line(f"and {len(rows) - SHOWN:,} more (all of them: --json)", console)


def _outcomes(summary: dict[str, Any], console: Console) -> None:
    # All of them: there are two dozen at the most.
    table = Table("outcome", "addresses", "most frequent reason", box=None, pad_edge=False)
    for outcome, count in summary["outcomes"].items():
        reason = _reason(summary["reasons"].get(outcome), count)
        table.add_row(
            outcome,
            str(count),
            Text(reason, style="dim", overflow="ellipsis", no_wrap=True),
            style="green" if outcome == KEPT else None,
        )
    if summary["pending"]:
        table.add_row("not asked yet", str(summary["pending"]), style="yellow")
    console.print(Text("\nAddresses", style="bold"), table)
    for text in summary["missing"]:
        console.print(Text(f"without {printable(text.splitlines()[0])}", style="yellow"), soft_wrap=True)
    opted = summary["opted_out"]
    if any(opted.values()):
        _line(f"opted out: {opted['robots_txt']} by robots.txt, {opted['robots_tag']} by X-Robots-Tag", console)


def _reason(found: dict[str, Any] | None, count: int) -> str:
    """Return the most frequent reason; one that stands for less than half of them is an example."""
    if found is None:
        return ""
    times = found["addresses"]
    told = printable(found["reason"])
    return told if times == count else f"{told} ({times} of {count})" if 2 * times > count else f"e.g. {told}"


def _retry(retry: dict[str, dict[str, Any]], console: Console) -> None:
    if not retry:
        return
    rows = [
        (outcome, f"{row['addresses']}", _moment(row["since"]), _moment(row["due"])) for outcome, row in retry.items()
    ]
    columns = ("outcome", "addresses", "since", "a run asks again from")
    _Listing("May have passed", columns).print(rows, console)
    _line(f"at once: harvestman run RECIPE --retry {','.join(retry)}", console)


def _moment(iso: str) -> str:
    return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M %Z}"


def _classes(classes: dict[str, dict[str, Any]], console: Console) -> None:
    ordered = sorted(classes.items(), key=lambda item: (item[1]["kept"], item[0]))
    rows = [
        (label, f"{row['addresses']}", f"{row['kept']}", f"{row['refused']}", row["refusal"] or "")
        for label, row in ordered
    ]
    title = "Classes, those with the fewest images first"
    _Listing(title, ("class", "addresses", "kept", "refused", "mostly")).print(rows, console)


def _hosts(summary: dict[str, Any], console: Console) -> None:
    rows = [
        (host, f"{row['addresses']}", f"{row['kept']}", f"{row['refused']}", row["refusal"] or "",
         _seconds(row["seconds"]), f"{row['received'] / 1e6:,.1f}")
        for host, row in summary["hosts"].items()
    ]  # fmt: skip
    columns = ("host", "addresses", "kept", "refused", "mostly", "median s", "MB received")
    _Listing("Hosts", columns).print(rows, console)
    if len(rows) == 1:  # nothing to compare it with
        return
    if slow := [(row["host"], _seconds(row["seconds"]), f"{row['answers']}") for row in summary["slowest"]]:
        _Listing("Slowest hosts", ("host", "median s", "answers")).print(slow, console)
    refusing = [
        (row["host"], f"{row['share']:.0%}", f"{row['refused']} of {row['addresses']}", row["refusal"])
        for row in summary["most_refusing"]
    ]
    if refusing:
        _Listing("Most refusing hosts", ("host", "refused", "addresses", "mostly")).print(refusing, console)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


def _dataset(dataset: dict[str, Any], console: Console) -> None:
    counts: dict[str, dict[str, int]] = dataset["counts"]
    labels = sorted({label for of in counts.values() for label in of})
    rows = [(label, *(str(of.get(label, 0)) for of in counts.values())) for label in labels]
    _Listing(f"Data set {dataset['version']}", ("class", *counts)).print(rows, console)
    _line("verdicts: " + ", ".join(f"{count} {name}" for name, count in dataset["verdicts"].items()), console)
    _line(f"images: {dataset['path']}", console)


def _figures(model: dict[str, Any], console: Console) -> None:
    registered = model["registered"]
    title = f"Model {registered['name']} version {registered['version']} ({', '.join(registered['aliases'])})"
    rows = [
        (split, f"{row['n']:.0f}", f"{row['accuracy']:.3f}", f"{row['macro_f1']:.3f}")
        for split, row in model["figures"].items()
    ]
    _Listing(title, ("split", "images", "accuracy", "macro-F1")).print(rows, console)
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
