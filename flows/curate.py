"""The flow `curate`: duplicates and conflicts out, a data set version published, its run logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.events import emit_event

from flows.artifacts import balance_artifact, run_artifacts, verdicts_artifact
from flows.context import open_context, run_name
from flows.latest import latest, remember
from flows.progress import say
from tasks.curate.task import curate_collection, draw_contact_sheet
from tasks.split.task import publish_dataset
from tasks.track.task import track_dataset


@flow(name="curate", flow_run_name=run_name)
def curate(recipe: str) -> dict[str, Any]:
    """Curate the collection and publish a data set version.

    Args:
        recipe: path of the recipe.

    Returns:
        The data set: version, path, digest, counts, whether it is new; and the `verdicts` by count.
    """
    context = open_context(recipe)
    labels = context.labels
    curated = curate_collection(collection=str(context.collection), config=context.recipe.curate, labels=labels)
    verdicts: dict[str, int] = curated["verdicts"]
    say("curate    " + ", ".join(f"{count} {name}" for name, count in verdicts.items()))
    dataset = publish_dataset(
        workspace=str(context.workspace.root),
        recipe=context.recipe.name,
        verdicts=curated["path"],
        config=context.recipe.split,
        labels=labels,
    )
    sizes = ", ".join(f"{sum(of.values())} {split}" for split, of in dataset["counts"].items())
    say(f"split     version {dataset['version']} ({'new' if dataset['new'] else 'unchanged'}): {sizes}")
    sheet = draw_contact_sheet(workspace=str(context.workspace.root), verdicts=curated["path"])
    run = track_dataset(
        tracker=context.tracker,
        dataset=dataset["path"],
        collection=str(context.collection),
        origin=context.origin,
        verdicts=curated["path"],
        sheet=sheet,
    )
    verdicts_artifact(context, verdicts)
    balance_artifact(context, dataset)
    run_artifacts(context, "dataset", run["url"], picture=f"dataset/{Path(sheet).name}", title="contact sheet")
    before = latest(context).get("dataset", {}).get("version")
    if dataset["version"] != before:  # before it is remembered: a kill between the two repeats it, and loses nothing
        emit_event(
            event="harvestman.dataset.published",
            resource={"prefect.resource.id": f"harvestman.dataset.{context.recipe.name}"},
            payload={"recipe": str(context.path), "version": dataset["version"], "images": dataset["images"]},
        )
    remember(context, dataset=dataset | {"verdicts": verdicts, "run": run, "sheet": sheet})
    return dataset | {"verdicts": verdicts}
