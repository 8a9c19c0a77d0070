"""The hours that budgets make of questions to an API and of photos to be fetched.

Reads and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tasks.core.network import Budget, NetworkPolicy, default_port
from tasks.discover.found import Ask

_DAY = 24  # hours
Site = tuple[str, int]
"""Host, or bucket of Amazon S3, and port."""


def photo_hours(network: NetworkPolicy, hosts: Counter[Site], expected: int) -> dict[str, float]:
    """Return the hours that byte budgets make of `expected` bytes from `hosts`, by budget."""
    shares: Counter[str] = Counter()
    budgets: dict[str, Budget] = {}
    for (host, port), count in hosts.items():
        if found := network.budget(host, port):
            name, budgets[name] = found
            shares[name] += count
    hours: dict[str, float] = {}
    for name, count in shares.items():
        limits = ((budgets[name].bytes.hour, 1), (budgets[name].bytes.day, _DAY))
        share = expected * count / hosts.total()
        hours[name] = max([0.0, *(share / amount * window for amount, window in limits if amount)])
    return hours


def api_hours(ask: Ask[Any], pages: float) -> dict[str, float]:
    """Return the hours that the budget of a source's API makes of `pages` requests, by budget."""
    if ask.api is None:
        return {}
    parts = urlsplit(ask.network.api(ask.api))
    found = ask.network.budget(parts.hostname or "", parts.port or default_port(parts.scheme), parts.path)
    if found is None:
        return {}
    limits = found[1].requests
    windows = ((limits.second, 1 / 3600), (limits.minute, 1 / 60), (limits.hour, 1), (limits.day, _DAY))
    return {found[0]: max([0.0, *(pages / amount * window for amount, window in windows if amount)])}


def longest(hours: Mapping[str, float]) -> float:
    """Return the hours that budgets take which are spent side by side."""
    return max(hours.values(), default=0.0)


def added(hours: list[dict[str, float]]) -> dict[str, float]:
    """Return the hours that several ask of each budget together."""
    return {name: sum(one.get(name, 0.0) for one in hours) for name in {name for one in hours for name in one}}
