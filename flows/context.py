"""What every flow begins with: the recipe, the settings, the folders, the tracker, where the run came from."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import polars as pl
import prefect.runtime
from pydantic import SecretStr

from flows.recipe import Recipe, load_recipe
from flows.settings import Settings, read_settings
from tasks.core.errors import HarvestmanError
from tasks.core.tables import read_candidates
from tasks.core.workspace import Workspace
from tasks.discover.config import AnySource
from tasks.discover.found import Ask
from tasks.discover.labels import Classes, classes_of
from tasks.track.config import Origin, Tracker


@dataclass(frozen=True)
class Context:
    """One flow run's surroundings."""

    recipe: Recipe
    path: Path
    settings: Settings

    @property
    def workspace(self) -> Workspace:
        """All folders."""
        return self.settings.folders

    @property
    def collection(self) -> Path:
        """What has been collected for the recipe."""
        return self.workspace.collection(self.recipe.name)

    @property
    def tracker(self) -> Tracker:
        """MLflow, and the recipe's experiment in it."""
        return Tracker(uri=self.settings.tracking_uri, experiment=self.recipe.name)

    @property
    def origin(self) -> Origin:
        """What the tracker says of where a run came from."""
        return Origin(
            recipe=self.recipe.name,
            git_commit=_git_commit(),
            prefect_run_id=str(prefect.runtime.flow_run.id) if prefect.runtime.flow_run.id else None,
            prefect_url=prefect.runtime.flow_run.ui_url or None,
        )

    def asks(self, keys: Mapping[str, SecretStr] | None = None) -> list[Ask[AnySource]]:
        """Return the question to each source of the recipe."""
        return [
            Ask(source, label, self.settings.network, self.recipe.labels, keys or {})
            for label, source in self.recipe.asked
        ]

    @property
    def classes(self) -> Classes:
        """The classes of the recipe, as far as the sources have told them."""
        named = tuple(self.recipe.classes)
        offered = read_candidates(self.collection)
        if not self.recipe.sources:
            offered = offered.filter(pl.col("label").is_in(named))
        return classes_of(offered, named, self.recipe.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs."""
        return tuple(sorted({*self.recipe.classes, *self.classes.counts}))

    @cached_property
    def ordered_labels(self) -> tuple[str, ...]:
        """Class names, those of the recipe first and in its order; read once: nothing that needs it changes them."""
        named = tuple(self.recipe.classes)
        return (*named, *(label for label in self.labels if label not in named))

    def key(self, kind: str) -> str:
        """Return an artifact key for this recipe: Prefect allows lower-case letters, digits and dashes."""
        return re.sub(r"[^a-z0-9]+", "-", f"{kind}-{self.recipe.name}".lower()).strip("-")


def open_context(recipe: str) -> Context:
    """Read the recipe file and the environment."""
    return Context(load_recipe(recipe), Path(recipe).resolve(), read_settings())


def run_name() -> str:
    """Return the name of the flow run that begins: the flow's and the recipe's."""
    path = str(prefect.runtime.flow_run.parameters.get("recipe", ""))
    try:
        recipe = load_recipe(path).name
    except HarvestmanError:  # told by the flow itself, in full
        recipe = Path(path).stem
    return f"{prefect.runtime.flow_run.flow_name} {recipe}"


@cache
def _git_commit() -> str | None:
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git this machine has
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
