"""The plan of a photo site: every address, what it serves, how it misbehaves, what is expected of it.

Owns the shape of `<site>/plan.json`, which `stock` writes and `site` reads. Light: no Prefect, Polars or
Keras.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path

from pydantic import ValidationError

from tasks.core.config import StageConfig
from tasks.core.errors import SourceError
from tasks.core.files import read_json, write_atomic

PLAN = "plan.json"
PORT = "site.json"
LOG = "requests.jsonl"


class Photo(StageConfig):
    """A photo of an observation, as iNaturalist tells of it."""

    id: int
    """iNaturalist photo id."""
    licence: str | None
    """iNaturalist licence code; none = all rights reserved."""
    extension: str
    """Last part of its address, without the dot."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


class Observation(StageConfig):
    """One observation of a taxon."""

    id: int
    """iNaturalist observation id."""
    taxon_id: int
    """Its taxon."""
    quality_grade: str
    """research, needs_id or casual."""
    user: str
    """Login of the observer."""
    service: str = "inaturalist"
    """The API that tells of it: inaturalist or gbif."""
    observed_on: str
    """ISO date."""
    country: str = "PT"
    """ISO 3166 code of two letters."""
    basis: str = "HUMAN_OBSERVATION"
    """GBIF's basis of record."""
    place_id: int
    """Where it was seen."""
    latitude: float
    """Degrees north."""
    longitude: float
    """Degrees east."""
    photos: tuple[Photo, ...]
    """One or more."""

    @property
    def changed_on(self) -> str:
        """ISO date of its last change: the day after."""
        return (dt.date.fromisoformat(self.observed_on) + dt.timedelta(days=1)).isoformat()


class Taxon(StageConfig):
    """A taxon the recipe asks for, or one below it."""

    id: int
    """Taxon id, the same at iNaturalist and GBIF."""
    name: str
    """Scientific name."""
    rank: str = "species"
    """kingdom, phylum, class, order, family, genus or species."""
    above: tuple[Taxon, ...] = ()
    """Higher taxa, the highest first."""

    @property
    def lineage(self) -> tuple[Taxon, ...]:
        """It and its higher taxa, the highest first."""
        return (*self.above, self)


class Place(StageConfig):
    """A place the recipe asks for by its name."""

    id: int
    """iNaturalist place id."""
    name: str
    """Its name."""


class Hit(StageConfig):
    """A picture that a search engine offers."""

    service: str
    """custom_search, serpapi, serper, openverse or wikimedia_commons."""
    query: str
    """What it is found by; `Category:` and a name where it is found by its category."""
    path: str
    """Its address below the site's; empty = the engine has nothing but its own small copy."""
    licence: str | None
    """Slug of its licence, where the engine tells one."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    provider: str = ""
    """Openverse's name of the collection it is from."""


class Address(StageConfig):
    """One address of the site."""

    path: str
    """Path of the address as the recipe's run will ask for it; without a slash before it, a file of the site's
    folder that is read in place."""
    key: str
    """What the site finds it by: the path, or `/photos/<id>` whatever size is asked."""
    kind: str
    """Name of its behaviour, a key of `tasks.rehearse.faults.KINDS`."""
    label: str
    """Class under which it is offered."""
    source: int
    """Place of the source that offers it among the sources of its class."""
    file: str
    """Picture behind it, relative to the site's folder or absolute."""
    expected: str | None
    """Slug it must end with in the ledger; none = must never be asked for."""
    verdict: str | None = None
    """What curation must say of it, where the plan knows."""


class Plan(StageConfig):
    """Everything a photo site serves."""

    key: str
    """Fingerprint of what the plan was made from."""
    base_url: str
    """Scheme, host and port."""
    taxa: tuple[Taxon, ...]
    """Taxa the site knows."""
    places: tuple[Place, ...] = ()
    """Places it knows by name."""
    hits: tuple[Hit, ...] = ()
    """What its search engines offer, in the order of their answers."""
    observations: tuple[Observation, ...]
    """Those that an API tells of, in the order of their ids."""
    addresses: tuple[Address, ...]
    """In the order of their paths."""

    def outcomes(self) -> dict[str, int]:
        """Count the addresses by the slug they must end with."""
        return dict(sorted(Counter(item.expected for item in self.addresses if item.expected).items()))

    def verdicts(self) -> dict[str, int]:
        """Count the planted duplicates and conflicts by the verdict curation must give."""
        return dict(sorted(Counter(item.verdict for item in self.addresses if item.verdict).items()))


def save(plan: Plan, folder: Path) -> Path:
    """Write `plan` into the site's folder."""
    return write_atomic(folder / PLAN, lambda out: out.write(plan.model_dump_json().encode()))


def load(folder: Path) -> Plan:
    """Read the plan of the site in `folder`.

    Raises:
        SourceError: there is none, or it is not a plan.
    """
    try:
        return Plan.model_validate(read_json(folder / PLAN))
    except (OSError, json.JSONDecodeError, ValidationError) as error:
        raise SourceError(
            f"{folder} holds no photo site.",
            received=str(error),
            hint="Make one with `harvestman rehearse RECIPE`.",
        ) from error


def load_port(folder: Path) -> int | None:
    """Return the port remembered for the site in `folder`, if any."""
    try:
        return int(read_json(folder / PORT)["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
