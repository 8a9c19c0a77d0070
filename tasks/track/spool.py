"""The local copy of a training run's figures: metrics.jsonl, one figure a line.

Reads it; the stage that trains writes it, whatever becomes of the tracker.
"""

from __future__ import annotations

import json
from pathlib import Path

from mlflow.entities import Metric


def read_spool(path: Path) -> list[Metric]:
    """Return the figures of a spool in order; a missing file has none.

    A line that a killed process left unfinished is passed over.
    """
    if not path.is_file():
        return []
    figures = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            figures.append(Metric(str(row["key"]), float(row["value"]), int(row["timestamp"]), int(row["step"])))
        except (ValueError, KeyError, TypeError):
            continue
    return figures
