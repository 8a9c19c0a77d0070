"""A search in the tracker: one parent run, a child run a trial, the figures and pictures of the winner.

Reads a search's trials (trial.json, metrics.jsonl), a finished fit and its report. Every function may be
called again after a crash or an outage: it adds what is missing and nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Run

from tasks.core.files import read_json
from tasks.track.config import Origin, Tracker
from tasks.track.dataset import log_input, read_published
from tasks.track.names import flattened
from tasks.track.runs import (
    FAILED,
    FINISHED,
    NOTE,
    RUNNING,
    client,
    close_run,
    ended,
    find_run,
    log_figures,
    log_files,
    log_metrics,
    log_params,
    open_run,
    set_tags,
)
from tasks.track.seam import translating
from tasks.track.spool import read_spool

_REPORT = (
    "confusion.png",
    "curves.png",
    "per_class.png",
    "mistakes.png",
    "metrics.json",
    "per_class.csv",
    "confusion.csv",
)
_DATA = ("predictions.parquet", "history.csv", "fit.json")
_STATUS = {"COMPLETED": FINISHED, FINISHED: FINISHED, RUNNING: RUNNING}  # Keras Tuner's words; all others failed


def open_search_run(
    tracker: Tracker,
    *,
    search: Path,
    dataset: Path,
    params: Mapping[str, Any],
    origin: Origin,
    weights_sha256: str | None = None,
    name: str | None = None,
) -> str:
    """Open the parent run of the search in folder `search`, or find it again, and return its id.

    Args:
        tracker: where.
        search: the search's folder; its name is the fingerprint the run is found by.
        dataset: folder of the data set version it learns from.
        params: nested configuration; becomes dotted parameters.
        origin: what runs it.
        weights_sha256: of the pretrained weights, where there are any.
        name: shown in lists and comparisons; None = the search's fingerprint.

    Raises:
        ServerUnavailableError: the tracker does not answer.
    """
    published = read_published(dataset)
    weights = {"harvestman.weights_sha256": weights_sha256} if weights_sha256 else {}
    tags = {
        **origin.tags(),
        **published.tags(),
        **weights,
        "harvestman.search": search.name,
        "harvestman.kind": "search",
    }
    run = open_run(tracker, f"search:{search.name}", name=name or f"search-{search.name}", tags=tags)
    run_id = str(run.info.run_id)
    if run.info.status == FINISHED:
        return run_id
    _reopen(tracker, run)
    note = f"Search `{search.name}` on data set version `{published.version}` of **{origin.recipe}**.{origin.note()}"
    set_tags(tracker, run_id, {**tags, NOTE: note})  # a resumed search links to the flow run that resumed it
    log_params(tracker, run_id, flattened(params))
    log_input(tracker, run_id, dataset=published, name=origin.recipe, context="training")
    return run_id


def start_trial(tracker: Tracker, parent: str, *, trial: Path, overrides: Mapping[str, Any]) -> str:
    """Open the child run of a trial that begins now and return its id.

    Figures that an earlier, interrupted attempt at the same trial left behind would draw a second line
    through its curves, and MLflow cannot delete figures: that run is deleted, and the trial gets a new one.
    """
    identity = _identity(trial)
    found = find_run(tracker, identity)
    if found is not None and found.data.metrics:
        with translating(tracker.uri):
            client(tracker.uri).delete_run(found.info.run_id)
    run = _trial_run(tracker, parent, trial=trial)
    run_id = str(run.info.run_id)
    _reopen(tracker, run)
    log_params(tracker, run_id, flattened(overrides))
    return run_id


def log_trial(tracker: Tracker, parent: str, trial: Path) -> str:
    """Log the trial in folder `trial` from its spool, end its run unless it is still going, and return the run's id.

    Raises:
        ServerUnavailableError: the tracker does not answer.
    """
    facts = read_json(trial / "trial.json")
    status = _STATUS.get(str(facts.get("status", "")).upper(), FAILED)
    figures = read_spool(trial / "metrics.jsonl")
    run = _trial_run(tracker, parent, trial=trial, start=figures[0].timestamp if figures else None)
    run_id = str(run.info.run_id)
    if ended(run) and run.info.status == status:
        return run_id
    log_params(tracker, run_id, flattened(facts.get("overrides") or {}))
    end = _end(run, facts, figures)
    summary = {name: float(facts[name]) for name in ("score", "epochs", "seconds") if facts.get(name) is not None}
    last = figures[-1].step if figures else 0
    log_metrics(tracker, run_id, [*figures, *(Metric(key, value, end, last) for key, value in summary.items())])
    if facts.get("error"):
        set_tags(tracker, run_id, {"harvestman.error": str(facts["error"])})
    if status != RUNNING:
        close_run(tracker, run_id, status, end=end)
    return run_id


def log_trials(tracker: Tracker, parent: str, search: Path) -> dict[str, int]:
    """Log every trial of a search, in the order of their names; return how many ended how."""
    counts = {"finished": 0, "failed": 0}
    for facts in sorted((search / "trials").glob("*/trial.json")):
        status = _STATUS.get(str(read_json(facts).get("status", "")).upper(), FAILED)
        if status != RUNNING:
            log_trial(tracker, parent, facts.parent)
            counts["finished" if status == FINISHED else "failed"] += 1
    return counts


def close_search_run(tracker: Tracker, run_id: str, *, fit: Path, dataset: Path, origin: Origin) -> None:
    """Log the winner's figures, curves, pictures and tables to the parent run and finish it.

    Args:
        tracker: where.
        run_id: the parent run.
        fit: the winner's folder, its report written.
        dataset: folder of the data set version it learnt from.
        origin: what runs it.
    """
    with translating(tracker.uri):
        run = client(tracker.uri).get_run(run_id)
    if run.info.status == FINISHED and run.data.tags.get("harvestman.fit") == fit.name:
        return
    facts, report = read_json(fit / "fit.json"), read_json(fit / "metrics.json")
    figures = {f"{split}/{name}": float(value) for split, row in report.items() for name, value in row.items()}
    for name in ("best_epoch", "parameters", "seconds"):
        if facts.get(name) is not None:
            figures[name] = float(facts[name])
    log_figures(tracker, run, figures)
    log_metrics(tracker, run_id, read_spool(fit / "metrics.jsonl"))  # what came live is not doubled: same moments
    log_params(
        tracker, run_id, {f"winner.{name}": text for name, text in flattened(facts.get("overrides") or {}).items()}
    )
    log_files(tracker, run_id, [(fit / name, "report") for name in _REPORT])
    log_files(tracker, run_id, [*((fit / name, "fit") for name in _DATA), (dataset / "manifest.parquet", "fit")])
    set_tags(tracker, run_id, {
        **origin.tags(), "harvestman.fit": fit.name, "harvestman.winner": str(facts.get("trial_id", "")),
        NOTE: _note(run, facts, report) + origin.note(),
    })  # fmt: skip
    close_run(tracker, run_id, FINISHED)


def fail_search_run(tracker: Tracker, run_id: str, reason: str) -> None:
    """End the parent run as failed, with the reason as its tag `harvestman.error`."""
    set_tags(tracker, run_id, {"harvestman.error": reason})
    close_run(tracker, run_id, FAILED)


def _identity(trial: Path) -> str:
    return f"trial:{trial.parent.parent.name}:{trial.name}"


def _trial_run(tracker: Tracker, parent: str, *, trial: Path, start: int | None = None) -> Run:
    tags = {"harvestman.kind": "trial", "harvestman.search": trial.parent.parent.name, "harvestman.trial": trial.name}
    return open_run(tracker, _identity(trial), name=f"trial-{trial.name}", tags=tags, parent=parent, start=start)


def _reopen(tracker: Tracker, run: Run) -> None:
    if ended(run):
        with translating(tracker.uri):
            client(tracker.uri).update_run(run.info.run_id, status=RUNNING)


def _end(run: Run, facts: Mapping[str, Any], figures: list[Metric]) -> int:
    """When the trial ended: a fact of the trial, not of the moment it is logged, so a repetition agrees."""
    start = figures[0].timestamp if figures else run.info.start_time
    seconds = float(facts.get("seconds") or 0.0)
    return int(max(figures[-1].timestamp if figures else start, start + 1000 * seconds))


def _note(run: Run, facts: Mapping[str, Any], report: Mapping[str, Mapping[str, float]]) -> str:
    names = ("accuracy", "macro_f1", "balanced_accuracy", "log_loss")
    version = run.data.tags.get("harvestman.dataset", "?")
    lines = [
        f"Winner: trial `{facts.get('trial_id', '?')}` of `{run.info.run_name}`, data set version `{version}`.",
        "",
        "| split | images | " + " | ".join(names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    lines += [
        f"| {split} | {row['n']:.0f} | " + " | ".join(f"{row[name]:.3f}" for name in names) + " |"
        for split, row in report.items()
    ]
    overrides = flattened(facts.get("overrides") or {})
    lines += ["", *(f"- `{name}` = {value}" for name, value in sorted(overrides.items()))]
    return "\n".join(lines)
