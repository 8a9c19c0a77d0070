"""The places images can come from: one function a source, found by its name in a recipe.

Reads what the sources read; writes nothing. To add a source: a config, a module, a line in SOURCES.
"""

from __future__ import annotations

from typing import Any, Protocol

from tasks.core.network import NetworkPolicy
from tasks.discover.config import INaturalistSource, UrlListSource
from tasks.discover.found import Discovered
from tasks.discover.inaturalist import discover_inaturalist
from tasks.discover.url_list import discover_url_list


class DiscoverSource(Protocol):
    """What a source is: a function from its block of the recipe to candidates."""

    def __call__(self, source: Any, *, label: str, network: NetworkPolicy) -> Discovered:  # noqa: ANN401 - each takes its own config
        """Return the candidates that `source` offers for the class `label`."""
        ...


SOURCES: dict[str, DiscoverSource] = {
    "url_list": discover_url_list,
    "inaturalist": discover_inaturalist,
}


def discover(source: UrlListSource | INaturalistSource, *, label: str, network: NetworkPolicy) -> Discovered:
    """Ask one source of one class for candidates.

    Args:
        source: its block of the recipe.
        label: the class.
        network: who we are and where we may go.

    Raises:
        SourceError: its file or answer cannot be read, or holds nothing usable.
        SourceUnavailableError: it does not answer; asking again later may help.
    """
    return SOURCES[source.source](source, label=label, network=network)


__all__ = ["SOURCES", "DiscoverSource", "Discovered", "discover"]
