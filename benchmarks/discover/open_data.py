"""Time the choice of one family out of a synthetic open-data dump, and plain readings of the same files.

Run from the repository root: python -m benchmarks.discover.open_data [--photos 10000000] [--folder DIR]. Writes the
dump once below the folder (250 MB a million photos), prints a table. Each line is a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl

from benchmarks.discover.dump import FAMILY, TABLES, write_dump
from benchmarks.measured import HEADER, line, tell
from tasks.core.network import NetworkPolicy
from tasks.discover import inaturalist_open_data
from tasks.discover.config import INaturalistOpenDataSource
from tasks.discover.found import Ask

_KINDS = {"parquet": ".parquet", "csv": ".csv", "gz": ".csv.gz"}


def ours(folder: Path) -> int:
    """Choose the family's research-grade photos as a recipe would."""
    source = INaturalistOpenDataSource(
        source="inaturalist_open_data", path=str(folder), taxon=FAMILY, label="genus", photos="all"
    )
    page = next(inaturalist_open_data.pages(Ask(source, None, NetworkPolicy(user_agent="benchmark"))))
    return page.candidates.height


def eager_polars(folder: Path) -> int:
    """Read the tables whole, then filter and join: what a notebook does."""
    taxa, observers, observations, photos = (_whole(folder, name) for name in TABLES)
    number = taxa.filter(pl.col("name") == FAMILY)["taxon_id"].item()
    below = taxa.filter(pl.format("/{}/", "ancestry").str.contains(f"/{number}/"))
    wanted = observations.filter(pl.col("quality_grade") == "research").join(below, on="taxon_id")
    return photos.join(wanted, on="observation_uuid").join(observers, on="observer_id", how="left").height


def _whole(folder: Path, name: str) -> pl.DataFrame:
    kind = _KINDS[folder.name]
    if kind == ".parquet":
        return pl.read_parquet(folder / f"{name}{kind}")
    return pl.read_csv(folder / f"{name}{kind}", separator="\t", quote_char=None)


def pandas(folder: Path) -> int:
    """Read the columns that are needed with pandas, then filter and merge."""
    kind = _KINDS[folder.name]
    columns = {
        "taxa": ["taxon_id", "ancestry", "name"],
        "observers": ["observer_id", "login"],
        "observations": ["observation_uuid", "latitude", "longitude", "taxon_id", "quality_grade", "observed_on"],
        "photos": ["photo_id", "observation_uuid", "observer_id", "extension", "license", "position"],
    }

    def read(name: str) -> pd.DataFrame:
        if kind == ".parquet":
            return pd.read_parquet(folder / f"{name}{kind}", columns=columns[name])
        return pd.read_csv(folder / f"{name}{kind}", sep="\t", quoting=3, usecols=columns[name])

    taxa = read("taxa")
    number = taxa.loc[taxa["name"] == FAMILY, "taxon_id"].item()
    below = taxa[("/" + taxa["ancestry"].astype(str) + "/").str.contains(f"/{number}/", regex=False)]
    observations = read("observations")
    wanted = observations[observations["quality_grade"] == "research"].merge(below, on="taxon_id")
    photos = read("photos").merge(wanted, on="observation_uuid")
    return len(photos.merge(read("observers"), on="observer_id", how="left"))


WAYS: dict[str, Callable[[Path], int]] = {"harvestman": ours, "polars, eager": eager_polars, "pandas": pandas}


def main() -> None:
    """Print one line a way and a kind of file; stop if two ways find different numbers of photos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "harvestman-open-data")
    parser.add_argument("--way", choices=WAYS, help="do this one here instead")
    parser.add_argument("--kind", choices=_KINDS)
    given = parser.parse_args()
    if given.way:
        tell(lambda: WAYS[given.way](given.folder / given.kind))
        return
    write_dump(given.folder, given.photos)
    print(f"{given.photos:,} photos\n\n{'way':<14} {'files':<8} {HEADER}")
    found = set()
    for kind in _KINDS:
        for way in WAYS:
            figures = line("benchmarks.discover.open_data", "--folder", str(given.folder), "--way", way, "--kind", kind)
            found.add(figures.split()[0])
            print(f"{way:<14} {kind:<8} {figures}", flush=True)
    if len(found) > 1:
        sys.exit(f"the ways disagree: {', '.join(sorted(found))} photos")


if __name__ == "__main__":
    main()
