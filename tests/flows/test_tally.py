from __future__ import annotations

import json
from pathlib import Path

from flows.tally import Tally


def write(journal: Path, *rows: tuple[str, int], torn: str = "") -> None:
    with journal.open("a") as stream:
        for outcome, received in rows:
            stream.write(json.dumps({"outcome": outcome, "received": received}) + "\n")
        stream.write(torn)


def test_lines_are_counted_once_as_they_come_and_a_torn_one_when_it_is_whole(tmp_path: Path) -> None:
    tally, journal = Tally(tmp_path), tmp_path / "b1.journal.jsonl"
    write(journal, ("kept", 1_000_000), ("html", 500), torn='{"outcome": "kept", ')
    tally.look()
    tally.look()
    assert (tally.asked, dict(tally.outcomes)) == (2, {"kept": 1, "html": 1})
    with journal.open("a") as stream:
        stream.write('"received": 7}\n')
    tally.look()
    assert dict(tally.outcomes) == {"kept": 2, "html": 1}


def test_what_an_ended_batch_returns_takes_the_place_of_its_journal(tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    write(tmp_path / "b1.journal.jsonl", ("kept", 1000))
    write(tmp_path / "b2.journal.jsonl", ("timeout", 0))
    tally.look()
    (tmp_path / "b1.journal.jsonl").unlink()
    tally.finished("b1", {"outcomes": {"kept": 3, "html": 1}, "received": 2_000_000})
    tally.look()
    assert dict(tally.outcomes) == {"kept": 3, "html": 1, "timeout": 1}
    assert tally.note(2.0) == "2 images/s, 1.0 MB/s; 3 kept, 1 html, 1 timeout"


def test_of_many_reasons_the_most_frequent_are_named(tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    tally.finished("b", {"outcomes": {"a": 5, "b": 4, "c": 3, "d": 2, "e": 1}, "received": 0})
    assert tally.note(1.0).endswith("0 kept, 5 a, 4 b, 3 c, 2 other reasons")
