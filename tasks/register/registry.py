"""From a finished fit to a registered version behind an alias: once a fit, however often it is asked for.

Reads model.keras, fit.json, metrics.json of the fit and dataset.json. Writes a logged model under the
search's run, a registered model version and its aliases, all through MlflowClient: no active run.
"""

from __future__ import annotations

import io
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from PIL import Image

from tasks.core.files import storing, write_json
from tasks.register.card import NETWORK, described, model_card
from tasks.register.packing import copy_sources, requirements
from tasks.track.config import Tracker
from tasks.track.runs import client
from tasks.track.seam import sqlite_file, translating

CHALLENGER, CHAMPION = "challenger", "champion"
FIT = "harvestman.fit"
_SERVED = Path(__file__).with_name("served.py")
# MLflow hands the model that a served.py defines over in a module global.
_SAVING = threading.Lock()


@dataclass(frozen=True)
class Registered:
    """A registered version."""

    name: str
    version: int
    aliases: tuple[str, ...]
    run_id: str
    url: str
    """Its page; "" where there is no server."""


def register(tracker: Tracker, *, run_id: str, fit: Path, dataset: Path, name: str) -> Registered:
    """Register the model of `fit` as a version of `name`, or find the version it is registered as.

    The version becomes `challenger` unless a later one is; it becomes `champion` where there is none.

    Args:
        tracker: where.
        run_id: the search's run, which the model is logged under.
        fit: folder of the fit; its name becomes the tag `harvestman.fit`.
        dataset: folder of the data set version it learnt from.
        name: the registered model.

    Raises:
        ServerUnavailableError: MLflow does not answer.
        WorkspaceError: no space left, here or there.
    """
    api = client(tracker.uri)
    card = model_card(fit, dataset)
    with translating(tracker.uri):
        found = _version_of(api, name, fit.name)
        if found is None:
            model_id = _logged(api, run_id=run_id, fit=fit, name=name, card=card)
            found = _create_version(api, name=name, run_id=run_id, model_id=model_id, card=card)
        _set_aliases(api, name, int(found.version))
        version = api.get_model_version(name, str(found.version))
    url = "" if sqlite_file(tracker.uri) else f"{tracker.uri.rstrip('/')}/#/models/{name}/versions/{version.version}"
    return Registered(name, int(version.version), tuple(sorted(version.aliases)), str(version.run_id), url)


def signature(labels: list[str]) -> ModelSignature:
    """Return what the served model takes and gives: one binary column in; names and probabilities out."""
    probabilities = [ColSpec(DataType.double, f"p_{label}") for label in labels]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "image")]),
        outputs=Schema([ColSpec(DataType.string, "predicted"), ColSpec(DataType.double, "confidence"), *probabilities]),
    )


def _example() -> pd.DataFrame:
    """Return the smallest request: one gray PNG."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "gray").save(stream, "PNG")
    # object: mlflow 3.17 compares the names with a range, which pandas 3 warns of for its new text type.
    return pd.DataFrame([[stream.getvalue()]], columns=pd.Index(["image"], dtype=object))


def _version_of(api: MlflowClient, name: str, fit: str) -> ModelVersion | None:
    versions = api.search_model_versions(f"name = '{name}' and tags.`{FIT}` = '{fit}'")
    return min(versions, key=lambda version: int(version.version), default=None)


def _logged(api: MlflowClient, *, run_id: str, fit: Path, name: str, card: dict[str, Any]) -> str:
    """Return the id of the logged model of `fit`, storing it unless it is stored whole already."""
    experiment = api.get_run(run_id).info.experiment_id
    for model in api.search_logged_models([experiment], filter_string=f"tags.`{FIT}` = '{fit.name}'"):
        if model.status == LoggedModelStatus.READY:
            return str(model.model_id)
        api.delete_logged_model(model.model_id)  # left by a process that was killed while storing it
    model = api.create_logged_model(
        experiment, name=name, source_run_id=run_id, tags={FIT: fit.name}, model_type="classifier"
    )
    with tempfile.TemporaryDirectory(prefix="harvestman-") as folder:
        saved = Path(folder) / "model"
        described_model = Model(
            artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run_id, model_id=model.model_id
        )
        save(saved, fit=fit, card=card, description=described_model)
        api.log_model_artifacts(model.model_id, str(saved))
    api.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    api.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def save(target: Path, *, fit: Path, card: dict[str, Any], description: Model | None = None) -> None:
    """Write the servable model of `fit` into the new folder `target`.

    Args:
        target: must not exist.
        fit: folder with model.keras.
        card: `card.model_card` of it.
        description: what MLflow knows of the model already; None = a model of no run.
    """
    with tempfile.TemporaryDirectory(prefix="harvestman-") as folder, storing(target):
        write_json(Path(folder) / "card.json", card)
        sources = copy_sources(card["modules"], Path(folder))
        with _SAVING:
            mlflow.pyfunc.save_model(
                path=str(target),
                python_model=str(_SERVED),
                artifacts={"network": str(fit / NETWORK), "card": str(Path(folder) / "card.json")},
                signature=signature(card["labels"]),
                input_example=_example(),  # shown as the request to send
                # Named, not inferred: inference loads the model once more, 13 s against 0.2 s.
                pip_requirements=requirements(),
                code_paths=[str(sources)],
                metadata={
                    "labels": card["labels"],
                    "dataset": card["dataset"],
                    "manifest_digest": card["manifest_digest"],
                },
                mlflow_model=description,
            )


def _create_version(api: MlflowClient, *, name: str, run_id: str, model_id: str, card: dict[str, Any]) -> ModelVersion:
    try:
        api.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    test = card["metrics"].get("test", {})
    tags = {
        FIT: card["fit_id"],
        "harvestman.dataset": card["dataset"],
        "harvestman.dataset_digest": card["manifest_digest"],
        **{f"test/{figure}": f"{value:.6g}" for figure, value in test.items()},
    }
    source = f"models:/{model_id}"
    if sqlite_file(api.tracking_uri) is not None:
        # Without a server, MLflow 3.17 looks a models:/ source up at the global tracking address, not at the client's.
        source = str(api.get_logged_model(model_id).artifact_location)
    return api.create_model_version(
        name, source=source, run_id=run_id, model_id=model_id, tags=tags, description=described(card)
    )


def _set_aliases(api: MlflowClient, name: str, version: int) -> None:
    """Point `challenger` here unless it points to a later version; `champion` only where there is none."""
    aliases = {alias: int(held) for alias, held in api.get_registered_model(name).aliases.items()}
    if aliases.get(CHALLENGER, 0) < version:
        api.set_registered_model_alias(name, CHALLENGER, str(version))
    if CHAMPION not in aliases:
        api.set_registered_model_alias(name, CHAMPION, str(version))
