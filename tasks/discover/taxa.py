"""Taxa as recipes name them, by scientific name or by number, and how several are asked. Reads and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tasks.core.errors import SourceError
from tasks.discover.fields import Names
from tasks.discover.found import Cursor, Page

_OFFERED = 10  # matches named in an error


def listed(names: Names) -> tuple[str | int, ...]:
    """Return what a recipe lists, each once: numbers as int, names without surrounding blanks."""
    plain = [str(name).strip() for name in (names if isinstance(names, tuple) else (names,))]
    return tuple(dict.fromkeys(int(name) if name.isdecimal() else name for name in plain if name))


def not_one(what: str, offered: Sequence[str], *, hint: str) -> SourceError:
    """Return the error for a name that fits none or several.

    Args:
        what: what broke, in a sentence.
        offered: the matches, each with what tells it from the others.
        hint: what to write instead.
    """
    listing = "; ".join(offered[:_OFFERED])
    return SourceError(what, received=f"Offered: {listing}." if listing else "Nothing similar either.", hint=hint)


def turns(taxa: Sequence[int], *, apart: bool) -> list[list[Any]]:
    """Return the queries that are asked one page each by turns, as [taxa, where to go on], the latter 0.

    Args:
        taxa: numbers of the taxa.
        apart: a query for each, so that none waits until another has been read to its end; else one for all.
    """
    return [[[taxon], 0] for taxon in taxa] if apart else [[list(taxa), 0]]


def by_turns(cursor: Cursor, page: Callable[[Cursor], Page]) -> Iterator[Page]:
    """Yield pages until no query is left in the `turns` of the last one's cursor.

    Args:
        cursor: with the `turns` to begin with.
        page: asks the first query in turn; its answer's cursor says whose turn is next.
    """
    while cursor["turns"]:
        answer = page(cursor)
        yield answer
        cursor = answer.cursor or {"turns": []}
