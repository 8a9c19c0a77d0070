"""The Prefect tasks that tell the tracker what has been done. Addresses and counts in and out.

Reads and writes what tasks.track.dataset and tasks.track.search do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task

from tasks.track.config import Origin, Tracker
from tasks.track.dataset import log_dataset_run
from tasks.track.runs import client, run_url
from tasks.track.seam import translating
from tasks.track.search import close_search_run, log_trials, open_search_run


@task(name="track-dataset")
def track_dataset(
    *,
    tracker: Tracker,
    dataset: str,
    collection: str,
    origin: Origin,
    verdicts: str | None = None,
    sheet: str | None = None,
) -> dict[str, str]:
    """Log a data set version; return its run's id and page."""
    run_id = log_dataset_run(
        tracker,
        dataset=Path(dataset),
        collection=Path(collection),
        origin=origin,
        verdicts=Path(verdicts) if verdicts else None,
        sheet=Path(sheet) if sheet else None,
    )
    return _found(tracker, run_id)


@task(name="track-search")
def track_search(
    *,
    tracker: Tracker,
    search: str,
    dataset: str,
    params: dict[str, Any],
    origin: Origin,
    weights_sha256: str | None = None,
    name: str | None = None,
) -> dict[str, str]:
    """Open the parent run of a search, or find it again; return its id and page."""
    run_id = open_search_run(
        tracker,
        search=Path(search),
        dataset=Path(dataset),
        params=params,
        origin=origin,
        weights_sha256=weights_sha256,
        name=name,
    )
    return _found(tracker, run_id)


@task(name="track-trials")
def track_trials(*, tracker: Tracker, parent: str, search: str) -> dict[str, int]:
    """Log every ended trial of a search that the tracker has not got yet; return how many ended how."""
    counts = log_trials(tracker, parent, Path(search))
    get_run_logger().info("track: %d trials finished, %d failed", counts["finished"], counts["failed"])
    return counts


@task(name="track-winner")
def track_winner(*, tracker: Tracker, run_id: str, fit: str, dataset: str, origin: Origin) -> dict[str, str]:
    """Log the winner of a search and finish its parent run; return its id and page."""
    close_search_run(tracker, run_id, fit=Path(fit), dataset=Path(dataset), origin=origin)
    return _found(tracker, run_id)


def _found(tracker: Tracker, run_id: str) -> dict[str, str]:
    with translating(tracker.uri):
        run = client(tracker.uri).get_run(run_id)
    url = run_url(tracker, run)
    get_run_logger().info("track: %s %s", run.info.run_name, url or run_id)
    return {"run_id": run_id, "url": url}
