"""The model as MLflow serves it: encoded image files in, classes and probabilities out.

MLflow runs this file as a script wherever the model is loaded ("models from code"), so it imports only
what `packing.py` ships with it. Reads model.keras and card.json of the model's artifacts.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import json
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from tasks.models.pixels import Pixels, decode

CHUNK = 32  # images decoded and predicted at once: bounds memory at 224 px to 20 MB
SHOWN = 5  # broken images named in an error


class ServedClassifier(PythonModel):
    """Decodes with the same function that prepared the training images, then asks model.keras."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network and its card: labels, image size, how an image becomes a square."""
        self.card: dict[str, Any] = json.loads(Path(context.artifacts["card"]).read_text(encoding="utf-8"))
        for name in self.card["modules"]:
            importlib.import_module(name)  # registers our own layers, without which Keras cannot read the file
        self.network = keras.saving.load_model(context.artifacts["network"], compile=False)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify encoded image files.

        Args:
            context: unused; MLflow passes it.
            model_input: column `image`: the bytes of an image file, or their base64.
            params: unused; MLflow passes it.

        Returns:
            One row an image, in order, same index: predicted, confidence (0-1), and `p_<class>` for each class.

        Raises:
            MlflowException: some images cannot be decoded (INVALID_PARAMETER_VALUE: HTTP 400 when served).
        """
        del context, params
        labels = list(self.card["labels"])
        files = list(model_input["image"])
        parts = [self._probabilities(files, start) for start in range(0, len(files), CHUNK)]
        found = np.concatenate(parts) if parts else np.zeros((0, len(labels)))
        best = found.argmax(axis=1) if len(found) else np.zeros(0, dtype=int)
        table = {"predicted": [labels[place] for place in best], "confidence": found.max(axis=1, initial=0.0)}
        table |= {f"p_{label}": found[:, place] for place, label in enumerate(labels)}
        return pd.DataFrame(table, index=model_input.index)

    def _probabilities(self, files: list[bytes | str], start: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the probabilities (n, C) of the chunk of `files` that begins at `start`."""
        pixels, broken = [], []
        for place, data in enumerate(files[start : start + CHUNK], start):
            try:
                pixels.append(self._decoded(data))
            except (OSError, SyntaxError, ValueError, binascii.Error) as error:
                broken.append(f"image {place}: {error}")
        if broken:
            rest = f" (and {len(broken) - SHOWN} more)" if len(broken) > SHOWN else ""
            raise MlflowException.invalid_parameter_value(f"Cannot be decoded: {'; '.join(broken[:SHOWN])}{rest}")
        batch = np.stack(pixels).astype(np.float32)
        return np.asarray(keras.ops.convert_to_numpy(self.network(batch, training=False)), dtype=np.float64)

    def _decoded(self, data: bytes | str) -> Pixels:
        raw = base64.b64decode(data, validate=True) if isinstance(data, str) else bytes(data)
        return decode(raw, size=int(self.card["image_size"]), fit=self.card["fit"])


mlflow.models.set_model(ServedClassifier())
