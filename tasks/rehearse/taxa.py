"""The taxa of a photo site: those a recipe asks for, and those below them that its classes are made of.

Reads and writes nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

from tasks.rehearse.labels import RANKS
from tasks.rehearse.plan import Taxon
from tasks.rehearse.sources import Slot

_FIRST = 900_000  # taxon id


def taxon_id(taxon: str | int) -> int:
    """Return the id under which the site knows a taxon given by name or id."""
    return taxon if isinstance(taxon, int) else _FIRST + zlib.crc32(taxon.casefold().encode()) % 500_000


def name_of(taxon: str | int) -> str:
    """Return the scientific name under which the site knows a taxon given by name or id."""
    return taxon if isinstance(taxon, str) else f"Taxon {taxon}"


def taxa_of(slot: Slot, drop: Sequence[str] = ()) -> dict[str, list[Taxon]]:
    """Return the taxa that observations of a source may be of.

    Returns:
        `own`: those of its class; `unnamed`: those of none; `unwanted`: those of a class that the recipe drops.
    """
    rule = slot.rule
    asked = [_taxon(name, _rank(name), ()) for name in slot.taxa]
    if rule and rule.taxa:
        inside = {name.casefold() for names in rule.taxa.values() for name in names}
        own = [_below(asked, name, None) for name in rule.taxa[str(slot.raw)]]
        return {"own": own, "unnamed": [taxon for taxon in asked if taxon.name.casefold() not in inside]}
    if rule and rule.rank:
        own = [_below(asked, rule.written(str(slot.raw)), rule.rank)]
        higher = [_higher(taxon, rule.rank) for taxon in asked]
        return {"own": own, "unnamed": higher, "unwanted": [_below(asked, name, rule.rank) for name in drop]}
    return {"own": asked or [_taxon(slot.label.capitalize(), "species", ())]}


def all_taxa(slots: Iterable[Slot], drop: Sequence[str] = ()) -> tuple[Taxon, ...]:
    """Return every taxon of the sources, higher ones too, in the order of their ids."""
    found: dict[int, Taxon] = {}
    for slot in slots:
        for taxon in (taxon for taxa in taxa_of(slot, drop).values() for taxon in taxa):
            found |= {higher.id: higher for higher in taxon.above if higher.id not in found} | {taxon.id: taxon}
    return tuple(found[number] for number in sorted(found))


def _taxon(taxon: str | int, rank: str, above: tuple[Taxon, ...]) -> Taxon:
    return Taxon(id=taxon_id(taxon), name=name_of(taxon), rank=rank, above=above)


def _below(asked: Sequence[Taxon], name: str, rank: str | None) -> Taxon:
    """Return the taxon `name`, below one of those asked for unless it is one of them."""
    rank = rank or _rank(name)
    same = any(taxon.name.casefold() == name.casefold() for taxon in asked)
    if same or not asked:
        return _taxon(name, rank, ())
    return _taxon(name, rank, (_higher(asked[zlib.crc32(name.encode()) % len(asked)], rank),))


def _higher(taxon: Taxon, rank: str) -> Taxon:
    return taxon.model_copy(update={"rank": RANKS[max(RANKS.index(rank) - 1, 0)]})


def _rank(taxon: str | int) -> str:
    name = name_of(taxon)
    if " " in name:
        return "species"
    return "family" if name.endswith(("idae", "aceae")) else "genus"
