"""The flow `curate`: what must go is set aside, a data set version published, its run logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.events import emit_event

from flows.artifacts import balance_artifact, review_artifact, run_artifacts, verdicts_artifact
from flows.context import Context, open_context, run_name
from flows.latest import latest, remember
from flows.progress import say
from flows.review import is_step, wait_for_decisions
from tasks.core.files import sweep
from tasks.curate.task import curate_collection, draw_contact_sheet, list_for_review
from tasks.split.task import publish_dataset
from tasks.track.task import track_dataset


@flow(name="curate", flow_run_name=run_name)
def curate(recipe: str) -> dict[str, Any]:
    """Curate the collection and publish a data set version.

    Args:
        recipe: path of the recipe.

    Returns:
        The data set: version, path, digest, counts, whether it is new; and the `verdicts` by count. As a step of
        another flow, where a person has to decide first, only `review`: what waits.
    """
    context = open_context(recipe)
    for folder in (context.collection, context.workspace.datasets(context.recipe.name)):
        sweep(folder)
    curated = curate_collection(
        workspace=str(context.workspace.root),
        collection=str(context.collection),
        config=context.recipe.judged,
        labels=context.ordered_labels,
    )
    verdicts: dict[str, int] = curated["verdicts"]
    say("curate    " + ", ".join(f"{count} {name}" for name, count in verdicts.items()))
    review = list_for_review(
        workspace=str(context.workspace.root),
        collection=str(context.collection),
        verdicts=curated["path"],
        config=context.recipe.judged,
    )
    verdicts_artifact(context, verdicts)
    review_artifact(context, review)
    if review["open"] and context.recipe.curate.review == "required":
        if is_step():
            return {"review": review}
        wait_for_decisions(context, review)
    return _publish(context, curated)


def _publish(context: Context, curated: dict[str, Any]) -> dict[str, Any]:
    verdicts = curated["verdicts"]
    dataset = publish_dataset(
        workspace=str(context.workspace.root),
        recipe=context.recipe.name,
        verdicts=curated["path"],
        config=context.recipe.split,
        labels=tuple(sorted(context.ordered_labels)),
        decisions=curated["decisions_digest"],
    )
    sizes = ", ".join(f"{sum(of.values())} {split}" for split, of in dataset["counts"].items())
    say(f"split     version {dataset['version']} ({'new' if dataset['new'] else 'unchanged'}): {sizes}")
    if dataset["dealt_anew"]:
        say("split     dealt anew (seed, folds, splits or group_by changed): images that were in test may train")
    sheet = draw_contact_sheet(workspace=str(context.workspace.root), verdicts=curated["path"])
    run = track_dataset(
        tracker=context.tracker,
        dataset=dataset["path"],
        collection=str(context.collection),
        origin=context.origin,
        verdicts=curated["path"],
        sheet=sheet,
    )
    balance_artifact(context, dataset)
    run_artifacts(context, "dataset", run["url"], picture=f"dataset/{Path(sheet).name}", title="contact sheet")
    before = latest(context).get("dataset", {}).get("version")
    if dataset["version"] != before:  # before it is remembered: a kill between the two repeats it, and loses nothing
        emit_event(
            event="harvestman.dataset.published",
            resource={"prefect.resource.id": f"harvestman.dataset.{context.recipe.name}"},
            payload={"recipe": str(context.path), "version": dataset["version"], "images": dataset["images"]},
        )
    told = {"verdicts": verdicts, "verdicts_table": curated["path"], "run": run, "sheet": sheet}
    remember(context, dataset=dataset | told)
    return dataset | {"verdicts": verdicts}
