"""Everything that is told to MLflow, and the one place (with register) that talks to it.

Importing this package sets how MLflow's client behaves in this process, before MLflow is imported:
it reads these variables when it is imported or at each request. What a person has set stays.
"""

from __future__ import annotations

import os

_DEFAULTS = {
    # Its usage statistics go to a server of its makers.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Its own 7 retries with a doubling wait hold a training run up for four minutes; ours are Prefect's.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # seconds without an answer; a server that stores a model in S3 needs some
    # A progress bar a file, two addresses a run and its own progress, in the middle of our output.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)
