"""What stands at the end of each stage of a recipe, so that the next stage and `status` find it.

Owns latest/<recipe>.json. Reads no Prefect, no TensorFlow, no MLflow.
"""

from __future__ import annotations

from typing import Any, Protocol

from flows.recipe import Recipe
from tasks.core.errors import DataError
from tasks.core.files import locked, read_json, write_json
from tasks.core.workspace import Workspace


class Place(Protocol):
    """A recipe in a workspace."""

    @property
    def recipe(self) -> Recipe:
        """The recipe."""

    @property
    def workspace(self) -> Workspace:
        """The workspace."""


def latest(place: Place) -> dict[str, Any]:
    """Return the newest `dataset` and `model` of a recipe; what does not exist yet is missing."""
    path = place.workspace.latest(place.recipe.name)
    return dict(read_json(path)) if path.is_file() else {}


def remember(place: Place, **what: object) -> None:
    """Replace what is known of the stages named."""
    path = place.workspace.latest(place.recipe.name)
    with locked(path.with_suffix(".lock"), path.name, wait=True):
        write_json(path, latest(place) | what)


def latest_dataset(place: Place) -> dict[str, Any]:
    """Return the newest data set version.

    Raises:
        DataError: none has been published.
    """
    found = latest(place).get("dataset")
    if not found:
        raise DataError(
            f"No data set of {place.recipe.name} has been published yet.",
            hint="Run the flow `pipeline` (or `collect`, then `curate`) first.",
        )
    return dict(found)
