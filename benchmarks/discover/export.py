"""Time the reading of an iNaturalist export of 200,000 rows into candidates, and pandas reading the same file.

Run from the repository root: python -m benchmarks.discover.export [--rows 200000]. Writes the file below a temporary
folder, prints a table. Each line is a process of its own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from benchmarks.measured import HEADER, line, tell
from tasks.core.network import NetworkPolicy
from tasks.discover import inaturalist_export
from tasks.discover.config import INaturalistExportSource
from tasks.discover.found import Ask

_FAMILIES = 202


def write_export(path: Path, rows: int) -> None:
    """Write an export with the columns the export page offers first, its free texts with commas and quotes."""
    rng = np.random.default_rng(1337)
    number = np.arange(rows)
    kind = rng.integers(0, 5000, rows)
    frame = pl.DataFrame(
        {
            "id": number + 1_000_000,
            "observed_on": np.datetime64("2015-01-01") + rng.integers(0, 3000, rows).astype("timedelta64[D]"),
            "quality_grade": rng.choice(["research", "needs_id", "casual"], rows, p=[0.6, 0.3, 0.1]),
            "license": rng.choice(["CC-BY-NC", "CC-BY", "CC0", ""], rows),
            "latitude": rng.uniform(-90, 90, rows),
            "longitude": rng.uniform(-180, 180, rows),
            "species": kind,
        }
    ).with_columns(
        url=pl.format("https://www.inaturalist.org/observations/{}", "id"),
        image_url=pl.format("https://inaturalist-open-data.s3.amazonaws.com/photos/{}/medium.jpg", pl.col("id") * 3),
        description=pl.format('Seen at the river, "number {}", on a stone', "id"),
        place_guess=pl.format("Porto, PT, {}", pl.col("id") % 977),
        user_login=pl.format("user{}", pl.col("id") % 9973),
        taxon_id=pl.col("species") + 50_000,
        scientific_name=pl.format("Genus{} species{}", pl.col("species") // 10, "species"),
        common_name=pl.format("Common {}", "species"),
        iconic_taxon_name=pl.lit("Insecta"),
        taxon_family_name=pl.format("Family{}", pl.col("species") % _FAMILIES),
        taxon_genus_name=pl.format("Genus{}", pl.col("species") // 10),
    )
    frame.drop("species").write_csv(path)


def ours(path: Path) -> int:
    """Read it as a recipe would, a class a family."""
    source = INaturalistExportSource.model_validate(
        {"source": "inaturalist_export", "path": str(path), "label": "taxon_family_name"}
    )
    asked = Ask(source, None, NetworkPolicy(user_agent="benchmark"))
    return sum(page.candidates.height for page in inaturalist_export.pages(asked))


def pandas(path: Path) -> int:
    """Read it, nothing more."""
    return len(pd.read_csv(path))


WAYS: dict[str, Callable[[Path], int]] = {"harvestman": ours, "pandas": pandas}


def main() -> None:
    """Print one line a way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--way", choices=WAYS, help="do this one here instead")
    parser.add_argument("--file", type=Path)
    given = parser.parse_args()
    if given.way:
        tell(lambda: WAYS[given.way](given.file))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observations.csv"
        write_export(path, given.rows)
        print(f"{given.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB\n\n{'way':<14} {HEADER}")
        for way in WAYS:
            print(f"{way:<14} {line('benchmarks.discover.export', '--way', way, '--file', str(path))}", flush=True)


if __name__ == "__main__":
    main()
