"""The real tables under fixtures load, with as many rows as the csv module counts."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tasks.core.network import NetworkPolicy
from tasks.discover import darwin_core, inaturalist_export, url_list
from tasks.discover.config import DarwinCoreSource, INaturalistExportSource, UrlListSource
from tasks.discover.found import Ask, Page
from tasks.discover.tabular import read_file

NETWORK = NetworkPolicy(user_agent="t")
COMMAS = {"delimiter": ","}
TABS = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}

EXPORTS = (
    "inaturalist_exports/csv/*.csv",
    "inaturalist_exports/pyinaturalist_convert/observations.csv",
    "inaturalist_api/v0/get_observations.csv",
)
OTHERS = (
    "inaturalist_exports/pyinaturalist_convert/inaturalist-taxonomy.dwca/*.csv",
    "inaturalist_exports/pyinaturalist_convert/inaturalist-open-data/*.csv",
)


def found(real_data: Path, *patterns: str) -> list[Path]:
    paths = [path for pattern in patterns for path in sorted((real_data / "fixtures").glob(pattern))]
    return [path for path in paths if path.name != "SOURCE.txt"]


def counted(path: Path, dialect: dict[str, object]) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        header, *rows = (row for row in csv.reader(stream, **dialect) if row)  # type: ignore[arg-type]
    return header, rows


def rows_in(page: Page) -> int:
    """Return the rows that are candidates or left out under a reason."""
    left_out = {note: number for note, number in page.notes.items() if note not in {"rows", "unwrapped"}}
    return page.candidates.height + sum(left_out.values())


@pytest.mark.real
def test_real_exports_have_the_rows_the_csv_module_counts(real_data: Path) -> None:
    paths = found(real_data, *EXPORTS)
    assert len(paths) >= 6
    for path in paths:
        header, rows = counted(path, COMMAS)
        source = INaturalistExportSource(source="inaturalist_export", path=path)
        [page] = inaturalist_export.pages(Ask(source, "x", NETWORK))
        image = next(header.index(name) for name in ("image_url", "photo_url") if name in header)
        assert page.notes["rows"] == len(rows) == rows_in(page), path
        assert page.candidates.height == sum(bool(row[image]) for row in rows), path


@pytest.mark.real
def test_real_tables_of_media_have_the_rows_the_csv_module_counts(real_data: Path) -> None:
    paths = found(real_data, "gbif/multimedia*.txt")
    assert paths
    for path in paths:
        _, rows = counted(path, TABS)
        source = DarwinCoreSource(source="darwin_core", path=path)
        [page] = darwin_core.pages(Ask(source, "x", NETWORK))
        assert page.notes["rows"] == len(rows) == rows_in(page), path


@pytest.mark.real
def test_real_url_lists_have_the_rows_the_csv_module_counts(real_data: Path) -> None:
    paths = found(real_data, "url_lists/**/*.txt")
    assert len(paths) >= 6
    for path in paths:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE) if any(row)]
        [page] = url_list.pages(Ask(UrlListSource(source="url_list", path=path), "x", NETWORK))
        assert page.notes["rows"] == len(rows) == rows_in(page), path


@pytest.mark.real
def test_real_tables_of_other_kinds_are_read_cell_by_cell_as_the_csv_module_does(real_data: Path) -> None:
    paths = found(real_data, *EXPORTS, *OTHERS, "gbif/multimedia*.txt")
    assert len(paths) >= 10
    for path in paths:
        tabs = "open-data" in str(path) or path.suffix == ".txt"
        header, rows = counted(path, TABS if tabs else COMMAS)
        frame = read_file(path)
        assert frame.columns == header, path
        # One row of the open data has a cell too many.
        plain = [[" ".join(cell.split()) for cell in row[: len(header)]] for row in rows]
        assert [[" ".join((cell or "").split()) for cell in row] for row in frame.rows()] == plain, path
