"""What a collection will bring, cost and take, told before anything is fetched.

Reads the first page of each source (of a file all of it); writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import polars as pl

from tasks.core import local
from tasks.core.errors import HarvestmanError, TryAgainError
from tasks.core.hosts import parsed, place
from tasks.core.network import NetworkPolicy, bucket_host
from tasks.core.tables import LOCAL_SOURCES
from tasks.core.waiting import heed, stoppable
from tasks.discover.config import LabelsConfig
from tasks.discover.found import Ask, Page, contained
from tasks.discover.gather import labelled, picked
from tasks.discover.hours import Site, added, api_hours, longest, photo_hours
from tasks.discover.queues import queues
from tasks.discover.sources import SOURCES

_PATIENCE = 65.0  # seconds: a budget of a minute is waited for, one of an hour is told
_ATTEMPTS = 2
_BYTES = 250_000  # of a photo of unknown size
# Mean bytes of iNaturalist's JPEGs by size word: 75, 100, 240, 500, 1024 and 2048 pixels at the longest side.
_SIZES = {"square": 4_000, "thumb": 5_000, "small": 20_000, "medium": 80_000, "large": 300_000, "original": 1_400_000}
_REFUSED = "licence-refused"
_INVALID = "invalid-address"
_NO_LOSS = {"rows", "unwrapped"}  # notes of what is not left out


@dataclass(frozen=True)
class Offer:
    """What one source will bring."""

    source: str
    images: dict[str, int] = field(default_factory=dict)
    """Photos by class."""
    exact: bool = True
    """False where it is reckoned from the first page."""
    licences: dict[str, int] = field(default_factory=dict)
    """Photos by licence; `unknown` where the source states none."""
    notes: dict[str, int] = field(default_factory=dict)
    """What is left out, by reason; `licence-refused` also where the recipe's `ingest.licences` refuses it,
    `invalid-address` where it is no address that ingest asks."""
    told: tuple[str, ...] = ()
    """Classes the source itself tells, before they are dropped or merged."""
    bytes: int = 0
    """Expected, all photos together."""
    asking: dict[str, float] = field(default_factory=dict)
    """Hours of questions to the source, by budget."""
    fetching: dict[str, float] = field(default_factory=dict)
    """Hours of its photos, by budget."""
    asked: bool = True
    """False where it was not to be asked (offline)."""
    problems: tuple[HarvestmanError, ...] = ()
    """What keeps it from being asked, or what it said instead of an answer."""

    @property
    def hours(self) -> float:
        """The budgets' share of the time that this source alone would take."""
        return longest(self.asking) + longest(self.fetching)


@dataclass(frozen=True)
class Forecast:
    """What all sources of a recipe will bring."""

    offers: tuple[Offer, ...]
    """In the order of the recipe."""
    images: dict[str, int]
    """Photos by class; one that two sources offer counts twice."""
    small: tuple[str, ...]
    """Classes of the recipe with fewer photos than `labels.min_images`."""
    left_out: dict[str, int]
    """Photos by class, of the classes told by sources with fewer."""

    @property
    def hours(self) -> float:
        """The budgets' share of the time: sources that share one add up, others are asked meanwhile."""
        return longest(added([offer.asking for offer in self.offers])) + longest(
            added([offer.fetching for offer in self.offers])
        )


def forecast(
    asks: Sequence[Ask[Any]],
    *,
    labels: LabelsConfig,
    licences: Sequence[str] | None = None,
    offline: bool = False,
    on_offer: Callable[[Ask[Any], Offer], None] | None = None,
) -> Forecast:
    """Ask every source for its first page.

    A budget that is used up is not waited for, unless for a minute: when it goes on is the source's problem.

    Args:
        asks: the questions of a recipe.
        labels: its `labels:` block.
        licences: its `ingest.licences`; photos under others count as left out. None = any.
        offline: ask no API; sources that are files are read.
        on_offer: called for each source when it has answered.
    """
    wanted = None if licences is None else [licence.lower() for licence in licences]  # as ingest compares them
    offers = _offers(asks, partial(_offer, licences=wanted, offline=offline), on_offer)
    images: Counter[str] = Counter({ask.label: 0 for ask in asks if ask.label})
    for offer in offers:
        images.update(offer.images)
    # Where a source could not be asked, nobody knows yet how small its classes are.
    silent = {
        ask.label for ask, offer in zip(asks, offers, strict=True) if offer.problems or (offline and not offer.images)
    }
    few = {name for name, count in images.items() if count < labels.min_images}
    named = {ask.label for ask in asks}
    return Forecast(
        offers,
        images={name: count for name, count in sorted(images.items()) if name not in few or name in named},
        small=tuple(sorted((few & named) - silent)),
        left_out={name: images[name] for name in sorted(few - named)},
    )


def _offers(
    asks: Sequence[Ask[Any]],
    answer: Callable[[Ask[Any]], Offer],
    on_offer: Callable[[Ask[Any], Offer], None] | None,
) -> tuple[Offer, ...]:
    found: dict[int, Offer] = {}

    def walk(queue: list[int]) -> None:
        attempts = _ATTEMPTS
        for number in queue:
            heed()
            offer = answer(replace(asks[number], patience=_PATIENCE, attempts=attempts))
            attempts = 1 if any(isinstance(error, TryAgainError) for error in offer.problems) else _ATTEMPTS
            found[number] = offer
            if on_offer:
                on_offer(asks[number], offer)

    waiting = queues(asks)
    with ThreadPoolExecutor(max(len(waiting), 1), thread_name_prefix="check") as pool, stoppable():
        walks = [pool.submit(copy_context().run, walk, queue) for queue in waiting]
        for ended in as_completed(walks):
            ended.result()
    return tuple(found[number] for number in range(len(asks)))


def _offer(ask: Ask[Any], *, licences: list[str] | None, offline: bool) -> Offer:
    module = SOURCES[ask.source.source]
    problems = tuple(module.problems(ask))
    if problems or (offline and ask.source.REFRESH != "read"):
        return Offer(ask.source.source, asked=not offline, problems=problems)
    try:
        with contained(ask.source.source):
            page = next(iter(module.pages(ask)), None)
    except HarvestmanError as error:
        return Offer(ask.source.source, problems=(error,))
    return _reckoned(ask, page, licences) if page else Offer(ask.source.source)


def _reckoned(ask: Ask[Any], page: Page, licences: list[str] | None) -> Offer:
    whole, notes = _as_gathered(ask, page)
    more = page.cursor is not None
    factor = _factor(ask, page, whole.height) if more else 1.0
    offered = _counted(ask, whole, factor)
    licensed = _accepted(whole, licences)
    frame, hosts = _asked(licensed, ask.source.source)
    counts = _share(offered, whole, frame)
    kept = sum(counts.values()) / max(frame.height, 1)
    reasons = {name: round(count * factor) for name, count in sorted(notes.items()) if name not in _NO_LOSS}
    accepted = sum(_share(offered, whole, licensed).values())
    unasked = Counter({_REFUSED: sum(offered.values()) - accepted, _INVALID: accepted - sum(counts.values())})
    kinds = (
        frame.group_by(pl.col("licence").fill_null("unknown")).len().sort("len", "licence", descending=[True, False])
    )
    size = _SIZES.get(getattr(ask.source, "photo_size", ""), _BYTES)
    expected = round(kept * hosts.total() * size)
    return Offer(
        ask.source.source,
        images=counts,
        exact=not more,
        licences={name: round(count * kept) for name, count in kinds.iter_rows()},
        notes={name: count for name, count in (Counter(reasons) + unasked).items() if count},
        told=_told(ask, page),
        bytes=expected,
        asking=api_hours(ask, factor) if more else {},
        fetching=photo_hours(ask.network, hosts, expected),
        problems=_unnamed(ask.network, hosts),
    )


def _share(offered: dict[str, int], whole: pl.DataFrame, part: pl.DataFrame) -> dict[str, int]:
    """Return what is offered of each class if a part of the candidates counts, and no other.

    A class of which none counts stays, with none: it is too small, and not unheard of.
    """
    shares = dict(part.group_by("label").len().iter_rows())
    totals = dict(whole.group_by("label").len().iter_rows())
    return {name: round(count * shares.get(name, 0) / totals[name]) for name, count in offered.items()}


def _asked(frame: pl.DataFrame, source: str) -> tuple[pl.DataFrame, Counter[Site]]:
    """Return the candidates that ingest can ask, and how many of them are at which site of the network."""
    own = pl.col("url").str.starts_with(local.SCHEME) & pl.lit(source in LOCAL_SOURCES)
    sites = {url: _site(url) for url in frame.filter(~own)["url"].unique(maintain_order=True)}
    fit = pl.Series([url for url, site in sites.items() if site], dtype=pl.String)
    asked = frame.filter(own | pl.col("url").is_in(fit.implode()))
    return asked, Counter(site for url in asked["url"] if (site := sites.get(url)))


def _unnamed(network: NetworkPolicy, hosts: Iterable[Site]) -> tuple[HarvestmanError, ...]:
    """Return the problem of photos at a host that is not contacted without a contact."""
    for host, _ in hosts:
        try:
            network.check_contact(host)
        except HarvestmanError as error:
            return (error,)
    return ()


def _as_gathered(ask: Ask[Any], page: Page) -> tuple[pl.DataFrame, Counter[str]]:
    """Return the candidates of a page as `gather` would keep them, and its notes."""
    named = labelled(page, ask)
    frame = named.candidates.unique(["url", "label"], keep="first", maintain_order=True)
    return (frame if page.cursor is not None else picked(frame, ask.source)), named.notes


def _counted(ask: Ask[Any], frame: pl.DataFrame, factor: float) -> dict[str, int]:
    """Return the photos that a source will bring by class, its limit obeyed."""
    counts = {name: round(count * factor) for name, count in frame.group_by("label").len().sort("label").iter_rows()}
    most = ask.source.most
    return counts if most is None else {name: min(count, most) for name, count in counts.items()}


def _accepted(frame: pl.DataFrame, licences: list[str] | None) -> pl.DataFrame:
    """Return the candidates whose licence `ingest` accepts; with a list, an unknown one is refused."""
    return frame if licences is None else frame.filter(pl.col("licence").str.to_lowercase().is_in(licences))


def _told(ask: Ask[Any], page: Page) -> tuple[str, ...]:
    if ask.label is not None or "label" not in page.candidates.columns:
        return ()
    return tuple(page.candidates["label"].cast(pl.String).str.strip_chars().drop_nulls().unique().sort())


def _factor(ask: Ask[Any], page: Page, found: int) -> float:
    """Return how many times the first page's candidates there are in all, the source's limit obeyed."""
    queries = max(len(getattr(ask.source, "queries", ())), 1)
    factor = max((page.total or 0) / max(page.items, 1), 1.0)
    limit = getattr(ask.source, "limit", None)
    most = limit / found if limit and found and ask.label is not None else factor
    return min(factor, most) * queries


def _site(url: str) -> Site | None:
    """Return the host, or the bucket, and the port of an address; None where ingest would not ask it."""
    address = parsed(url)
    if isinstance(address, str):
        return None
    host, port = place(address)
    return bucket_host(host, address.path), port
