"""The four tables of iNaturalist's open data, wherever they lie: opened as lazy frames, their faults put into words.

Reads a folder, or an s3:// address with Polars' own reader (anonymously); writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from tasks.core.errors import HarvestmanError, SourceError, SourceUnavailableError
from tasks.core.network import NetworkPolicy

TABLES: dict[str, tuple[str, ...]] = {
    "taxa": ("taxon_id", "ancestry", "rank", "name", "active"),
    "observations": ("observation_uuid", "latitude", "longitude", "taxon_id", "quality_grade", "observed_on"),
    "photos": ("photo_id", "observation_uuid", "observer_id", "extension", "license", "position"),
    "observers": ("observer_id", "login"),
}
"""Table to the columns that are read of it."""

_KINDS = (".parquet", ".csv", ".csv.gz")
_S3 = "s3://"
_DOWNLOAD = "docs/sources/inaturalist_open_data.md says where the tables are downloaded from."


def place_problems(place: str) -> Iterator[HarvestmanError]:
    """Yield what is missing at `place`, as far as it can be known without asking anybody."""
    if place.startswith(_S3):
        return
    folder = Path(place)
    if "://" in place or not folder.is_dir():
        yield SourceError(f"There is no folder {place} with iNaturalist's open data.", hint=_DOWNLOAD)
        return
    missing = [name for name in TABLES if not any((folder / f"{name}{kind}").is_file() for kind in _KINDS)]
    if missing:
        present = ", ".join(sorted(path.name for path in folder.iterdir())[:20])
        yield SourceError(
            f"{place} lacks {', '.join(missing)} of iNaturalist's open data.",
            received=f"The folder holds: {present or 'nothing'}.",
            hint=f"Each table is a file named `<table>` with the ending {', '.join(_KINDS)}. {_DOWNLOAD}",
        )


def open_table(name: str, place: str, network: NetworkPolicy) -> pl.LazyFrame:
    """Open the table `name` of TABLES with its columns there; of several files the first of .parquet, .csv, .csv.gz.

    Values are text in a CSV file and of any type in Parquet.

    Raises:
        SourceError: it is missing, has no rows, lacks a column or cannot be read.
        SourceUnavailableError: the object store does not answer.
        BlockedAddressError: it is iNaturalist's, and no contact is set.
    """
    place = place.rstrip("/")
    with reading(f"{place}/{name}"):
        for kind in _KINDS:
            try:
                table = _scanned(f"{place}/{name}{kind}", _options(network, place) if place.startswith(_S3) else None)
                columns = table.collect_schema().names()
            except FileNotFoundError:
                continue
            lacking = [column for column in TABLES[name] if column not in columns]
            if lacking:
                raise SourceError(
                    f"{place}/{name}{kind} has no column {', '.join(lacking)}.",
                    received=f"Columns: {', '.join(columns)}.",
                    hint=f"The tables are separated by tabs and unquoted, as iNaturalist publishes them. {_DOWNLOAD}",
                )
            table = table.select(TABLES[name])
            if table.head(1).collect(engine="streaming").is_empty():
                raise SourceError(f"{place}/{name}{kind} holds no rows.", hint=_DOWNLOAD)
            return table
    raise SourceError(
        f"{place} lacks {name} of iNaturalist's open data.",
        received=f"Looked for {name} with the ending {', '.join(_KINDS)}.",
        hint=_DOWNLOAD,
    )


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Translate what Polars says of a table that the block reads.

    Raises:
        SourceError: the table is damaged, or may not be read.
        SourceUnavailableError: the object store does not answer.
    """
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        raise SourceUnavailableError(
            f"{what} does not answer.",
            received=_first_line(error),
            hint="Check the network and run the same command again later, or download the tables once.",
        ) from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(
            f"{what} of iNaturalist's open data cannot be read.",
            received=f"{type(error).__name__}: {_first_line(error)}",
            hint=f"A download that broke off has to be made again. {_DOWNLOAD}",
        ) from error


def _scanned(address: str, options: dict[str, str | int] | None) -> pl.LazyFrame:
    if address.endswith(".parquet"):
        return pl.scan_parquet(address, glob=False, storage_options=options)
    return pl.scan_csv(
        address,
        glob=False,  # a folder may be called `dump [2024]`
        separator="\t",
        quote_char=None,  # names hold quotes that nobody closes
        infer_schema=False,
        truncate_ragged_lines=True,  # two of fifty rows of a real extract have a tab too many before the day
        storage_options=options,
    )


def _options(network: NetworkPolicy, place: str) -> dict[str, str | int]:
    endpoint = network.api("s3")
    network.check_contact(urlsplit(endpoint).hostname or "", place.removeprefix(_S3))
    return {
        "aws_skip_signature": "true",  # public; without this, keys would be asked of a cloud's metadata address
        "aws_region": "us-east-1",
        "aws_endpoint_url": endpoint,
        "aws_allow_http": str(endpoint.startswith("http://")).lower(),
        "user_agent": network.user_agent,
        "max_retries": 5,
    }


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
