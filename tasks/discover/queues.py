"""Which sources are asked one after another, and which at the same time. Reads and writes nothing.

A budget that is used up keeps those waiting that share it, and nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from tasks.core.endpoints import APIS
from tasks.core.network import default_port
from tasks.discover.found import Ask

FILES = 4  # sources that are files read at once
MOST = FILES + len(APIS)
"""Queues there can be."""


def queues(asks: Sequence[Ask[Any]]) -> list[list[int]]:
    """Return the places of `asks` by queue: one for each API, or each budget of some APIs, and some for files."""
    found: dict[str, list[int]] = {}
    files = [place for place, ask in enumerate(asks) if ask.api is None]
    for number, place in enumerate(files):
        found.setdefault(f"files {number % FILES}", []).append(place)
    for place, ask in enumerate(asks):
        if ask.api is not None:
            found.setdefault(_shared(ask, ask.api), []).append(place)
    return list(found.values())


def _shared(ask: Ask[Any], api: str) -> str:
    parts = urlsplit(ask.network.api(api))
    budget = ask.network.budget(parts.hostname or "", parts.port or default_port(parts.scheme), parts.path)
    return f"budget {budget[0]}" if budget else f"api {api}"
