"""One source asked to the end: drafts, changes, searches that only grow, limits, classes told by the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.errors import HarvestmanError, SourceError, SourceUnavailableError
from tasks.core.network import NetworkPolicy
from tasks.discover.config import FolderSource, GoogleSource, INaturalistSource, LabelsConfig, UrlListSource
from tasks.discover.fields import SourceConfig
from tasks.discover.found import Ask, Page, candidate_frame
from tasks.discover.gather import gather, picked, shard_path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NETWORK = NetworkPolicy(user_agent="test")
LISTING = INaturalistSource(source="inaturalist", taxon="Araneus")
SEARCH = GoogleSource(source="google", query="spider")


@dataclass
class Shelf:
    """A source that holds rows, three a page, and remembers what it was asked."""

    rows: list[dict[str, Any]]
    fails_after: int | None = None
    asked: list[tuple[Any, Any]] = field(default_factory=list)
    served: list[int] = field(default_factory=list)
    broken: list[HarvestmanError] = field(default_factory=list)
    paged: bool = True

    def problems(self, ask: Ask[Any]) -> Iterable[HarvestmanError]:
        del ask
        return self.broken

    def pages(self, ask: Ask[Any]) -> Iterator[Page]:
        self.asked.append((ask.cursor, ask.since))
        start = ask.cursor["at"] if ask.cursor else 0
        for at in range(start, len(self.rows), 3):
            if self.fails_after is not None and len(self.served) >= self.fails_after:
                raise SourceUnavailableError("The shelf does not answer.")
            part = self.rows[at : at + 3]
            self.served.append(at)
            cursor = {"at": at + 3} if self.paged else None
            yield Page(candidate_frame(part), Counter(rows=len(part)), cursor, total=len(self.rows), items=len(part))


def row(number: int, **more: object) -> dict[str, Any]:
    return {"url": f"https://example.org/{number:03}.jpg", "source_id": str(number), **more}


def rows(count: int) -> list[dict[str, Any]]:
    return [row(number, group_id=f"g:{number}") for number in range(count)]


def ask(source: SourceConfig = LISTING, **more: Any) -> Ask[Any]:  # noqa: ANN401 - any field of Ask
    return Ask(source, **({"label": "spiders", "network": NETWORK} | more))


def urls(shard: Path) -> list[str]:
    return pl.read_parquet(shard)["url"].sort().to_list()


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return tmp_path / "candidates" / "abc.parquet"


def test_all_pages_become_one_shard_with_class_and_source(shard: Path) -> None:
    found = gather(ask(), Shelf(rows(8)), shard, now=NOW)
    frame = pl.read_parquet(shard)
    assert found.notes == {"rows": 8, "candidates": 8}
    assert frame["label"].unique().to_list() == ["spiders"]
    assert frame["source"].unique().to_list() == ["inaturalist"]
    assert not shard.with_suffix(".draft").exists()


def test_a_source_that_falls_silent_is_gone_on_with_behind_its_last_page(shard: Path) -> None:
    shelf = Shelf(rows(10), fails_after=2)
    with pytest.raises(SourceUnavailableError):
        gather(ask(), shelf, shard, now=NOW)
    assert not shard.exists()  # half an answer is none

    shelf.fails_after = None
    gather(ask(), shelf, shard, now=NOW + timedelta(hours=1))

    assert shelf.served == [0, 3, 6, 9]  # no page twice
    assert len(urls(shard)) == 10


def test_a_draft_that_has_grown_old_is_begun_anew(shard: Path) -> None:
    shelf = Shelf(rows(10), fails_after=2)
    with pytest.raises(SourceUnavailableError):
        gather(ask(), shelf, shard, now=NOW)
    shelf.fails_after = None
    gather(ask(), shelf, shard, now=NOW + timedelta(days=2))
    assert shelf.served == [0, 3, 0, 3, 6, 9]


def test_what_an_unfinished_search_found_counts_and_is_not_bought_again(shard: Path) -> None:
    shelf = Shelf(rows(10), fails_after=2)
    with pytest.raises(SourceUnavailableError):
        gather(ask(SEARCH), shelf, shard, now=NOW)
    assert len(urls(shard)) == 6

    shelf.fails_after = 3
    with pytest.raises(SourceUnavailableError):
        gather(ask(SEARCH), shelf, shard, now=NOW + timedelta(days=8))
    shelf.fails_after = None
    gather(ask(SEARCH), shelf, shard, now=NOW + timedelta(days=15))

    assert shelf.served == [0, 3, 6, 9]
    assert len(urls(shard)) == 10


def test_a_source_whose_question_is_edited_is_another_and_when_it_is_asked_is_no_part_of_it(tmp_path: Path) -> None:
    assert shard_path(tmp_path, ask()) != shard_path(tmp_path, ask(LISTING.model_copy(update={"limit": 5})))
    for source in (LISTING, SEARCH):
        later = source.model_copy(update={"refresh_days": 3})
        assert shard_path(tmp_path, ask(source)) == shard_path(tmp_path, ask(later))


def test_a_higher_limit_of_a_search_is_asked_at_once_and_keeps_what_was_found(shard: Path) -> None:
    gather(ask(SEARCH), Shelf(rows(3)), shard, now=NOW)
    more = ask(SEARCH.model_copy(update={"limit": 500}))
    assert gather(more, Shelf([row(8)]), shard, now=NOW + timedelta(hours=1)).asked
    assert len(urls(shard)) == 4
    assert shard_path(shard, more) == shard_path(shard, ask(SEARCH))


def test_all_changes_are_read_whatever_the_limit(shard: Path) -> None:
    some = ask(LISTING.model_copy(update={"limit": 7}))
    gather(some, Shelf(rows(6)), shard, now=NOW)
    changes = Shelf(rows(12))
    gather(some, changes, shard, now=NOW + timedelta(days=2))
    assert changes.served == [0, 3, 6, 9]
    assert len(urls(shard)) == 7


def test_a_damaged_shard_is_said_with_what_to_do(shard: Path) -> None:
    gather(ask(), Shelf(rows(3)), shard, now=NOW)
    shard.write_bytes(b"no parquet")
    with pytest.raises(SourceError, match="Delete this file"):
        gather(ask(), Shelf(rows(3)), shard, now=NOW + timedelta(days=40))


def test_a_listing_is_asked_for_changes_that_replace_whole_observations(shard: Path) -> None:
    before = [row(1, group_id="g:1"), row(2, group_id="g:1"), row(3, group_id="g:3")]
    gather(ask(), Shelf(before), shard, now=NOW)
    changed = Shelf([row(2, group_id="g:1", licence="cc0"), row(4, group_id="g:4")])

    gather(ask(), changed, shard, now=NOW + timedelta(days=3))

    ((cursor, since),) = changed.asked
    assert cursor is None
    assert since == NOW - timedelta(days=1)  # with a day's overlap
    assert [url[-7:-4] for url in urls(shard)] == ["002", "003", "004"]  # 001 left its observation
    assert pl.read_parquet(shard).filter(pl.col("source_id") == "2")["licence"].to_list() == ["cc0"]


def test_a_listing_is_asked_anew_when_its_answer_is_old(shard: Path) -> None:
    gather(ask(), Shelf(rows(5)), shard, now=NOW)
    gather(ask(), Shelf([]), shard, now=NOW + timedelta(days=20))
    assert len(urls(shard)) == 5  # nothing has changed
    shelf = Shelf(rows(2))
    gather(ask(), shelf, shard, now=NOW + timedelta(days=31))
    assert shelf.asked == [(None, None)]
    assert len(urls(shard)) == 2  # what was withdrawn is gone


def test_what_a_search_once_found_stays(shard: Path) -> None:
    gather(ask(SEARCH), Shelf(rows(4)), shard, now=NOW)
    early = Shelf(rows(9))
    assert not gather(ask(SEARCH), early, shard, now=NOW + timedelta(days=1)).asked
    assert early.asked == []

    gather(ask(SEARCH), Shelf([row(7), row(8)]), shard, now=NOW + timedelta(days=8))

    assert [url[-7:-4] for url in urls(shard)] == ["000", "001", "002", "003", "007", "008"]


def test_a_file_is_read_again_only_when_it_has_changed(shard: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("one\n")
    source = UrlListSource(source="url_list", path=path)
    gather(ask(source), Shelf(rows(3), paged=False), shard, now=NOW)
    untouched = Shelf(rows(3), paged=False)
    assert not gather(ask(source), untouched, shard, now=NOW).asked
    assert untouched.asked == []

    path.write_text("one\ntwo\n")
    gather(ask(source), Shelf(rows(2), paged=False), shard, now=NOW)

    assert len(urls(shard)) == 2  # a line taken off the list does not live on


def test_a_changed_file_in_a_folder_is_noticed(shard: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "deep" / "a.jpg").write_bytes(b"1")
    source = FolderSource(source="folder", path=tmp_path / "photos")
    gather(ask(source), Shelf(rows(1), paged=False), shard, now=NOW)
    assert not gather(ask(source), Shelf(rows(1), paged=False), shard, now=NOW).asked
    (tmp_path / "photos" / "deep" / "b.jpg").write_bytes(b"2")
    assert gather(ask(source), Shelf(rows(2), paged=False), shard, now=NOW).asked


def test_a_file_that_changes_while_it_is_read_is_read_again(shard: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("one\n")

    class Growing(Shelf):
        def pages(self, ask: Ask[Any]) -> Iterator[Page]:
            path.write_text("one\ntwo\n")
            yield from super().pages(ask)

    source = UrlListSource(source="url_list", path=path)
    gather(ask(source), Growing(rows(1), paged=False), shard, now=NOW)
    assert gather(ask(source), Shelf(rows(2), paged=False), shard, now=NOW).asked


def test_a_file_added_to_a_linked_folder_is_noticed_and_a_link_that_leads_back_does_no_harm(
    shard: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "photos")
    source = FolderSource(source="folder", path=tmp_path / "photos")
    (tmp_path / "elsewhere" / "a.jpg").write_bytes(b"1")
    gather(ask(source), Shelf(rows(1), paged=False), shard, now=NOW)
    assert not gather(ask(source), Shelf(rows(1), paged=False), shard, now=NOW).asked
    (tmp_path / "elsewhere" / "b.jpg").write_bytes(b"2")
    assert gather(ask(source), Shelf(rows(2), paged=False), shard, now=NOW).asked


def test_a_problem_known_beforehand_stops_it_and_leaves_the_earlier_answer(shard: Path) -> None:
    gather(ask(SEARCH), Shelf(rows(4)), shard, now=NOW)
    with pytest.raises(SourceError, match="no key"):
        gather(ask(SEARCH), Shelf([], broken=[SourceError("no key")]), shard, now=NOW + timedelta(days=30))
    assert len(urls(shard)) == 4


def test_no_more_pages_are_asked_than_the_limit_needs(shard: Path) -> None:
    shelf = Shelf(rows(30))
    gather(ask(LISTING.model_copy(update={"limit": 4})), shelf, shard, now=NOW)
    assert shelf.served == [0, 3]
    assert len(urls(shard)) == 4


def test_a_listing_that_is_full_is_not_asked_for_changes_until_everything_is_asked_anew(shard: Path) -> None:
    full = ask(LISTING.model_copy(update={"limit": 3}))
    gather(full, Shelf(rows(3)), shard, now=NOW)
    shelf = Shelf(rows(3))
    assert not gather(full, shelf, shard, now=NOW + timedelta(days=2)).asked
    assert gather(full, shelf, shard, now=NOW + timedelta(days=31)).asked


def test_a_spread_limit_takes_from_each_observer_in_turn() -> None:
    offered = candidate_frame(
        [row(n, label="spiders", creator="busy") for n in range(20)]
        + [row(30 + n, label="spiders", creator="rare") for n in range(3)]
        + [row(40, label="spiders")]
    )
    chosen = picked(offered, LISTING.model_copy(update={"limit": 8, "spread": "observers"}))
    assert Counter(chosen["creator"].to_list()) == {"busy": 4, "rare": 3, None: 1}


def test_a_limit_without_a_spread_takes_the_first(shard: Path) -> None:
    gather(ask(LISTING.model_copy(update={"limit": 2})), Shelf(rows(3)), shard, now=NOW)
    assert [url[-7:-4] for url in urls(shard)] == ["000", "001"]


def test_classes_told_by_the_source_are_dropped_and_merged(shard: Path) -> None:
    told = ["calanoida", "oithona", " oithona ", "detritus", None, "  ", "acantharia"]
    source = UrlListSource(source="url_list", path=Path("x.csv"))
    labels = LabelsConfig(drop=("detritus",), merge={"copepoda": ("calanoida", "oithona")})
    shelf = Shelf([row(number, label=label) for number, label in enumerate(told)], paged=False)

    found = gather(ask(source, label=None, labels=labels), shelf, shard, now=NOW)

    frame = pl.read_parquet(shard)
    assert Counter(frame["label"].to_list()) == {"copepoda": 3, "acantharia": 1}
    assert found.notes == {"rows": 7, "without-label": 2, "label-dropped": 1, "candidates": 4}


def test_other_merging_is_another_shard_and_for_a_named_class_it_makes_no_difference(tmp_path: Path) -> None:
    merging = LabelsConfig(merge={"a": ("b",)})
    assert shard_path(tmp_path, ask(label=None)) != shard_path(tmp_path, ask(label=None, labels=merging))
    assert shard_path(tmp_path, ask()) == shard_path(tmp_path, ask(labels=merging))
    assert shard_path(tmp_path, ask()) != shard_path(tmp_path, ask(label="others"))


def test_an_address_offered_twice_for_a_class_is_one_candidate(shard: Path) -> None:
    found = gather(ask(), Shelf([*rows(3), *rows(2)]), shard, now=NOW)
    assert found.notes == {"rows": 5, "duplicates": 2, "candidates": 3}
