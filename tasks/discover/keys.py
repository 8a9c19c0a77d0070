"""The keys that paid interfaces ask for: which there are, and which one is missing. Reads and writes nothing.

Keys come from the environment or from Prefect Secret blocks (`flows.keys`), travel as pydantic SecretStr, and
stand in no recipe, log, table or error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr

from tasks.core.errors import HarvestmanError, SourceError

NEEDED: dict[str, tuple[str, ...]] = {
    "custom_search": ("google-key", "google-cx"),
    "serpapi": ("serpapi-key",),
    "serper": ("serper-key",),
}
"""Provider of the source `google` to the names of its keys."""


def variable(name: str) -> str:
    """Return the environment variable of the key `name`."""
    return f"HARVESTMAN_{name.replace('-', '_').upper()}"


def block(name: str) -> str:
    """Return the Prefect Secret block of the key `name`."""
    return f"harvestman-{name}"


def needed(source: Any) -> tuple[str, ...]:  # noqa: ANN401 - any source's config
    """Return the names of the keys that a source needs."""
    return NEEDED.get(getattr(source, "provider", ""), ())


def missing(source: Any, keys: Mapping[str, SecretStr]) -> Iterator[HarvestmanError]:  # noqa: ANN401 - as above
    """Yield an error for each key that `source` needs and `keys` lacks."""
    for name in needed(source):
        if not (name in keys and keys[name].get_secret_value()):
            yield SourceError(
                f"The key {name} of the provider {source.provider} is missing.",
                hint=f"Set {variable(name)}, or save it as the Prefect Secret block `{block(name)}`. "
                "Never write it into a recipe.",
            )
