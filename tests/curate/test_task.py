from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.cache_policies import NO_CACHE
from prefect.logging import disable_run_logger

from tasks.curate.config import CurateConfig
from tasks.curate.decision_files import read_decisions
from tasks.curate.task import curate_collection, draw_contact_sheet, list_for_review, rank_suspects


@pytest.mark.parametrize("task", [curate_collection, list_for_review, rank_suspects, draw_contact_sheet])
def test_a_run_that_is_resumed_asks_again(task: Any) -> None:  # noqa: ANN401
    assert task.cache_policy == NO_CACHE


def test_the_tasks_hand_on_addresses_and_counts(
    row: Callable[..., dict[str, Any]], collect: Callable[..., Path], tmp_path: Path
) -> None:
    collection = collect([row("u1", "bee", "p"), row("u2", "bee", "p"), row("u3", "wasp", "q")])
    with disable_run_logger():
        result = curate_collection.fn(
            workspace=str(tmp_path), collection=str(collection), config=CurateConfig(), labels=("bee", "wasp")
        )
        sheet = draw_contact_sheet.fn(workspace=str(tmp_path), verdicts=result["path"])
    assert json.loads(json.dumps(result)) == result
    assert Path(result["path"]).stem == result["fingerprint"]
    assert result["verdicts"] == {"duplicate-bytes": 1, "kept": 2}
    assert result["classes"] == {"bee": {"duplicate-bytes": 1, "kept": 1}, "wasp": {"kept": 1}}
    assert (result["decisions"], result["conflicts"]) == ({}, 0)
    assert Path(sheet).is_file()


def test_decisions_on_unknown_images_are_counted_and_stop_nothing(
    row: Callable[..., dict[str, Any]],
    collect: Callable[..., Path],
    decide: Callable[..., CurateConfig],
) -> None:
    stored, unknown = row("u1", "bee", "p"), [row(f"no{n}", "bee", f"no{n}") for n in range(7)]
    collection = collect([stored])
    config = decide((stored, "keep"), *((one, "reject") for one in unknown))
    with disable_run_logger():
        result = curate_collection.fn(
            workspace=str(collection.parent), collection=str(collection), config=config, labels=("bee", "wasp")
        )
    assert result["decisions"] == {"keep": 1, "unknown": 7}
    assert result["verdicts"] == {"kept": 1}


def test_the_review_list_is_handed_on_and_is_what_decisions_are_read_from(
    row: Callable[..., dict[str, Any]], collect: Callable[..., Path]
) -> None:
    collection = collect([row("u1", "bee", "p"), row("u2", "wasp", "p"), row("u3", "bee", "q")])
    where = {"workspace": str(collection.parent), "collection": str(collection)}

    def judged(config: CurateConfig) -> tuple[dict[str, Any], dict[str, Any]]:
        curated = curate_collection.fn(**where, config=config, labels=("bee", "wasp"))
        return curated, list_for_review.fn(**where, verdicts=curated["path"], config=config)

    with disable_run_logger():
        curated, review = judged(CurateConfig())
        assert json.loads(json.dumps(review)) == review
        assert (curated["conflicts"], review["open"], len(review["rows"])) == (1, 1, 1)
        assert review["rows"][0]["sha256"] == row("u1", "bee", "p")["sha256"]
        listed = Path(review["path"])
        filled = listed.with_name("filled.csv")
        cells = pl.read_csv(listed, infer_schema=False)
        cells.with_columns(verdict=pl.lit("relabel"), label=pl.lit("wasp")).write_csv(filled, separator=";")
        assert read_decisions(listed).height == 0
        curated, review = judged(CurateConfig(decisions=(filled,)))
    assert (curated["conflicts"], curated["decisions"]) == (0, {"relabel": 1})
    assert review == {"open": 0, "path": "", "digest": "", "rows": []}
    assert curated["verdicts"] == {"duplicate-bytes": 1, "kept": 2}
