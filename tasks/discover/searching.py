"""How search engines are asked: query after query, page after page, until `limit` pictures of each query are found.

Owns the cursor of the searches (google, openverse, wikimedia_commons); reads and writes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tasks.core.errors import SourceError
from tasks.discover.found import Ask, Cursor, Page, candidate_frame
from tasks.discover.searches import SearchSource

S = TypeVar("S")
Row = dict[str, object]

_STALE = 2  # pages in a row that bring nothing new, after which a search counts as told to its end


@dataclass(frozen=True)
class Answer:
    """One page of one search."""

    rows: Sequence[Row]
    """Candidates in the engine's order; `url` is never missing."""
    notes: Counter[str]
    """`rows` looked at, and rows left out by reason."""
    onward: Any
    """Where the next page is, as plain JSON; None = there is none."""
    total: int | None = None
    """Results that can be had of this search, where the engine says so."""
    items: int = 0
    """Results of those on this page."""


@dataclass(frozen=True)
class _Where:
    """Between two pages: which query, which way of asking it, which page, what is taken of the query already."""

    query: int = 0
    variant: int = 0
    place: Any = None
    stale: int = 0
    taken: tuple[str, ...] = field(default=(), repr=False)

    def cursor(self) -> Cursor:
        return {**vars(self), "taken": list(self.taken)}

    @classmethod
    def of(cls, cursor: Mapping[str, Any] | None) -> _Where:
        return cls(**{**cursor, "taken": tuple(cursor["taken"])}) if cursor else cls()


def walk(
    ask: Ask[SearchSource], searches: Sequence[Sequence[S]], answer: Callable[[S, Any], Answer], *, paid: bool = False
) -> Iterator[Page]:
    """Yield the pages of `searches`, going on behind `ask.cursor`: no page is asked twice.

    Args:
        ask: the question; `limit` of its source counts distinct addresses of one query over all its variants.
        searches: for each query its variants (languages), asked one after the other.
        answer: asks for one page of a variant at a place (None = the first).
        paid: a page costs money: two in a row of which nothing is taken end the search, whyever nothing is. Where
            pages are free, only what is known already counts: a category may begin with a hundred drawings.

    A query that is refused keeps none of the others from being asked, unless the next is refused too: then it is not
    the query.

    Raises:
        SourceError: a query is refused, told when the others have been asked; or a page says that the next page is
            itself.
    """
    where, limit = _Where.of(ask.cursor), ask.source.limit
    refused: list[SourceError] = []
    again = False  # the query before was refused
    while where.query < len(searches):
        variants = searches[where.query]
        try:
            got = answer(variants[where.variant], where.place)
        except SourceError as error:
            refused.append(error)
            if again or len(searches) == 1:
                raise
            where, again = _Where(query=where.query + 1), True
            continue
        if got.onward is not None and got.onward == where.place:
            raise SourceError(
                f"The answer of {ask.source.queries} does not go forward.",
                received=f"page {where.place} names itself as the next page",
                hint="Check HARVESTMAN_APIS; if the address is right, the API has changed.",
            )
        rows, notes, taken = _fresh(got, where.taken, limit)
        notes["refused-queries"] += again
        again = False
        stale = not rows and bool(got.items if paid else got.rows)
        after = replace(where, taken=taken, stale=where.stale + 1 if stale else 0, place=got.onward)
        where = _next(after, last=where.variant == len(variants) - 1, limit=limit)
        yield Page(candidate_frame(rows), notes, where.cursor(), got.total, got.items)
    if refused:
        raise refused[0]


def _fresh(got: Answer, taken: tuple[str, ...], limit: int) -> tuple[list[Row], Counter[str], tuple[str, ...]]:
    """Return the rows that are new to the query, as many as it may still take."""
    known, rows, notes = dict.fromkeys(taken), list[Row](), Counter(got.notes)
    for row in got.rows:
        # Digests, for the cursor: 10,000 addresses would make it a megabyte. 48 bits: a collision in 10,000
        # addresses, which would cost one picture, has a chance of 2 in 10 million.
        digest = hashlib.blake2b(str(row["url"]).encode(), digest_size=6).hexdigest()
        if digest in known:
            notes["duplicates"] += 1
        elif len(known) >= limit:
            notes["beyond-limit"] += 1
        else:
            known[digest] = None
            rows.append(row)
    return rows, notes, tuple(known)


def _next(where: _Where, *, last: bool, limit: int) -> _Where:
    ended = where.place is None or where.stale >= _STALE
    if len(where.taken) >= limit or (ended and last):
        return _Where(query=where.query + 1)
    return replace(where, variant=where.variant + 1, place=None, stale=0) if ended else where
