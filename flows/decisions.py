"""`harvestman review` and `decide`: what waits for a person, and what a person said.

Reads the collection's newest verdicts, suspects and decisions; writes collections/<recipe>/review/ and decisions/, and
resumes the flow runs that have waited.
"""

from __future__ import annotations

import getpass
import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from flows.context import Context
from flows.recipe import load_recipe
from flows.settings import Settings
from flows.terminal import printable
from tasks.core.errors import DataError
from tasks.core.tables import read_ledger
from tasks.curate.decision_files import read_files
from tasks.curate.decisions import decisions_of, overruled, record, unheard
from tasks.curate.review import PICTURED, open_review
from tasks.curate.verdicts import curate

SHOWN = 20  # rows of the list that a terminal shows


def show_review(recipe: Path, settings: Settings, console: Console) -> None:
    """Judge the collection as it stands, write the review list and show it."""
    context = Context(load_recipe(recipe), recipe.resolve(), settings)
    review = _review(context)
    for row in review["rows"][:SHOWN]:
        line = f"{row['reason']:15} {row['class']:20} {row['suggested'] or '':20} {row['sha256'][:12]}  {row['url']}"
        console.print(Text(printable(line)), soft_wrap=True)
    if len(review["rows"]) > SHOWN:
        console.print(Text(f"and {len(review['rows']) - SHOWN} more", style="dim"))
    _tell_open(review, console)


def decide(recipe: Path, files: Sequence[Path], *, settings: Settings, by: str, console: Console) -> None:
    """Record the decisions in `files`, say what they change, and resume runs of the recipe once none is missing.

    Raises:
        SourceError: a file cannot be read or is wrong, or they contradict each other; nothing is recorded then.
        DataError: there is no decision in them.
    """
    context = Context(load_recipe(recipe), recipe.resolve(), settings)
    told = read_files(files, labels=context.ordered_labels, by=by)
    if told.is_empty():
        raise DataError(
            "There is no decision to record.",
            received=f"no row with a verdict in {', '.join(map(str, files))}",
            hint="Fill in the column `verdict`: keep, reject or relabel (with the class in `label`).",
        )
    new = unheard(context.collection, told).with_columns(pl.col("at").fill_null(datetime.now(UTC)))
    if new.height:
        _record(context, new, console)
    counts = [f"{number} {verdict}" for verdict, number in sorted(Counter(new["verdict"]).items())]
    known = told.height - new.height
    console.print(f"recorded: {', '.join(counts) or 'nothing new'}" + (f"; {known} known already" if known else ""))
    stored = set(read_ledger(context.collection, "sha256")["sha256"])
    unknown = sorted(set(told["sha256"]) - stored)
    if unknown:
        few = ", ".join(sha256[:12] for sha256 in unknown[:3])
        _tell(f"{len(unknown)} of them concern images that are not stored here (yet): {few}", console)
    review = _review(context)
    _tell_open(review, console)
    if not review["rows"]:
        _resume(context, console)


def _record(context: Context, new: pl.DataFrame, console: Console) -> None:
    """Record `new` decisions; tell which overrule others, and which are overruled by newer ones."""
    files, labels = context.recipe.judged.decisions, context.ordered_labels
    before = decisions_of(context.collection, files, labels=labels)
    record(context.collection, new, labels=labels)
    after = decisions_of(context.collection, files, labels=labels)
    holding = new.join(after, on=["sha256", "verdict", "by", "at"], how="semi", nulls_equal=True)
    for row in overruled(before, holding).iter_rows(named=True):
        now = _verdict(row["verdict"], row["label"])
        _tell(
            f"{row['sha256'][:12]}: {_verdict(row['was'], row['was_label'])} by {row['was_by']} is now {now}", console
        )
    for row in overruled(after, new.sort("at")).iter_rows(named=True):
        stays = _verdict(row["was"], row["was_label"])
        said = _verdict(row["verdict"], row["label"])
        _tell(f"{row['sha256'][:12]}: {said} has no effect, {stays} by {row['was_by']} is newer", console)


def _verdict(verdict: str, label: str | None) -> str:
    return f"{verdict} {label}" if verdict == "relabel" else verdict


def _resume(context: Context, console: Console) -> None:
    if not context.settings.prefect_api_url:
        return
    from flows.review import resume_waiting  # noqa: PLC0415 - imports Prefect

    for name in resume_waiting(context):
        console.print(f"resumed the flow run {name}", highlight=False)


def login() -> str:
    """Return who is logged in: a container's user need not stand in /etc/passwd."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _review(context: Context) -> dict[str, Any]:
    curated = curate(
        context.collection, context.recipe.judged, labels=context.ordered_labels, workspace=context.workspace
    )
    path, rows = open_review(context.workspace, context.collection, curated.path, config=context.recipe.judged)
    return {"path": path, "rows": rows.to_dicts()}


def _tell_open(review: dict[str, Any], console: Console) -> None:
    waiting = len(review["rows"])
    if not waiting:
        console.print("No image waits for a decision.")
        return
    console.print(f"{waiting} images wait for a decision: {review['path']}", highlight=False, soft_wrap=True)
    if waiting > PICTURED:
        _tell(f"the contact sheets beside it picture the first {PICTURED}, not the other {waiting - PICTURED}", console)
    _tell("fill in its column `verdict` (keep, reject, relabel), then: harvestman decide RECIPE FILE", console)


def _tell(text: str, console: Console) -> None:
    console.print(Text(text, style="dim"), soft_wrap=True)
