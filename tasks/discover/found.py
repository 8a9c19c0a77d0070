"""What a source is: asked for images of a class, it answers page by page.

Owns the shapes that sources share; reads and writes nothing.
"""

from __future__ import annotations

import math
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import httpx
import polars as pl
from pydantic import SecretStr

from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.network import NetworkPolicy
from tasks.core.tables import CANDIDATES
from tasks.discover.config import LabelsConfig

C_co = TypeVar("C_co", covariant=True)

Cursor = dict[str, Any]
"""Where a source stands between two pages; plain JSON."""


@dataclass(frozen=True)
class Ask(Generic[C_co]):
    """A question to a source."""

    source: C_co
    """Its block of the recipe."""
    label: str | None
    """The class; None = the source tells the class of each image, by `source.label`."""
    network: NetworkPolicy
    """Who we are and where we may go."""
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    """Where `label` is None: classes that are dropped or merged once the source has told them."""
    keys: Mapping[str, SecretStr] = field(default_factory=dict)
    """Keys of paid interfaces by name (see `tasks.discover.keys`)."""
    cursor: Cursor | None = None
    """Cursor of the last page an earlier run got: go on behind it."""
    since: datetime | None = None
    """Only what has been added or changed since; None = everything."""
    transport: httpx.AsyncBaseTransport | None = None
    """Recorded answers instead of the network."""
    attempts: int = 4
    """Times that an API which does not answer is asked, for one page."""
    patience: float = math.inf
    """Longest wait for a used-up budget, or for a site that asks for rest, in seconds."""
    say: Callable[[str], None] | None = None
    """Told of long waits; None = the log is."""

    @property
    def api(self) -> str | None:
        """The API that is asked, as named in `tasks.core.network.APIS`; None = files are read."""
        if getattr(self.source, "REFRESH", "read") == "read":
            return None
        return str(getattr(self.source, "provider", getattr(self.source, "source", "?")))

    @property
    def name(self) -> str:
        """The class and the source, for people."""
        return f"{self.label or 'all classes'} from {getattr(self.source, 'source', '?')}"


@dataclass(frozen=True)
class Page:
    """One piece of a source's answer."""

    candidates: pl.DataFrame
    """Columns of CANDIDATES, as many as the source knows; at least `url`, and `label` where `ask.label` is None
    (null: the image has none)."""
    notes: Counter[str]
    """`rows` looked at, and rows left out by reason."""
    cursor: Cursor | None = None
    """Where to go on; None = there is no going on behind this page, all is asked again."""
    total: int | None = None
    """Items the source says it has in all, where it does."""
    items: int = 0
    """Items of those on this page."""
    gone: tuple[str, ...] = ()
    """Where only changes were asked: groups (`group_id`) that are still there but offer nothing any more."""


class SourceModule(Protocol):
    """A module of a source: two functions."""

    def problems(self, ask: Ask[Any]) -> Iterable[HarvestmanError]:
        """Yield what would stop it and can be known without asking anybody: files and keys that are missing."""
        ...

    def pages(self, ask: Ask[Any]) -> Iterator[Page]:
        """Yield everything it offers, page by page, its `limit` left to the caller.

        Raises:
            SourceError: its file or answer cannot be read, or holds nothing usable.
            SourceUnavailableError: it does not answer; asking again later may help.
        """
        ...


@contextmanager
def contained(name: str) -> Iterator[None]:
    """Turn what nobody foresaw in one source into an error of that source, so that the others go on.

    Raises:
        SourceError: the block raised something that is none of our errors.
    """
    try:
        yield
    except HarvestmanError:
        raise
    except Exception as error:  # a defect of ours or of a library must not sink two hundred other sources
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise SourceError(
            f"{name}: something went wrong that should not have.",
            received=f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})",
            hint="This is a defect of Harvestman: please report it with these lines and the source's block.",
        ) from error


def told_once(errors: Iterable[tuple[str, HarvestmanError]]) -> list[HarvestmanError]:
    """Return each different error once, with the names of all it befell: an API that is down befalls many classes.

    Args:
        errors: `Ask.name` and what went wrong.
    """
    names: dict[tuple[str, str, str], list[str]] = {}
    kinds: dict[tuple[str, str, str], type[HarvestmanError]] = {}
    for name, error in errors:
        same = (error.what, error.received, error.hint)
        names.setdefault(same, []).append(name)
        kinds[same] = type(error)
    return [
        kinds[same](f"{_listed(befallen)}: {same[0]}", received=same[1], hint=same[2])
        for same, befallen in names.items()
    ]


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def candidate_frame(rows: Iterable[Mapping[str, object]]) -> pl.DataFrame:
    """Return `rows` as candidates in their order; columns left out are null."""
    full = [{name: row.get(name) for name in CANDIDATES} for row in rows]
    return pl.DataFrame(full, schema=CANDIDATES)
