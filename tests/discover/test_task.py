from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from prefect.logging import disable_run_logger

from tasks.core.errors import SourceError, SourceUnavailableError
from tasks.core.network import NetworkPolicy
from tasks.core.tables import CANDIDATES
from tasks.discover.config import UrlListSource
from tasks.discover.found import Ask, contained
from tasks.discover.task import discover_source

NETWORK = NetworkPolicy(user_agent="t")


def run(collection: Path, listed: Path) -> dict[str, int]:
    ask = Ask(UrlListSource(source="url_list", path=listed), "bear", NETWORK)
    with disable_run_logger():
        return discover_source.fn(collection=str(collection), ask=ask)


def test_the_same_answer_is_one_shard_however_often_it_is_asked(tmp_path: Path) -> None:
    listed = tmp_path / "bears.txt"
    listed.write_text("http://a.org/1\nhttp://a.org/2\n")
    assert run(tmp_path / "c", listed) == {"rows": 2, "candidates": 2}
    listed.write_text("http://a.org/2\nhttp://a.org/1\n")
    run(tmp_path / "c", listed)
    [shard] = (tmp_path / "c" / "candidates").glob("*.parquet")
    assert dict(pl.read_parquet_schema(shard)) == CANDIDATES
    listed.write_text("http://a.org/3\n")  # the addresses before it were taken off the list
    run(tmp_path / "c", listed)
    assert list((tmp_path / "c" / "candidates").glob("*.parquet")) == [shard]
    assert pl.read_parquet(shard)["url"].to_list() == ["http://a.org/3"]


def test_prefect_asks_nothing_again_that_a_site_has_asked_to_rest_from() -> None:
    assert not discover_source.retries


def test_what_nobody_foresaw_is_an_error_of_that_source_alone() -> None:
    with pytest.raises(SourceError, match="url_list: something went wrong") as caught, contained("url_list"):
        raise ZeroDivisionError("by zero")
    assert "ZeroDivisionError: by zero (test_task.py, line" in caught.value.received
    with pytest.raises(SourceUnavailableError, match="down"), contained("url_list"):
        raise SourceUnavailableError("down")
