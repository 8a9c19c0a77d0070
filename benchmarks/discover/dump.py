"""A synthetic open-data dump of iNaturalist: its four tables, of any size, the same bytes for the same size.

Writes a folder; reads nothing. Sizes of taxa and the long tail of popularity are like the real one's: of 1.1 million
taxa the first of 10,000 families has 4.6 % of all photos.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

RANKS = {"kingdom": 5, "phylum": 50, "class": 300, "order": 1500, "family": 10_000, "genus": 100_000}
SPECIES = 1_000_000
FAMILY = "Family 0"
TABLES = ("taxa", "observers", "observations", "photos")
_LEVELS = {"kingdom": 70, "phylum": 60, "class": 50, "order": 40, "family": 30, "genus": 20, "species": 10}
_LICENCES = ("CC-BY-NC", "CC-BY", "CC0", "CC-BY-NC-SA", "CC-BY-SA", "CC-BY-NC-ND", "CC-BY-ND")
_OBSERVERS = 500_000
_CHUNK = 1_000_000
_PHOTOS_EACH = 8, 5  # eight photos to five observations
_HEX = np.array([f"{byte:02x}".encode() for byte in range(256)]).view(np.uint16)

Numbers = npt.NDArray[np.int64]


def write_dump(folder: Path, photos: int) -> None:
    """Write the four tables below `folder`: plain in `csv/`, packed in `gz/`, as Parquet in `parquet/`."""
    done = folder / f"{photos}.done"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for kind in ("csv", "gz", "parquet"):
        (folder / kind).mkdir(parents=True)
    observations = photos * _PHOTOS_EACH[1] // _PHOTOS_EACH[0]
    _taxa().write_csv(folder / "csv/taxa.csv", separator="\t")
    _observers().write_csv(folder / "csv/observers.csv", separator="\t", quote_style="never")
    _in_chunks(folder / "csv/observations.csv", observations, _observations)
    _in_chunks(folder / "csv/photos.csv", photos, _photos)
    for name in TABLES:
        plain = folder / f"csv/{name}.csv"
        with plain.open("rb") as source, gzip.open(folder / f"gz/{name}.csv.gz", "wb", compresslevel=4) as packed:
            shutil.copyfileobj(source, packed, 1 << 20)
        scanned = pl.scan_csv(plain, separator="\t", quote_char=None)
        scanned.sink_parquet(folder / f"parquet/{name}.parquet")
    done.touch()


def _in_chunks(path: Path, rows: int, make: Callable[[Numbers], pl.DataFrame]) -> None:
    with path.open("wb") as stream:
        for start in range(0, rows, _CHUNK):
            frame = make(np.arange(start, min(start + _CHUNK, rows)))
            frame.write_csv(stream, separator="\t", include_header=start == 0, quote_style="never")


def _taxa() -> pl.DataFrame:
    """Return a tree: the parent of number n of a rank is number n * (size above) // (size of the rank)."""
    frames, above, number = [], pl.DataFrame({"chain": ["48460"]}), 100_000
    for rank, size in {**RANKS, "species": SPECIES}.items():
        count = np.arange(size)
        parents = above["chain"].gather(count * above.height // size)
        ids = pl.Series(count + number).cast(pl.String)
        names = pl.Series([f"{rank.title()} {index}" for index in count])
        frames.append(
            pl.DataFrame({"taxon_id": ids, "ancestry": parents, "name": names}).with_columns(
                rank_level=pl.lit(_LEVELS[rank]), rank=pl.lit(rank), active=pl.lit("true")
            )
        )
        above = pl.DataFrame({"chain": parents + "/" + ids})
        number += size
    return pl.concat(frames).select("taxon_id", "ancestry", "rank_level", "rank", "name", "active")


def _observers() -> pl.DataFrame:
    number = pl.arange(_OBSERVERS, eager=True)
    # As in the real table: names with quotes that nobody closes.
    return pl.DataFrame({"observer_id": number}).select(
        "observer_id", login=pl.format("user{}", "observer_id"), name=pl.format('The "{} of us', "observer_id")
    )


def _observations(number: Numbers) -> pl.DataFrame:
    draw = [_uniform(number, salt) for salt in range(6)]
    first_species = 100_000 + sum(RANKS.values())
    days = (draw[1] * 5000).astype(np.int64)
    return pl.DataFrame(
        {
            "observation_uuid": _uuids(number, 1),
            "observer_id": (draw[0] ** 2 * _OBSERVERS).astype(np.int64),
            "latitude": np.round(draw[2] * 180 - 90, 10),
            "longitude": np.round(draw[3] * 360 - 180, 10),
            "positional_accuracy": (draw[4] * 300).astype(np.int64),
            "taxon_id": (draw[5] ** 3 * SPECIES).astype(np.int64) + first_species,
            "quality_grade": np.where(draw[4] < 0.6, "research", np.where(draw[4] < 0.9, "needs_id", "casual")),  # noqa: PLR2004 - shares as in the real table
            "observed_on": np.datetime64("2012-01-01") + days.astype("timedelta64[D]"),
            "anomaly_score": np.round(draw[1], 6),
        }
    )


def _photos(number: Numbers) -> pl.DataFrame:
    """Two photos of three observations in five, one of the others; neighbours in the table, as in the real one."""
    block, place = np.divmod(number, _PHOTOS_EACH[0])
    within = np.array([0, 0, 1, 1, 2, 3, 3, 4])[place]
    observation = block * _PHOTOS_EACH[1] + within
    chosen = (_uniform(number, 7) ** 2 * len(_LICENCES)).astype(np.int64)
    return pl.DataFrame(
        {
            "photo_uuid": _uuids(number, 2),
            "photo_id": number * 2 + 35_000,
            "observation_uuid": _uuids(observation, 1),
            "observer_id": (_uniform(observation, 0) ** 2 * _OBSERVERS).astype(np.int64),
            "extension": np.where(_uniform(number, 8) < 0.98, "jpg", "jpeg"),  # noqa: PLR2004 - as in the real table
            "license": np.array(_LICENCES)[chosen],
            "width": 2048,
            "height": 1536,
            "position": np.array([0, 1, 0, 1, 0, 0, 1, 0])[place],
        }
    )


def _mixed(number: Numbers, salt: int) -> npt.NDArray[np.uint64]:
    """Return 64 well mixed bits for each number (splitmix64, Steele et al. 2014)."""
    value = number.astype(np.uint64) + np.uint64((salt + 1) * 0x9E3779B97F4A7C15 % 2**64)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _uniform(number: Numbers, salt: int) -> npt.NDArray[np.float64]:
    return (_mixed(number, salt) >> np.uint64(11)).astype(np.float64) / 2**53


def _uuids(number: Numbers, salt: int) -> pl.Series:
    raw = np.column_stack((_mixed(number, 10 * salt), _mixed(number, 10 * salt + 1)))
    digits = _HEX[raw.view(np.uint8)].view(np.uint8).reshape(len(number), 32)
    text = np.insert(digits, (8, 12, 16, 20), ord("-"), axis=1)
    return pl.Series(np.ascontiguousarray(text).view("S36").ravel()).cast(pl.String)
