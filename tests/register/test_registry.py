from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import keras
import mlflow
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.model import PythonModelContext

from tasks.core.errors import ServerUnavailableError
from tasks.models.pixels import decode
from tasks.register.card import described, model_card
from tasks.register.registry import Registered, register, save
from tasks.register.served import ServedClassifier
from tasks.track.config import Origin, Tracker
from tasks.track.runs import client
from tasks.track.search import open_search_run
from tests.register.conftest import LABELS, SIZE

COLUMNS = ["predicted", "confidence", *(f"p_{label}" for label in LABELS)]


def expected(fit: Path, photo: bytes) -> np.ndarray:
    network = keras.saving.load_model(fit / "model.keras")
    return np.asarray(network.predict(decode(photo, size=SIZE, fit="pad")[None], verbose=0))[0]


@pytest.fixture
def fit(make_fit: Callable[..., Path]) -> Path:
    return make_fit()


@pytest.fixture
def saved(fit: Path, dataset: Path, tmp_path: Path) -> Path:
    save(tmp_path / "model", fit=fit, card=model_card(fit, dataset))
    return tmp_path / "model"


@pytest.fixture
def first(tracker: Tracker, run_id: str, fit: Path, dataset: Path, name: str) -> Registered:
    return register(tracker, run_id=run_id, fit=fit, dataset=dataset, name=name)


def test_a_fresh_process_elsewhere_answers_by_alias(
    first: Registered, tracker: Tracker, fit: Path, photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = """
import json, sys
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
found = model.predict(pd.DataFrame({"image": [open(sys.argv[2], "rb").read()]}))
import tasks.models.pixels
print(json.dumps([found.iloc[0].to_dict(), tasks.models.pixels.__file__]))
"""
    # -P keeps the current folder off sys.path; no PYTHONPATH, so nothing of the checkout can be found.
    answer = subprocess.run(
        [sys.executable, "-P", "-c", script, f"models:/{first.name}@champion", str(tmp_path / "photo.jpg")],
        capture_output=True, text=True, check=False, cwd=elsewhere,
        env={"PATH": os.environ["PATH"], "HOME": str(elsewhere), "MLFLOW_TRACKING_URI": tracker.uri,
             "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    row, source = json.loads(answer.stdout.splitlines()[-1])
    assert "code/tasks/models/pixels.py" in source
    probabilities = expected(fit, photo)
    assert row["predicted"] == LABELS[int(probabilities.argmax())]
    assert [row[f"p_{label}"] for label in LABELS] == pytest.approx(probabilities.tolist(), abs=1e-5)


def test_the_first_version_is_champion_and_challenger(first: Registered, tracker: Tracker, run_id: str) -> None:
    assert (first.version, first.aliases, first.run_id) == (1, ("challenger", "champion"), run_id)
    assert first.url == f"{tracker.uri}/#/models/{first.name}/versions/1"
    api = client(tracker.uri)
    version = api.get_model_version(first.name, "1")
    assert version.tags["harvestman.fit"] == "f17f17f17f17f17f"
    assert version.tags["harvestman.dataset_digest"] == "d1" * 32
    assert version.tags["test/accuracy"] == "0.75"
    assert "cc-by 3, cc0 1" in version.description
    outputs = api.get_run(run_id).outputs.model_outputs
    assert [f"models:/{output.model_id}" for output in outputs] == [version.source]


def test_the_same_fit_again_is_the_same_version(
    first: Registered, tracker: Tracker, run_id: str, fit: Path, dataset: Path
) -> None:
    assert register(tracker, run_id=run_id, fit=fit, dataset=dataset, name=first.name) == first
    assert len(client(tracker.uri).search_model_versions(f"name = '{first.name}'")) == 1


def test_a_second_fit_challenges_and_an_older_one_does_not_take_the_alias_back(
    first: Registered, tracker: Tracker, run_id: str, fit: Path, dataset: Path, make_fit: Callable[..., Path]
) -> None:
    other = make_fit("0ther0ther0ther0", seed=2)
    second = register(tracker, run_id=run_id, fit=other, dataset=dataset, name=first.name)
    assert (second.version, second.aliases) == (2, ("challenger",))
    again = register(tracker, run_id=run_id, fit=fit, dataset=dataset, name=first.name)
    assert (again.version, again.aliases) == (1, ("champion",))


def test_a_model_stored_by_half_is_stored_anew(
    tracker: Tracker, run_id: str, fit: Path, dataset: Path, name: str
) -> None:
    api = client(tracker.uri)
    experiment = api.get_run(run_id).info.experiment_id
    half = api.create_logged_model(experiment, name=name, source_run_id=run_id, tags={"harvestman.fit": fit.name})
    found = register(tracker, run_id=run_id, fit=fit, dataset=dataset, name=name)
    models = api.search_logged_models([experiment])
    assert [model.status.value for model in models] == ["READY"]
    assert models[0].model_id != half.model_id
    assert api.get_model_version(name, str(found.version)).source == f"models:/{models[0].model_id}"


def test_an_sqlite_file_is_a_registry_too(fit: Path, dataset: Path, photo: bytes, tmp_path: Path) -> None:
    tracker = Tracker(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", experiment="spiders")
    origin = Origin(recipe="spiders")
    run_id = open_search_run(tracker, search=tmp_path / "search", dataset=dataset, params={}, origin=origin)
    found = register(tracker, run_id=run_id, fit=fit, dataset=dataset, name="spiders")
    assert (found.version, found.aliases, found.url) == (1, ("challenger", "champion"), "")
    version = client(tracker.uri).get_model_version_by_alias("spiders", "champion")
    assert str(tmp_path / "mlartifacts") in version.source
    answer = mlflow.pyfunc.load_model(version.source).predict(pd.DataFrame({"image": [photo]}))
    assert answer["predicted"].item() == LABELS[int(expected(fit, photo).argmax())]


def test_no_run_is_left_active(first: Registered) -> None:
    assert first.version == 1
    assert mlflow.active_run() is None


def test_a_tracker_that_is_away_is_named(run_id: str, fit: Path, dataset: Path) -> None:
    away = Tracker(uri="http://127.0.0.1:9", experiment="none")
    with pytest.raises(ServerUnavailableError, match=r"127\.0\.0\.1:9 does not answer"):
        register(away, run_id=run_id, fit=fit, dataset=dataset, name="none")


def test_the_signature_is_fixed(saved: Path) -> None:
    signature = mlflow.pyfunc.load_model(str(saved)).metadata.signature
    assert [(column.name, column.type.name) for column in signature.inputs] == [("image", "binary")]
    assert signature.outputs.input_names() == COLUMNS


def test_answers_do_not_depend_on_the_company_of_an_image(saved: Path, fit: Path, photo: bytes) -> None:
    model = mlflow.pyfunc.load_model(str(saved))
    alone = model.predict(pd.DataFrame({"image": [photo]}))
    many = model.predict(pd.DataFrame({"image": [photo] * 70}, index=range(100, 170)))
    assert list(alone.columns) == COLUMNS
    assert many.index.tolist() == list(range(100, 170))
    columns = COLUMNS[1:]
    assert np.allclose(many[columns].to_numpy(), alone[columns].to_numpy(), atol=1e-6)
    assert np.allclose(alone[columns[1:]].to_numpy()[0], expected(fit, photo), atol=1e-6)


def test_over_http_an_image_is_base64(saved: Path, photo: bytes) -> None:
    model = mlflow.pyfunc.load_model(str(saved))
    local = model.predict(pd.DataFrame({"image": [photo]})).iloc[0]
    record = {"image": base64.b64encode(photo).decode()}
    broken = {"image": base64.b64encode(b"no image").decode()}

    async def ask(records: list[dict[str, str]]) -> httpx.Response:
        transport = httpx.ASGITransport(app=scoring_server.init(model))
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as http:
            return await http.post("/invocations", json={"dataframe_records": records})

    answer = asyncio.run(ask([record]))
    refused = asyncio.run(ask([record, broken]))
    assert answer.status_code == 200, answer.text
    row = answer.json()["predictions"][0]
    assert row["predicted"] == local["predicted"]
    assert row["confidence"] == pytest.approx(local["confidence"])
    assert refused.status_code == 400
    assert "image 1" in refused.text


def test_a_broken_image_is_named_by_its_place(saved: Path, photo: bytes) -> None:
    model = mlflow.pyfunc.load_model(str(saved))
    with pytest.raises(MlflowException, match="image 1: cannot identify image file"):
        model.predict(pd.DataFrame({"image": [photo, b"not an image", photo]}))


@pytest.fixture
def asked(saved: Path) -> ServedClassifier:
    """The class itself, given the files that were saved, without MLflow's checks around it."""
    model = ServedClassifier()
    artifacts = {"card": str(saved / "artifacts" / "card.json"), "network": str(saved / "artifacts" / "model.keras")}
    model.load_context(PythonModelContext(artifacts=artifacts, model_config={}))
    return model


def test_no_images_no_answers(asked: ServedClassifier) -> None:
    found = asked.predict(None, pd.DataFrame({"image": []}))
    assert list(found.columns) == COLUMNS
    assert found.empty


def test_base64_text_and_bytes_give_the_same_answer(asked: ServedClassifier, photo: bytes) -> None:
    found = asked.predict(None, pd.DataFrame({"image": [photo, base64.b64encode(photo).decode()]}))
    assert found.iloc[0].to_dict() == found.iloc[1].to_dict()


def test_at_most_five_broken_images_are_named(asked: ServedClassifier) -> None:
    with pytest.raises(MlflowException, match=r"image 4: .*\(and 3 more\)"):
        asked.predict(None, pd.DataFrame({"image": ["!"] * 8}))


def test_the_card_tells_a_person_what_the_model_is(fit: Path, dataset: Path) -> None:
    text = described(model_card(fit, dataset))
    for fact in ("araneus, latrodectus (mactans), zora", "accuracy 0.750", dataset.name, "cc-by 3", "24 x 24"):
        assert fact in text
