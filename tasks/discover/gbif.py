"""Pictures of occurrences, through GBIF's occurrence search, each with its own licence.

Reads `/species/match` and `/occurrence/search`; writes nothing. How it asks is in `tasks.discover.api`, how a
record is understood in `tasks.discover.gbif_records`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

from tasks.core.errors import HarvestmanError, SourceError
from tasks.discover.api import Api, open_api
from tasks.discover.config import GbifSource
from tasks.discover.fields import RANKS
from tasks.discover.found import Ask, Cursor, Page, candidate_frame
from tasks.discover.gbif_records import Record, rows_of
from tasks.discover.taxa import by_turns, listed, not_one, turns

_PER_PAGE = 300  # more is silently capped
_WINDOW = 100_000  # offset + limit; GBIF answers 400 beyond
_ADVICE = "Check `taxon:`, `country:` (two letters), `basis_of_record:`, `bbox:` and `observed:` in the recipe."

_log = logging.getLogger(__name__)

Query = dict[str, str | int | float | list[str] | list[int]]


class _Match(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    match_type: str
    usage_key: int | None = None
    accepted_usage_key: int | None = None  # of the accepted name, where the name found is a synonym
    canonical_name: str | None = None
    rank: str | None = None
    status: str | None = None
    kingdom: str | None = None
    family: str | None = None
    alternatives: list[_Match] = []

    @property
    def key(self) -> int | None:
        return self.accepted_usage_key or self.usage_key

    def __str__(self) -> str:
        told = [self.rank, self.kingdom, self.family if self.family != self.canonical_name else None]
        return f"{self.canonical_name} ({', '.join([*filter(None, told), f'key {self.usage_key}'])})"


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    count: int
    end_of_records: bool
    results: list[Record]


_MATCH, _ANSWER = TypeAdapter(_Match), TypeAdapter(_Answer)


def problems(ask: Ask[GbifSource]) -> Iterable[HarvestmanError]:  # noqa: ARG001 - as SourceModule has it
    """Yield nothing: without asking, nothing can be known."""
    return ()


def pages(ask: Ask[GbifSource]) -> Iterator[Page]:
    """Yield the pictures of occurrences in GBIF's order, where several are told apart a page of each taxon by turns.

    A picture is taken when its *own* licence is accepted: the occurrence's is one of three coarse ones, of the
    record. Asked for changes, what GBIF has interpreted anew since is looked at.

    Raises:
        SourceError: no taxon, or several, of that name; `label:` names a field that no record has; or the answer
            is not what the API promises.
        SourceUnavailableError: the API does not answer.
    """
    with open_api(ask, "gbif", advice=_ADVICE) as api:
        yield from by_turns(ask.cursor or _start(api, ask), partial(_page, api, ask))


def _start(api: Api, ask: Ask[GbifSource]) -> Cursor:
    named = [name if isinstance(name, int) else _taxon(api, name) for name in listed(ask.source.taxon)]
    taxa = list(dict.fromkeys(named))
    # A query for each taxon has a window of its own, too.
    queries = turns(taxa, apart=ask.label is None or ask.source.spread == "taxa")
    total = None
    if len(queries) > 1:  # how many there are in all is not the sum: one taxon may hold another
        every: Query = {"taxonKey": taxa, "limit": 1}
        total = api.get("/occurrence/search", _query(ask) | every, _ANSWER).count
    return {"total": total, "turns": queries}


def _taxon(api: Api, name: str) -> int:
    """Return the key of the accepted taxon with this scientific name."""
    found = api.get("/species/match", {"name": name, "strict": "true", "verbose": "true"}, _MATCH)
    same = [other for other in found.alternatives if other.match_type == "EXACT"]
    rivals = [other for other in same if other.status == "ACCEPTED" and other.key != found.key]
    if found.match_type == "EXACT" and found.key is not None and not rivals:
        return found.key
    own = [found] if found.usage_key is not None else []
    several = bool(rivals if found.match_type == "EXACT" else same)
    raise not_one(
        f"GBIF has {'several taxa' if several else 'no taxon'} named {name!r}.",
        [str(other) for other in own + (same if several else found.alternatives)],
        hint="Write the scientific name as GBIF has it, with its author where two share a name, or the taxon's key, "
        "in `taxon:`.",
    )


def _query(ask: Ask[GbifSource]) -> Query:
    source = ask.source
    # A record that has lost its pictures is no longer one with StillImage: of changes, all are looked at.
    query: Query = {} if ask.since else {"mediaType": "StillImage"}
    if source.country:
        query["country"] = [code.upper() for code in source.country]
    if source.basis_of_record:
        query["basisOfRecord"] = [basis.upper() for basis in source.basis_of_record]
    if source.bbox is not None:
        south, west, north, east = source.bbox
        query["decimalLatitude"] = f"{south},{north}"
        # A box across the 180th meridian is two ranges: a parameter that is repeated means either.
        query["decimalLongitude"] = [f"{west},{east}"] if west <= east else [f"{west},180", f"-180,{east}"]
    if any(source.observed):
        query["eventDate"] = ",".join(day.isoformat() if day else "*" for day in source.observed)
    if ask.since is not None:
        query["lastInterpreted"] = f"{ask.since.astimezone(UTC):%Y-%m-%d},*"
    return query


def _page(api: Api, ask: Ask[GbifSource], cursor: Cursor) -> Page:
    (taxa, offset), *rest = cursor["turns"]
    place: Query = {"taxonKey": taxa, "limit": min(_PER_PAGE, _WINDOW - offset), "offset": offset}
    answer = api.get("/occurrence/search", _query(ask) | place, _ANSWER)
    if not offset:
        _check_column(ask, answer.results)
    notes = Counter({"rows": 0})
    rows: list[dict[str, Any]] = []
    gone: list[str] = []
    for record in answer.results:
        taken = rows_of(record, ask.source, notes)
        rows += taken
        if ask.since is not None and not taken:
            gone.append(record.group)
    behind = offset + len(answer.results)
    over = answer.end_of_records or not answer.results or behind >= _WINDOW
    if behind >= _WINDOW and answer.count > behind:
        notes["beyond-window"] += _beyond(ask, answer.count - behind)
    total = min(answer.count, _WINDOW) if cursor["total"] is None else cursor["total"]
    following = {"total": total, "turns": rest if over else [*rest, [taxa, behind]]}
    return Page(candidate_frame(rows), notes, following, total, len(answer.results), tuple(gone))


def _beyond(ask: Ask[GbifSource], count: int) -> int:
    _log.warning(
        "%s: GBIF's search ends after %s occurrences, %s more fit. Narrow the query, or ask GBIF for a download and "
        "give it to the source darwin_core.",
        ask.name,
        f"{_WINDOW:,}",
        f"{count:,}",
    )
    return count


def _check_column(ask: Ask[GbifSource], records: Sequence[Record]) -> None:
    """Raise SourceError where the class is in a field that none of the records has."""
    column = ask.source.rule.column if ask.label is None and ask.source.rule else None
    if column is None or column in RANKS or not records:
        return
    fields = sorted({name for record in records for name in record.fields})
    if column not in fields:
        raise SourceError(
            f"No occurrence of GBIF's first page has a field {column!r}.",
            received=f"Fields: {', '.join(fields)}.",
            hint="Write one of these in `label:`, as it is spelt here.",
        )
