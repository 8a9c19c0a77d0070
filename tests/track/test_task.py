from __future__ import annotations

from pathlib import Path

from prefect.logging import disable_run_logger

from tasks.track.config import Origin, Tracker
from tasks.track.runs import client
from tasks.track.task import track_dataset, track_search, track_trials, track_winner


def test_a_whole_recipe_goes_through_the_tasks(
    tracker: Tracker, dataset: Path, collection: Path, verdicts: Path, search: Path, fit: Path, origin: Origin
) -> None:
    with disable_run_logger():
        logged = track_dataset.fn(
            tracker=tracker, dataset=str(dataset), collection=str(collection), verdicts=str(verdicts), origin=origin
        )
        opened = track_search.fn(
            tracker=tracker, search=str(search), dataset=str(dataset), params={"train": {"epochs": 3}}, origin=origin
        )
        parent = opened["run_id"]
        assert track_trials.fn(tracker=tracker, parent=parent, search=str(search)) == {"finished": 1, "failed": 1}
        closed = track_winner.fn(tracker=tracker, run_id=parent, fit=str(fit), dataset=str(dataset), origin=origin)
    assert closed == opened
    assert logged["run_id"] != parent
    run = client(tracker.uri).get_run(parent)
    assert run.data.metrics["test/accuracy"] == 0.5
    if tracker.uri.startswith("http"):
        assert opened["url"] == f"{tracker.uri}/#/experiments/{run.info.experiment_id}/runs/{parent}"
    else:
        assert opened["url"] == ""
