from __future__ import annotations

import resource
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import WorkspaceError
from tasks.core.tables import LEDGER, read_tables
from tasks.ingest.journal import Row, journal_path, open_journal, seal

from .conftest import NOW

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
rows = st.fixed_dictionaries(
    {"url": texts, "label": texts, "outcome": st.sampled_from(["kept", "html"]),
     "fetched_at": st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))},  # noqa: DTZ001 - hypothesis wants bounds without a zone
    optional={"phash": st.integers(0, 2**64 - 1), "verify_hash": st.binary(min_size=32, max_size=32), "reason": texts},
)  # fmt: skip


@given(st.lists(rows, max_size=5), st.integers(1, 30))
def test_what_is_written_is_read_again_and_a_torn_tail_costs_only_its_own_line(written: list[Row], torn: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b.journal.jsonl"
        with open_journal(path) as journal:
            for row in written:
                journal.append(row)
        with path.open("ab") as stream:
            stream.write(b'{"url": "http://torn.example/1", "label"'[:torn])
        with open_journal(path) as journal:
            assert journal.rows == written
            journal.append({"url": "after", "fetched_at": NOW})
        with open_journal(path) as journal:
            assert journal.rows == [*written, {"url": "after", "fetched_at": NOW}]


def test_sealing_the_same_rows_in_another_order_writes_the_same_file(collection: Path) -> None:
    some = [{"url": f"http://a.org/{n}", "outcome": "kept", "label": "x", "fetched_at": NOW} for n in range(5)]
    found = []
    for order in (some, some[::-1]):
        path = journal_path(collection, "b")
        with open_journal(path) as journal:
            for row in order:
                journal.append(row)
            shard = seal(journal)
        path.unlink()
        assert shard is not None
        found.append((shard, shard.read_bytes()))
    assert found[0] == found[1]
    assert read_tables([found[0][0]], LEDGER)["url"].to_list() == [row["url"] for row in some]


def test_an_empty_journal_becomes_no_shard(collection: Path) -> None:
    with open_journal(journal_path(collection, "b")) as journal:
        assert seal(journal) is None


def test_a_disk_that_fills_up_within_a_line_is_an_error_and_the_torn_line_takes_no_other_with_it(
    collection: Path,
) -> None:
    path = journal_path(collection, "b")
    row = {"url": "http://a.org/1", "reason": "x" * 100}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_journal(path) as journal:
        journal.append(row)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, before[1]))
            with pytest.raises(WorkspaceError, match="disk is full"):
                journal.append(row)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        journal.append(row)  # another thread may find room again a moment later
    with open_journal(path) as journal:
        assert journal.rows == [row, row]
    assert path.read_bytes().endswith(b"\n")
