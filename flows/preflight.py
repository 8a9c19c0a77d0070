"""What can be known before a run begins: weights, workspace, servers. Imports no TensorFlow.

Sources are not looked at here: a run goes on without one that fails, as long as its classes are large enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from flows.recipe import Recipe
from flows.settings import Settings
from tasks.core.errors import DataError, HarvestmanError, ServerUnavailableError
from tasks.core.files import check_writable
from tasks.discover.config import AnySource
from tasks.models.backbones import find_weights
from tasks.models.config import ModelConfig
from tasks.track.seam import check_tracker
from tasks.tune.config import Choice

# What a source leads to: its API, and where its photos lie. A rehearsal has them at its own site.
_SITES = {
    "inaturalist": ("inaturalist",),
    "inaturalist_export": ("inaturalist_photos",),
    "inaturalist_open_data": ("inaturalist_photos", "s3"),
}
_S3 = "s3://"
TIMEOUT = 5.0  # seconds a server has to say that it is well


def problems(recipe: Recipe, settings: Settings, *, trains: bool = True) -> Iterator[HarvestmanError]:
    """Yield everything that would stop a run of `recipe` before its first source is asked.

    Args:
        recipe: the recipe.
        settings: the environment.
        trains: whether the run goes on to the training.
    """
    checks: list[Callable[[], object]] = [
        partial(_check_contact, recipe, settings),
        partial(_check_runner, settings),
        partial(check_writable, settings.folders.root),
        partial(_check_prefect, settings.prefect_api_url),
        partial(check_tracker, settings.tracking_uri),
    ]
    if trains:
        checks += [partial(check_weights, recipe, settings), partial(check_validation, recipe)]
    for check in checks:
        try:
            check()
        except HarvestmanError as error:
            yield error


def preflight(recipe: Recipe, settings: Settings, *, trains: bool = True) -> None:
    """Raise the first of the `problems`."""
    for problem in problems(recipe, settings, trains=trains):
        raise problem


def check_validation(recipe: Recipe) -> None:
    """Raise DataError where a training would have no images to choose by."""
    if "val" not in recipe.split.splits:
        raise DataError(
            f"The split of {recipe.name} has no validation images, and a training chooses by them.",
            received="split.val is 0",
            hint="Give `split.val` a share, or set `split.folds`. For the data set alone: "
            "harvestman run RECIPE --until curate",
        )


def _check_contact(recipe: Recipe, settings: Settings) -> None:
    """Look for a source whose site is not contacted by programs that do not say who runs them."""
    network = settings.network
    for _, source in recipe.asked:
        for api in _SITES.get(source.source, ()):
            address = urlsplit(network.api(api))
            network.check_contact(address.hostname or "", f"{address.path}/{_bucket(source)}")


def _bucket(source: AnySource) -> str:
    """Return the bucket that a source reads tables from; empty where it reads none."""
    place = str(getattr(source, "path", ""))
    return place.removeprefix(_S3).partition("/")[0] if place.startswith(_S3) else ""


def _check_runner(settings: Settings) -> None:
    if settings.task_runner != "threads":  # the others take a second to import
        from flows.runners import check_runner  # noqa: PLC0415 - see above

        check_runner(settings)


def check_weights(recipe: Recipe, settings: Settings) -> None:
    """Look for the weights of the recipe's model, and of each backbone, width and size its search may choose."""
    found = {dotted: domain.choice for dotted, domain in recipe.tune.space.items() if isinstance(domain, Choice)}
    names = ("backbone", "alpha", "weights", "image_size")
    varied = {f"model.{name}": found[f"model.{name}"] for name in names if f"model.{name}" in found}
    for values in itertools.product(*varied.values()):
        try:
            model = recipe.learn.override(dict(zip(varied, values, strict=True))).model
        except ValidationError:
            continue  # such a trial fails by itself and is told then
        _find(model, settings)


def _find(model: ModelConfig, settings: Settings) -> None:
    find_weights(
        model.backbone,
        alpha=model.alpha,
        size=model.image_size,
        weights=model.weights,
        folders=settings.weight_folders,
    )


def _check_prefect(api: str | None) -> None:
    if api is None:
        return  # a temporary server in this process
    try:
        httpx.get(f"{api.rstrip('/')}/health", timeout=TIMEOUT, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise ServerUnavailableError(
            f"The Prefect server at {api} does not answer.",
            received=f"{type(error).__name__}: {error}",
            hint="Start it (`harvestman up` starts one for this workspace), or unset PREFECT_API_URL.",
        ) from error
