"""Runs that are found again: each carries the tag `harvestman.id`, and the same id is never run twice.

Talks to MLflow through MlflowClient alone; no active run, no global address, so any thread may use it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException

from tasks.core.errors import StopError
from tasks.track.config import Tracker
from tasks.track.names import MAX_METRICS, MAX_PARAMS, batches
from tasks.track.seam import sqlite_file, translating

ID = "harvestman.id"
NOTE = "mlflow.note.content"
PARENT = "mlflow.parentRunId"
FINISHED, FAILED, RUNNING = "FINISHED", "FAILED", "RUNNING"

# Without it MLflow opens the experiment in its view for language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}

# Finding and creating must be one step for the threads of this process, whatever is created: MLflow answers
# the second of two with a violated constraint.
ONE_BY_ONE = threading.Lock()


@lru_cache(maxsize=8)
def client(uri: str) -> MlflowClient:
    """Return this process's client of the tracker (and registry) at `uri`."""
    with translating(uri):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment_id(tracker: Tracker) -> str:
    """Return the id of the tracker's experiment, made where missing.

    Raises:
        StopError: somebody has deleted the experiment.
    """
    mlflow = client(tracker.uri)
    with translating(tracker.uri):
        found = mlflow.get_experiment_by_name(tracker.experiment)
        if found is None:
            try:
                return str(mlflow.create_experiment(tracker.experiment, _artifacts(tracker), _KIND))
            except MlflowException as error:
                found = mlflow.get_experiment_by_name(tracker.experiment)  # another process was faster
                if found is None:
                    raise error from None
    if found.lifecycle_stage != "active":
        raise StopError(
            f"The MLflow experiment {tracker.experiment!r} has been deleted.",
            received=f"experiment {found.experiment_id} is {found.lifecycle_stage}",
            hint=f"Run `mlflow experiments restore --experiment-id {found.experiment_id}`, or rename the recipe.",
        )
    return str(found.experiment_id)


def _artifacts(tracker: Tracker) -> str | None:
    """Without a server MLflow would put artifacts into the current folder: put them beside the database."""
    file = sqlite_file(tracker.uri)
    return None if file is None else (file.parent / "mlartifacts" / quote(tracker.experiment)).as_uri()


def find_run(tracker: Tracker, identity: str) -> Run | None:
    """Return the run with this `harvestman.id`, the oldest where there are several; None where there is none."""
    mlflow = client(tracker.uri)
    experiment = experiment_id(tracker)
    with translating(tracker.uri):
        found = mlflow.search_runs([experiment], f"tags.`{ID}` = '{identity}'", order_by=["attributes.start_time ASC"])
    return found[0] if found else None


def open_run(
    tracker: Tracker,
    identity: str,
    *,
    name: str,
    tags: Mapping[str, str],
    parent: str | None = None,
    start: int | None = None,
) -> Run:
    """Return the run with this id: the one there is, or a new one.

    Args:
        tracker: where.
        identity: becomes the tag `harvestman.id`.
        name: what people see.
        tags: of a new run.
        parent: id of the run it belongs under.
        start: milliseconds since 1970; None = now.
    """
    with ONE_BY_ONE:
        found = find_run(tracker, identity)
        if found is not None:
            return found
        everything = {**tags, ID: identity, **({PARENT: parent} if parent else {})}
        experiment = experiment_id(tracker)
        with translating(tracker.uri):
            return client(tracker.uri).create_run(experiment, start_time=start, tags=everything, run_name=name)


def log_params(tracker: Tracker, run_id: str, params: Mapping[str, str]) -> None:
    """Log the parameters the run has not got yet: MLflow refuses to change one."""
    with ONE_BY_ONE, translating(tracker.uri):
        known = client(tracker.uri).get_run(run_id).data.params
        fresh = [Param(key, value) for key, value in params.items() if key not in known]
        for batch in batches(fresh, MAX_PARAMS):
            client(tracker.uri).log_batch(run_id, params=batch)


def log_metrics(tracker: Tracker, run_id: str, metrics: Iterable[Metric]) -> None:
    """Log metrics with their steps and times; the same ones again change nothing."""
    with translating(tracker.uri):
        for batch in batches(metrics, MAX_METRICS):
            client(tracker.uri).log_batch(run_id, metrics=batch)


def log_figures(tracker: Tracker, run: Run, figures: Mapping[str, float]) -> None:
    """Log single figures at step 0 with the run's own start time, so that a repetition adds nothing."""
    log_metrics(
        tracker, run.info.run_id, [Metric(key, value, run.info.start_time, 0) for key, value in figures.items()]
    )


def set_tags(tracker: Tracker, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags, replacing values they had."""
    with translating(tracker.uri):
        for batch in batches((RunTag(key, value) for key, value in tags.items()), MAX_PARAMS):
            client(tracker.uri).log_batch(run_id, tags=batch)


def log_files(tracker: Tracker, run_id: str, files: Iterable[tuple[Path, str | None]]) -> None:
    """Store files as artifacts, each in the folder given beside it; files that are not there are passed over."""
    for path, folder in files:
        if path.is_file():
            with translating(tracker.uri):
                client(tracker.uri).log_artifact(run_id, str(path), artifact_path=folder)


def close_run(tracker: Tracker, run_id: str, status: str, *, end: int | None = None) -> None:
    """End a run as FINISHED or FAILED at `end` (milliseconds since 1970; None = now)."""
    with translating(tracker.uri):
        client(tracker.uri).set_terminated(run_id, status=status, end_time=end)


def ended(run: Run) -> bool:
    """Whether a run has finished well or failed for good."""
    return bool(RunStatus.is_terminated(RunStatus.from_string(run.info.status)))


def run_url(tracker: Tracker, run: Run) -> str:
    """Return the page of a run, or "" where there is no server."""
    if sqlite_file(tracker.uri) is not None:
        return ""
    return f"{tracker.uri.rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
