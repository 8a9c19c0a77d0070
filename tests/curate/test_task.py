from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.logging import disable_run_logger

from tasks.curate.config import CurateConfig
from tasks.curate.task import curate_collection, draw_contact_sheet


def test_the_tasks_hand_on_addresses_and_counts(
    row: Callable[..., dict[str, Any]], collect: Callable[..., Path], tmp_path: Path
) -> None:
    collection = collect([row("u1", "bee", "p"), row("u2", "bee", "p"), row("u3", "wasp", "q")])
    with disable_run_logger():
        result = curate_collection.fn(collection=str(collection), config=CurateConfig(), labels=("bee", "wasp"))
        sheet = draw_contact_sheet.fn(workspace=str(tmp_path), verdicts=result["path"])
    assert json.loads(json.dumps(result)) == result
    assert Path(result["path"]).stem == result["fingerprint"]
    assert result["verdicts"] == {"duplicate-bytes": 1, "kept": 2}
    assert result["classes"] == {"bee": {"duplicate-bytes": 1, "kept": 1}, "wasp": {"kept": 1}}
    assert Path(sheet).is_file()
