"""What a collection will bring, cost and take, told before anything is fetched.

Reads the first page of each source (of a file all of it); writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from tasks.core.errors import HarvestmanError
from tasks.core.network import NetworkPolicy, default_port
from tasks.discover.config import LabelsConfig
from tasks.discover.found import Ask, Page
from tasks.discover.gather import labelled, picked
from tasks.discover.sources import SOURCES

_AT_ONCE = 8
_BYTES = 250_000  # of a photo of unknown size
# Mean bytes of iNaturalist's JPEGs by size word: 75, 100, 240, 500, 1024 and 2048 pixels at the longest side.
_SIZES = {"square": 4_000, "thumb": 5_000, "small": 20_000, "medium": 80_000, "large": 300_000, "original": 1_400_000}
_DAY = 24  # hours


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
    bytes: int = 0
    """Expected, all photos together."""
    hours: float = 0.0
    """The budgets' share of the time: questions to the source, and its photos."""
    asked: bool = True
    """False where it was not to be asked (offline)."""
    problems: tuple[HarvestmanError, ...] = ()
    """What keeps it from being asked, or what it said instead of an answer."""


@dataclass(frozen=True)
class Forecast:
    """What all sources of a recipe will bring."""

    offers: tuple[Offer, ...]
    """In the order of the recipe."""
    images: dict[str, int]
    """Photos by class; one that two sources offer counts twice."""
    small: tuple[str, ...]
    """Classes of the recipe with fewer photos than `labels.min_images`."""
    left_out: tuple[str, ...]
    """Classes told by sources with fewer."""


def forecast(
    asks: Sequence[Ask[Any]],
    *,
    labels: LabelsConfig,
    offline: bool = False,
    on_offer: Callable[[Ask[Any], Offer], None] | None = None,
) -> Forecast:
    """Ask every source for its first page.

    Args:
        asks: the questions of a recipe.
        labels: its `labels:` block.
        offline: ask no API; sources that are files are read.
        on_offer: called for each source when it has answered.
    """

    def one(ask: Ask[Any]) -> Offer:
        offer = _offer(ask, offline=offline)
        if on_offer:
            on_offer(ask, offer)
        return offer

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="check") as pool:
        offers = tuple(pool.map(one, asks))
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
        left_out=tuple(sorted(few - named)),
    )


def _offer(ask: Ask[Any], *, offline: bool) -> Offer:
    module = SOURCES[ask.source.source]
    problems = tuple(module.problems(ask))
    if problems or (offline and ask.source.REFRESH != "read"):
        return Offer(ask.source.source, asked=not offline, problems=problems)
    try:
        page = next(iter(module.pages(ask)), None)
    except HarvestmanError as error:
        return Offer(ask.source.source, problems=(error,))
    return _reckoned(ask, page) if page else Offer(ask.source.source)


def _reckoned(ask: Ask[Any], page: Page) -> Offer:
    frame = _as_gathered(ask, page)
    more = page.cursor is not None
    factor = _factor(ask, page, frame.height) if more else 1.0
    counts = {name: round(count * factor) for name, count in frame.group_by("label").len().sort("label").iter_rows()}
    kinds = (
        frame.group_by(pl.col("licence").fill_null("unknown")).len().sort("len", "licence", descending=[True, False])
    )
    remote = frame.filter(pl.col("url").str.starts_with("http"))["url"].to_list()
    size = _SIZES.get(getattr(ask.source, "photo_size", ""), _BYTES)
    expected = round(sum(counts.values()) * size * len(remote) / max(frame.height, 1))
    return Offer(
        ask.source.source,
        images=counts,
        exact=not more,
        licences={name: round(count * factor) for name, count in kinds.iter_rows()},
        bytes=expected,
        hours=_photo_hours(ask.network, remote, expected) + (_api_hours(ask, factor) if more else 0.0),
    )


def _as_gathered(ask: Ask[Any], page: Page) -> pl.DataFrame:
    """Return the candidates of a page as `gather` would keep them."""
    frame = labelled(page, ask).candidates.unique(["url", "label"], keep="first", maintain_order=True)
    return frame if page.cursor is not None else picked(frame, ask.source)


def _factor(ask: Ask[Any], page: Page, found: int) -> float:
    """Return how many times the first page's candidates there are in all, the source's limit obeyed."""
    queries = max(len(getattr(ask.source, "queries", ())), 1)
    factor = max((page.total or 0) / max(page.items, 1), 1.0)
    limit = getattr(ask.source, "limit", None)
    most = limit / found if limit and found and ask.label is not None else factor
    return min(factor, most) * queries


def _photo_hours(network: NetworkPolicy, urls: list[str], expected: int) -> float:
    """Return the hours that byte budgets make of `expected` bytes from the hosts of `urls`."""
    hosts = Counter(urlsplit(url).netloc.lower() for url in urls)
    hours = [0.0]
    for netloc, count in hosts.items():
        parts = urlsplit(f"//{netloc}")
        found = network.budget(parts.hostname or "", parts.port or default_port("https"))
        share = expected * count / len(urls)
        if found:
            limits = ((found[1].bytes.hour, 1), (found[1].bytes.day, _DAY))
            hours += [share / amount * window for amount, window in limits if amount]
    return max(hours)


def _api_hours(ask: Ask[Any], pages: float) -> float:
    """Return the hours that the budget of a source's API makes of `pages` requests."""
    name = getattr(ask.source, "provider", ask.source.source)
    parts = urlsplit(ask.network.api(name))
    found = ask.network.budget(parts.hostname or "", parts.port or default_port(parts.scheme))
    if found is None:
        return 0.0
    limits = found[1].requests
    windows = ((limits.second, 1 / 3600), (limits.minute, 1 / 60), (limits.hour, 1), (limits.day, _DAY))
    return max([0.0, *(pages / amount * window for amount, window in windows if amount)])
