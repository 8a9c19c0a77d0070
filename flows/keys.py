"""The keys of paid interfaces, for the sources of a recipe that need them.

Reads the settings, then Prefect Secret blocks; writes nothing. A key that is nowhere is told by its source.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from prefect.blocks.system import Secret
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from flows.settings import Settings
from tasks.core.errors import ServerUnavailableError
from tasks.discover.config import AnySource
from tasks.discover.keys import block, needed, variable


def find_keys(settings: Settings, sources: Iterable[AnySource], *, ask_prefect: bool = True) -> dict[str, SecretStr]:
    """Return the keys that `sources` need, by name: from the environment, else from Prefect's Secret blocks.

    Prefect is asked only for keys that are needed and that the environment lacks.

    Args:
        settings: the environment.
        sources: the recipe's.
        ask_prefect: False where no server is at hand: Prefect would start one, which takes half a minute.

    Raises:
        ServerUnavailableError: Prefect does not answer, or refuses us.
    """
    names = sorted({name for source in sources for name in needed(source)})
    found = {
        name: getattr(settings, name.replace("-", "_")) or (_saved(name) if ask_prefect else None) for name in names
    }
    return {name: key for name, key in found.items() if key is not None and key.get_secret_value()}


def _saved(name: str) -> SecretStr | None:
    """Return the key of the block; None where there is no such block."""
    try:
        saved = cast("Secret[str]", Secret.load(block(name)))  # a coroutine only inside of a running event loop
    except Exception as error:  # Prefect's client lets errors of httpx, of its own and of the OS through
        if isinstance(error.__cause__, ObjectNotFound):  # it comes as a ValueError
            return None
        raise ServerUnavailableError(
            f"Prefect was asked for the Secret block {block(name)} and did not answer.",
            received=f"{type(error).__name__}: {error}",
            hint=f"Start the server (`harvestman up`), or set {variable(name)}.",
        ) from error
    return SecretStr(str(saved.value.get_secret_value()))  # not `get()`: it reads 12e34 as a number
