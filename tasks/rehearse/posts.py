"""What is put where on a photo site: photos shared out over the sources, traps planted among them.

Reads pictures; writes derived pictures (spoilt, copied, mirrored) into `<site>/derived`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.rehearse.faults import BARRED, EXTRA, GOOD, IN_FILES, derived, met
from tasks.rehearse.pictures import Groups
from tasks.rehearse.sources import GRADES, LOCAL, OBSERVED, OPEN, Slot
from tasks.rehearse.taxa import taxa_of

_OPEN_ONLY = ("inaturalist_open_data", "openverse", "wikimedia_commons")  # hold nothing without a licence
SHARE = 0.15  # extra addresses per good one, all kinds together


@dataclass
class Shot:
    """One address to be: a picture and a behaviour."""

    file: Path
    kind: str = "photo"


@dataclass
class Post:
    """What goes up together at one source: an observation's shots, or single pictures of a list."""

    slot: Slot
    shots: list[Shot]


Slots = dict[str, list[Slot]]


@dataclass(frozen=True)
class Rules:
    """What the recipe says that decides what can be put up."""

    door: dict[str, Any]  # the `ingest:` block, complete
    drop: tuple[str, ...] = ()  # classes that are not wanted


def posts_of(found: dict[str, Groups], slots: Slots, *, rules: Rules, seed: int, derive: Path) -> list[Post]:
    """Return everything the site shows, in a fixed order.

    Args:
        found: Photos of each class, grouped by observation.
        slots: Sources of each class.
        rules: What the recipe accepts.
        seed: Decides which photo goes where.
        derive: Folder for the pictures made from others.
    """
    rng = np.random.default_rng(seed)
    posts = [post for label, groups in found.items() for post in _shared(groups, slots[label], rng)]
    bases = {label: _shuffled([path for group in groups for path in group], rng) for label, groups in found.items()}
    total = sum(map(len, bases.values()))
    each = max(1, round(SHARE * total / len(EXTRA)))
    _impatient(posts, rng, door=rules.door, each=each)
    kinds = [kind for kind in EXTRA if met(rules.door, kind)]
    return (
        posts
        + _planted(bases, slots, kinds, each=each, derive=derive)
        + _barred(bases, slots, rules.drop, each=each, derive=derive)
    )


def _shuffled(items: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    return [items[int(place)] for place in rng.permutation(len(items))]


def _shared(groups: Groups, slots: list[Slot], rng: np.random.Generator) -> Iterator[Post]:
    """Give each source an equal share of the photos. Observations stay whole.

    The largest observations go to sources of observations, which can say what belongs together; a list cannot,
    and an export has one photo of each.
    """
    order = sorted(_shuffled(groups, rng), key=len, reverse=True)
    able = sorted(slots, key=lambda slot: slot.source not in OBSERVED)
    total, given, place = sum(map(len, groups)), 0, 0
    for group in order:
        while place < len(able) - 1 and given >= total * (place + 1) / len(able):
            place += 1
        given += len(group)
        alone = able[place].source == "inaturalist_export"
        yield from (
            Post(able[place], [Shot(path) for path in part]) for part in ([[p] for p in group] if alone else [group])
        )


def _impatient(posts: list[Post], rng: np.random.Generator, *, door: dict[str, Any], each: int) -> None:
    """Turn some good photos slow, busy or redirected, as far as the recipe's patience goes."""
    possible = {
        "slow": door["timeout"] > 1.5,  # noqa: PLR2004 - seconds; the site pauses for half a second at a time
        "busy-once": door["attempts"] > 1 and door["max_wait"] >= 1,
        "busy-dated": door["attempts"] > 1 and door["max_wait"] >= 2,  # noqa: PLR2004 - seconds, as dates have no parts
        "redirected": door["max_redirects"] > 1,
        "gzipped": True,
        "resumable": door["attempts"] > 1,
    }
    fetched = [post for post in posts if post.slot.source not in LOCAL]
    shots = iter(_shuffled([shot for post in fetched for shot in post.shots], rng))
    for kind in (kind for kind, can in possible.items() if can):
        for _, shot in zip(range(min(each, GOOD[kind].most or each)), shots, strict=False):
            shot.kind = kind


def _planted(bases: dict[str, list[Path]], slots: Slots, kinds: list[str], *, each: int, derive: Path) -> list[Post]:
    """Plant `each` extra addresses of every kind, spread over classes and sources."""
    labels = list(slots)
    fresh = {label: list(files) for label, files in bases.items()}
    posts: list[Post] = []
    for i, kind in enumerate(kinds):
        for j in range(min(each, EXTRA[kind].most or each)):
            label = labels[(i + j) % len(labels)]
            able = _able(kind, slots[label])
            if not able:
                continue
            slot = able[(i // len(labels) + j) % len(able)]
            # A picture is doubled once at the most, so that every planted verdict can be foretold.
            pool = fresh[label] if EXTRA[kind].verdict else bases[label]
            file = _made(kind, pool, derive / f"{kind}-{j}", drop=EXTRA[kind].verdict is not None)
            if file is None:
                continue
            posts.append(Post(slot, [Shot(file, kind)]))
            if kind == "conflict":
                other = slots[labels[(i + j + 1) % len(labels)]][0]
                again = derived("recoded", file, derive / f"{kind}-{j}-again") if j % 2 else file
                posts.append(Post(other, [Shot(again, kind)]))
    return posts


def _able(kind: str, slots: list[Slot]) -> list[Slot]:
    return [slot for slot in slots if kind in IN_FILES or slot.source not in LOCAL]


def _made(kind: str, pool: list[Path], target: Path, *, drop: bool) -> Path | None:
    """Make the picture of an extra address from the next of `pool` that can be decoded."""
    for _ in range(len(pool)):
        base = pool.pop(0)
        if not drop:
            pool.append(base)
        try:
            return derived(kind, base, target)
        except (OSError, ValueError, SyntaxError):  # a broken photo of the user's: what Pillow raises while decoding
            continue
    return None


def _barred(
    bases: dict[str, list[Path]], slots: Slots, drop: tuple[str, ...], *, each: int, derive: Path
) -> list[Post]:
    """Plant photos that the filters of a source must leave out."""
    sources = [slot for group in slots.values() for slot in group if slot.source not in LOCAL or slot.tabular]
    sources = [slot for slot in sources if any(bars(slot, kind, drop) for kind in BARRED)]
    sources = list({slot.name: slot for slot in reversed(sources)}.values())[::-1]  # one slot of each source
    posts = []
    for place, slot in enumerate(sources):
        rivals = [other for other in sources if other is not slot and other.source == slot.source]
        if slot.source in ("inaturalist", "gbif") and any(set(slot.taxa) & set(other.taxa) for other in rivals):
            continue  # what one source bars the other may take
        for kind in BARRED:
            for j in range(each if bars(slot, kind, drop) else 0):
                file = _made(kind, bases[slot.label], derive / f"{kind}-{place}-{j}", drop=False)
                posts += [Post(slot, [Shot(file, kind)])] if file else []
    return posts


def bars(slot: Slot, kind: str, drop: tuple[str, ...]) -> bool:
    """Whether a source leaves out what a photo of `kind`, one of BARRED, is an example of."""
    by_column = slot.tabular and slot.rule is not None and slot.rule.column is not None
    taxa = taxa_of(slot, drop) if slot.source in OBSERVED else {}
    return {
        "low-grade": "quality_grade" in slot.options and bool(grades_barred(slot)),
        "unlicensed": bool(slot.licences) and slot.source != "google" and bool(licences_barred(slot)),
        "elsewhere": slot.tabular and bool(slot.options.get("where")),
        "unlabelled": bool(by_column or taxa.get("unnamed")),
        "unwanted": bool(drop) and bool(by_column or taxa.get("unwanted")),
    }[kind]


def grades_barred(slot: Slot) -> list[str]:
    """Return the quality grades a source does not take."""
    return [grade for grade in GRADES if grade not in slot.options["quality_grade"]]


def licences_barred(slot: Slot) -> list[str | None]:
    """Return the licences a source does not take; none = all rights reserved."""
    others: list[str | None] = [licence for licence in OPEN if licence not in slot.licences]
    return others if slot.source in _OPEN_ONLY else [None, *others]
