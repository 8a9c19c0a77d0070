"""The flow `train`: search, refit, evaluate, register, on the newest data set version.

Leaves at once, without loading TensorFlow, when exactly this has been done before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows.artifacts import metrics_artifact, run_artifacts
from flows.context import Context, open_context, run_name
from flows.latest import latest, latest_dataset, remember
from flows.preflight import check_validation
from flows.progress import say
from tasks.core import methods
from tasks.core.errors import DataError
from tasks.core.files import read_json
from tasks.core.fingerprint import file_digest, fingerprint
from tasks.curate.task import list_for_review, rank_suspects
from tasks.models.backbones import find_weights


@flow(name="train", flow_run_name=run_name)
def train(recipe: str) -> dict[str, Any]:
    """Tune and train on the newest data set version of `recipe`; register the winner.

    Returns:
        The model: `figures`, `overrides`, `registered`, `run`, `fit`, and how many `trials` there were.
    """
    context = open_context(recipe)
    check_validation(context.recipe)
    dataset = latest_dataset(context)
    _check_labels(context, dataset)
    weights = weights_of(context)
    key = _key(context, dataset, weights)
    model = latest(context).get("model")
    if model is None or model["key"] != key or not Path(model["fit"]).is_dir():
        from flows.learning import learn  # noqa: PLC0415 - loads TensorFlow, which a run with nothing new must not

        model = {"key": key, **learn(context, dataset, weights)}
        remember(context, model=model)
    else:
        say("train     nothing new: data set, recipe and weights are those of the model at hand")
    _list_suspects(context, dataset, model.get("folders"))
    figures = read_json(Path(model["fit"]) / "metrics.json")
    flat = {f"{split}/{name}": float(value) for split, row in figures.items() for name, value in row.items()}
    metrics_artifact(context, flat)
    run_artifacts(context, "search", model["run"]["url"], picture="report/confusion.png", title="confusion matrix")
    registered = model["registered"]
    say(
        f"register  {registered['name']} version {registered['version']} ({', '.join(registered['aliases'])}): "
        f"test macro-F1 {flat['test/macro_f1']:.3f}, accuracy {flat['test/accuracy']:.3f}"
    )
    return model | {"figures": flat}


def _list_suspects(context: Context, dataset: dict[str, Any], folders: dict[str, str] | None) -> None:
    """Rank what looks mislabelled or off-topic to the winner's backbone, and list it for review.

    Asked in every run, and done once: a run that was killed before it has left it to the next. What was trained and
    curated before there were suspects tells neither its `folders` nor its `verdicts_table`.
    """
    if not context.recipe.curate.suspects or folders is None or "verdicts_table" not in dataset:
        return
    if not Path(folders["features"]).is_dir():  # somebody has tidied up
        return
    try:
        found = rank_suspects(
            collection=str(context.collection),
            features=folders["features"],
            index=folders["prepared"],
            dataset=dataset["path"],
            seed=context.recipe.split.seed,
        )
    except DataError as error:  # the model stands without them
        say(f"suspects  none: {error.what}")
        return
    say(f"suspects  {found['mislabelled']} images look mislabelled, {found['off-topic']} off-topic")
    review = list_for_review(
        workspace=str(context.workspace.root),
        collection=str(context.collection),
        verdicts=dataset["verdicts_table"],
        config=context.recipe.judged,
    )
    if review["open"]:
        say(f"review    {review['open']} images to look at: {review['path']}")


def weights_of(context: Context) -> Path | None:
    """Return the weights file the recipe's model starts from, None for random ones.

    Raises:
        WeightsError: it is missing.
    """
    model = context.recipe.model
    return find_weights(
        model.backbone,
        alpha=model.alpha,
        size=model.image_size,
        weights=model.weights,
        folders=context.settings.weight_folders,
    )


def _key(context: Context, dataset: dict[str, Any], weights: Path | None) -> str:
    """Name all that decides the model, the code's version and where it is registered included."""
    recipe = context.recipe
    return fingerprint(
        dataset["digest"], recipe.learn, recipe.tune, recipe.evaluate, recipe.registered_name,
        file_digest(weights) if weights else None, context.tracker.uri,
        (methods.PIXELS, methods.FEATURES, methods.TRIAL, methods.FIT),
        methods.libraries("harvestman", "keras", "keras-tuner", "tensorflow", "tensorflow-cpu", "pillow"),
    )  # fmt: skip


def _check_labels(context: Context, dataset: dict[str, Any]) -> None:
    published = sorted({label for of in dataset["counts"].values() for label in of})
    if published != list(context.labels):
        raise DataError(
            f"The newest data set of {context.recipe.name} has other classes than the recipe.",
            received=f"{dataset['version']}: {', '.join(published)}; the recipe: {', '.join(context.labels)}",
            hint="Run the flow `pipeline` (or `curate`) with this recipe first.",
        )
