"""Queries, their variants and their pages, one after the other, from wherever a cursor says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tasks.core.errors import SourceError
from tasks.core.network import NetworkPolicy
from tasks.discover.found import Ask, Page
from tasks.discover.searches import SearchSource
from tasks.discover.searching import Answer, walk


class Engine:
    """Shows the numbers of a search three a page; remembers what it was asked."""

    def __init__(self, **found: Sequence[int]) -> None:
        self.found, self.asked = found, list[tuple[str, Any]]()

    def __call__(self, search: str, place: Any) -> Answer:  # noqa: ANN401 - as the engine
        self.asked.append((search, place))
        start, numbers = place or 0, self.found[search]
        shown = numbers[start : start + 3]
        onward = start + 3 if start + 3 < len(numbers) else None
        return Answer([{"url": f"https://x.org/{number}"} for number in shown], Counter(rows=len(shown)), onward)


def ask(*, limit: int = 100, cursor: dict[str, Any] | None = None) -> Ask[Any]:
    return Ask(SearchSource(query="spider", limit=limit), "s", NetworkPolicy(user_agent="test"), cursor=cursor)


def numbers(found: Sequence[Page]) -> list[int]:
    return [int(url.rsplit("/", 1)[1]) for page in found for url in page.candidates["url"]]


def test_every_query_is_asked_to_its_end_in_each_variant() -> None:
    engine = Engine(a=range(4), b=range(10, 12), c=range(20, 23))
    found = list(walk(ask(), [["a", "b"], ["c"]], engine))
    assert numbers(found) == [0, 1, 2, 3, 10, 11, 20, 21, 22]
    assert engine.asked == [("a", None), ("a", 3), ("b", None), ("c", None)]


def test_the_limit_is_one_of_each_query_over_all_its_variants() -> None:
    engine = Engine(a=range(5), b=range(3, 30), c=range(20, 40))
    found = list(walk(ask(limit=7), [["a", "b"], ["c"]], engine))
    assert numbers(found) == [0, 1, 2, 3, 4, 5, 6, *range(20, 27)]
    notes = sum((page.notes for page in found), Counter())
    assert notes == Counter({"rows": 20, "duplicates": 2, "beyond-limit": 4})
    assert engine.asked == [("a", None), ("a", 3), ("b", None), ("b", 3), ("c", None), ("c", 3), ("c", 6)]


@pytest.mark.parametrize("stop", range(1, 8))
def test_a_run_killed_after_any_page_goes_on_as_if_it_had_not_been(stop: int) -> None:
    searches = [["a", "b"], ["c"]]

    def engine() -> Engine:
        return Engine(a=range(5), b=range(3, 30), c=range(20, 40))

    whole, first, second = engine(), engine(), engine()
    expected = list(walk(ask(limit=7), searches, whole))
    before = [page for _, page in zip(range(stop), walk(ask(limit=7), searches, first), strict=False)]
    cursor = json.loads(json.dumps(before[-1].cursor))
    after = list(walk(ask(limit=7, cursor=cursor), searches, second))
    assert numbers([*before, *after]) == numbers(expected)
    assert first.asked[:stop] + second.asked == whole.asked


def test_nothing_is_asked_behind_the_last_page() -> None:
    last = list(walk(ask(), [["a"]], Engine(a=range(2))))[-1]
    engine = Engine(a=range(2))
    assert list(walk(ask(cursor=last.cursor), [["a"]], engine)) == []
    assert engine.asked == []


def test_an_engine_that_shows_the_same_for_ever_is_left_alone() -> None:
    engine = Engine(a=[1, 2, 3] * 1000, b=[7])
    assert numbers(list(walk(ask(), [["a", "b"]], engine))) == [1, 2, 3, 7]
    assert engine.asked == [("a", None), ("a", 3), ("a", 6), ("b", None)]


@pytest.mark.parametrize(("paid", "pages"), [(True, [0, 1, 0, 1, 0, 0, 0]), (False, [0, 1, 0, 1, 0, 0, 0, 0, 1])])
def test_what_is_paid_for_ends_after_two_pages_of_which_nothing_is_taken(paid: bool, pages: list[int]) -> None:
    shown = [0, 1, 0, 1, 0, 0, 0, 0, 1]  # rows taken of each page's three results

    def engine(_search: str, place: Any) -> Answer:  # noqa: ANN401 - as the engine
        at = place or 0
        rows = [{"url": f"https://x.org/{at}/{row}"} for row in range(shown[at])]
        return Answer(rows, Counter(rows=3), at + 1 if at + 1 < len(shown) else None, items=3 if at != 4 else 0)

    assert [page.candidates.height for page in walk(ask(), [["a"]], engine, paid=paid)] == pages


def test_a_page_that_leads_to_itself_is_an_error() -> None:
    def stuck(_search: str, _place: Any) -> Answer:  # noqa: ANN401 - as the engine
        return Answer([], Counter(), {"gsroffset": 50})

    with pytest.raises(SourceError, match="does not go forward"):
        list(walk(ask(), [["a"]], stuck))


def test_a_refused_query_is_told_when_the_others_have_been_asked() -> None:
    engine = Engine(a=range(2), c=range(20, 22))

    def answer(search: str, place: Any) -> Answer:  # noqa: ANN401 - as the engine
        if search.startswith("bad"):
            raise SourceError(f"{search} is refused.")
        return engine(search, place)

    found: list[Page] = []
    with pytest.raises(SourceError, match="bad is refused"):  # noqa: PT012 - what came before the error counts
        for page in walk(ask(), [["a"], ["bad"], ["c"]], answer):
            found.append(page)  # noqa: PERF402 - one by one: the error must not lose those before it
    assert numbers(found) == [0, 1, 20, 21]
    assert found[-1].notes["refused-queries"] == 1

    engine.asked.clear()
    with pytest.raises(SourceError, match="bad2"):
        list(walk(ask(), [["bad"], ["bad2"], ["c"]], answer))
    assert engine.asked == []  # two in a row: it is the key, not the query
