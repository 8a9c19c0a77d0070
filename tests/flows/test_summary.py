"""What `harvestman status` says: every address counted once, the same keys for scripts, few lines for people."""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from flows.addresses import count_addresses
from flows.recipe import parse_recipe
from flows.summary import SHOWN, Standing, show, summarise
from tasks.core.files import write_json
from tasks.core.tables import CANDIDATES, LEDGER, OUTCOMES, conform, write_table
from tasks.core.workspace import Workspace
from tasks.ingest.config import IngestConfig
from tasks.ingest.journal import journal_path, open_journal

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ingest.md").read_text(encoding="utf-8")
DAY = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RECIPE = {"name": "birds", "classes": {name: [{"source": "url_list", "path": "a.txt"}] for name in ("wren", "rook")}}


@dataclass
class Birds:
    """A recipe whose candidates and ledger are written as the test says."""

    workspace: Workspace

    @property
    def collection(self) -> Path:
        return self.workspace.collection("birds")

    def offer(self, *rows: dict[str, Any]) -> None:
        frame = conform(pl.DataFrame([{"label": "wren", "source": "url_list", **row} for row in rows]), CANDIDATES)
        write_table(frame, self.collection / "candidates" / f"{len(self.shards('candidates'))}.parquet")

    def ask(self, *rows: dict[str, Any], schema: list[str] | None = None) -> None:
        frame = conform(
            pl.DataFrame([{"label": "wren", "attempts": 1, "fetched_at": DAY, **row} for row in rows]), LEDGER
        )
        frame = frame.select(schema) if schema else frame
        write_table(frame, self.collection / "ledger" / f"{len(self.shards('ledger'))}.parquet")

    def both(self, *rows: dict[str, Any]) -> None:
        self.offer(*({name: row[name] for name in ("url", "label") if name in row} for row in rows))
        self.ask(*rows)

    def shards(self, table: str) -> list[Path]:
        return list((self.collection / table).glob("*"))

    def summary(self) -> dict[str, Any]:
        summary = summarise(Standing(parse_recipe(RECIPE, Path("birds.yaml")), self.workspace))
        assert json.loads(json.dumps(summary)) == summary  # ready for JSON as it is
        return summary

    def shown(self, *, width: int = 100) -> str:
        text = io.StringIO()
        show(self.summary(), Console(file=text, width=width, color_system=None))
        return text.getvalue()


@pytest.fixture
def birds(workspace: Workspace) -> Birds:
    return Birds(workspace)


def section(text: str, title: str) -> list[str]:
    """The lines under a title, down to the next empty line."""
    return text.split(f"\n{title}\n", 1)[1].split("\n\n", 1)[0].splitlines()


def test_a_recipe_that_was_never_run_says_so_in_one_line_and_has_every_key(birds: Birds) -> None:
    assert birds.shown().splitlines()[1:] == ["Nothing has been collected yet: harvestman run RECIPE"]
    summary = birds.summary()
    assert (summary["addresses"], summary["pending"], summary["outcomes"], summary["hosts"]) == (0, 0, {}, {})


def test_each_address_is_counted_once_by_its_latest_outcome(birds: Birds) -> None:
    birds.offer(*({"url": f"http://a.org/{n}"} for n in range(4)))
    birds.ask({"url": "http://a.org/0", "outcome": "timeout", "fetched_at": DAY - timedelta(days=1)})
    birds.ask({"url": "http://a.org/0", "outcome": "kept"}, {"url": "http://a.org/1", "outcome": "timeout"})
    birds.ask({"url": "http://gone.org/of-a-source-that-left", "outcome": "kept"})
    summary = birds.summary()
    assert (summary["addresses"], summary["pending"]) == (4, 2)
    assert summary["outcomes"] == {"kept": 1, "timeout": 1}
    assert list(summary["hosts"]) == ["a.org"]
    assert re.search(r"not asked yet +2", birds.shown())


def test_the_most_frequent_reason_stands_beside_its_outcome(birds: Birds) -> None:
    birds.both(
        *({"url": f"http://a.org/{n}", "outcome": "not-found", "reason": "HTTP 404"} for n in range(3)),
        {"url": "http://a.org/3", "outcome": "not-found", "reason": "HTTP 410"},
        *({"url": f"http://b.org/{n}", "outcome": "too-small", "reason": f"{n} x 9"} for n in range(3)),
        *({"url": f"http://c.org/{n}", "outcome": "server-error", "reason": "HTTP 503"} for n in range(2)),
        {"url": "http://a.org/4", "outcome": "empty"},
        {"url": "http://a.org/5", "outcome": "kept"},
    )
    assert birds.summary()["reasons"] == {
        "not-found": {"reason": "HTTP 404", "addresses": 3},
        "server-error": {"reason": "HTTP 503", "addresses": 2},
        "too-small": {"reason": "0 x 9", "addresses": 1},
    }
    lines = {line.split()[0]: line for line in section(birds.shown(), "Addresses")}
    assert lines["not-found"].rstrip().endswith("HTTP 404 (3 of 4)")
    assert lines["too-small"].rstrip().endswith("e.g. 0 x 9")
    assert lines["server-error"].split() == ["server-error", "2", "HTTP", "503"]
    assert lines["empty"].split() == ["empty", "1"]


def test_a_class_shows_what_it_has_and_why_not_more(birds: Birds) -> None:
    birds.offer({"url": "http://a.org/shared"}, {"url": "http://a.org/shared", "label": "rook"})
    birds.ask({"url": "http://a.org/shared", "outcome": "kept"})
    birds.both(
        {"url": "http://a.org/1", "label": "rook", "outcome": "damaged"},
        {"url": "http://a.org/2", "label": "rook", "outcome": "flat"},
        {"url": "http://a.org/3", "label": "rook", "outcome": "flat"},
    )
    birds.offer({"url": "http://a.org/4", "label": "rook"})
    summary = birds.summary()
    assert summary["addresses"] == 5
    assert summary["classes"] == {
        "rook": {"addresses": 5, "kept": 1, "refused": 3, "refusal": "flat"},
        "wren": {"addresses": 1, "kept": 1, "refused": 0, "refusal": None},
    }


def test_those_who_opted_out_are_counted_by_how(birds: Birds) -> None:
    told = ["robots.txt disallows it", "robots.txt disallows it", "X-Robots-Tag: noai"]
    birds.both(*({"url": f"http://a.org/{n}", "outcome": "opted-out", "reason": why} for n, why in enumerate(told)))
    assert birds.summary()["opted_out"] == {"robots_txt": 2, "robots_tag": 1}
    assert "opted out: 2 by robots.txt, 1 by X-Robots-Tag" in birds.shown()


def test_what_may_have_passed_is_told_with_its_age_and_the_command_that_asks_again(birds: Birds) -> None:
    birds.both(
        {"url": "http://a.org/1", "outcome": "timeout"},
        {"url": "http://a.org/2", "outcome": "timeout", "fetched_at": DAY - timedelta(hours=5)},
        {"url": "http://a.org/3", "outcome": "server-error"},
        {"url": "http://a.org/4", "outcome": "damaged"},
        {"url": "http://a.org/5", "outcome": "kept"},
    )
    assert birds.summary()["retry"] == {
        "timeout": {"addresses": 2, "since": "2026-03-01T07:00:00+00:00", "due": "2026-03-02T07:00:00+00:00"},
        "server-error": {"addresses": 1, "since": "2026-03-01T12:00:00+00:00", "due": "2026-03-02T12:00:00+00:00"},
    }
    assert "harvestman run RECIPE --retry timeout,server-error\n" in birds.shown()


def test_where_nothing_may_have_passed_nothing_is_said_of_it(birds: Birds) -> None:
    birds.both({"url": "http://a.org/1", "outcome": "kept"}, {"url": "http://a.org/2", "outcome": "damaged"})
    assert "--retry" not in birds.shown()


def test_shards_written_before_a_column_was_there_are_read(birds: Birds) -> None:
    old = ["url", "label", "outcome", "reason", "attempts", "bytes", "fetched_at"]
    birds.offer({"url": "http://a.org/1"}, {"url": "http://a.org/2"})
    birds.ask({"url": "http://a.org/1", "outcome": "kept", "bytes": 70}, schema=old)
    birds.ask({"url": "http://a.org/2", "outcome": "kept", "bytes": 30, "received": 35, "seconds": 0.25})
    assert birds.summary()["hosts"]["a.org"] == {
        "addresses": 2, "kept": 2, "refused": 0, "refusal": None, "seconds": 0.25, "answers": 1, "received": 105,
    }  # fmt: skip


def test_a_thousand_hosts_and_two_hundred_classes_stay_readable(birds: Birds) -> None:
    kept = [
        {"url": f"http://host{n % 1000}.org/{n}", "label": f"class{n % 202:03d}", "outcome": "kept", "seconds": 1.0}
        for n in range(4000)
    ]
    birds.both(*kept)
    labels = [f"class{n:03d}" for n in range(202)]
    counts = {split: dict.fromkeys(labels, 9) for split in ("train", "val")}
    dataset = {"version": "v1", "counts": counts, "verdicts": {"kept": 4000}, "path": "datasets/v1"}
    write_json(birds.workspace.latest("birds"), {"dataset": dataset})
    text = birds.shown()
    assert len(text.splitlines()) < 70
    for title, more in (("Hosts", 990), ("Classes, those with the fewest images first", 192), ("Data set v1", 192)):
        lines = section(text, title)
        assert len(lines[1:]) >= SHOWN + 1
        assert lines[1 + SHOWN].startswith(f"and {more} more")
    summary = birds.summary()
    assert (len(summary["hosts"]), len(summary["classes"])) == (1000, 202)


def test_classes_with_the_fewest_images_come_first(birds: Birds) -> None:
    birds.both(*({"url": f"http://a.org/{n}", "label": "rook", "outcome": "kept"} for n in range(3)))
    birds.both({"url": "http://a.org/9", "label": "wren", "outcome": "kept"})
    lines = section(birds.shown(), "Classes, those with the fewest images first")
    assert [line.split()[0] for line in lines] == ["class", "wren", "rook"]


def test_what_servers_and_recipes_write_cannot_command_the_terminal(birds: Birds) -> None:
    birds.both(
        {"url": "http://[::1]:8000/1", "label": "[red]wren[/red]", "outcome": "html", "reason": "\x1b[2J[bold]gone"}
    )
    text = birds.shown()
    assert "\x1b" not in text
    for whole in ("[::1]:8000", "[red]wren[/red]", "?[2J[bold]gone"):
        assert whole in text


def test_long_reasons_do_not_break_the_lines_of_a_narrow_terminal(birds: Birds) -> None:
    birds.both({"url": "http://a.org/1", "outcome": "unreachable", "reason": "word " * 60})
    assert len(section(birds.shown(width=80), "Addresses")) == 2


def test_half_a_million_addresses_are_counted_within_a_second() -> None:
    count = 500_000
    number = pl.int_range(count, eager=True)
    slugs = pl.Series(list(OUTCOMES))
    frame = pl.select(
        url=pl.format("https://host{}.example.org/photos/{}/medium.jpg", number % 1000, number),
        label=pl.format("class{}", number % 202),
        outcome=slugs.gather(number % len(slugs)),
        reason=pl.format("HTTP {}", number % 600),
        bytes=number,
        received=number,
        seconds=(number % 97).cast(pl.Float32),
        fetched_at=pl.lit(DAY).cast(pl.Datetime("us", "UTC")),
    )
    spent = time.process_time()
    counted = count_addresses(frame, retry_after_hours=24)
    spent = time.process_time() - spent
    assert sum(counted["outcomes"].values()) == count
    assert spent < 2.0  # of processor time, on two threads, while other tests run; alone it is 0.5 s


ROW = re.compile(r"^\| (.+?) \| (.+?) \|", re.MULTILINE)


def test_the_page_tells_every_outcome_and_which_may_pass() -> None:
    table = PAGE.split("\n## Outcomes\n", 1)[1].split("\n## ", 1)[0]
    told = {slug.strip("`"): again == "asked again" for slug, again in ROW.findall(table) if slug.startswith("`")}
    assert told == OUTCOMES


def test_the_page_names_every_field_of_the_ingest_block_and_no_other() -> None:
    fields = set(IngestConfig.model_fields)
    assert {name for name in fields if f"`{name}" not in PAGE} == set()
    written = set(re.findall(r"`([a-z]+_[a-z_]+)(?:`|:)", PAGE))
    keys = {"original_sha256", "most_refusing", "opted_out"}
    assert written - fields - keys == set()


def test_the_page_tells_every_key_of_the_json(birds: Birds) -> None:
    birds.both(
        *({"url": f"http://a.org/{n}", "outcome": "timeout", "reason": "slow", "seconds": 1.0} for n in range(3)),
        {"url": "http://b.org/1", "outcome": "kept"},
    )
    summary = birds.summary()
    table = PAGE.split("Its keys are stable:", 1)[1]
    told = {name: text for names, text in ROW.findall(table) for name in re.findall(r"`(\w+)`", names)}
    assert set(told) == set(summary)
    inner = {
        "reasons": summary["reasons"]["timeout"], "retry": summary["retry"]["timeout"],
        "classes": summary["classes"]["wren"], "hosts": summary["hosts"]["a.org"], "slowest": summary["slowest"][0],
        "most_refusing": summary["most_refusing"][0], "opted_out": summary["opted_out"],
    }  # fmt: skip
    for key, holds in inner.items():
        words = set(re.findall(r"`(\w+)`", told[key]))
        assert [name for name in holds if name not in words] == [], key


def test_what_a_killed_run_left_in_its_journals_counts_too_and_before_the_ledger(birds: Birds) -> None:
    birds.both({"url": "http://a.org/1", "outcome": "timeout"}, {"url": "http://a.org/2", "outcome": "kept"})
    birds.offer({"url": "http://a.org/3"}, {"url": "http://a.org/4"})
    with open_journal(journal_path(birds.collection, "b")) as journal:
        for number in (1, 3):
            row = {"url": f"http://a.org/{number}", "label": "wren", "outcome": "kept", "fetched_at": DAY}
            journal.append(row)
        found = birds.summary()  # while the batch is under way
    assert (found["outcomes"], found["pending"]) == ({"kept": 3}, 1)
    assert birds.summary()["outcomes"] == {"kept": 3}
