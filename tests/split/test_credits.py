from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.core.errors import WorkspaceError
from tasks.core.tables import LICENCES, MANIFEST, conform
from tasks.split.credits import LICENCE_ADDRESSES, write_credits

HEADER = ["path", "class", "creator", "licence", "licence_address", "page", "source_address"]


def _manifest(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return conform(pl.DataFrame(rows, infer_schema_length=None), MANIFEST)


def _read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.reader(stream))


def test_there_is_a_row_per_image_sorted_by_path(tmp_path: Path) -> None:
    first = {"path": "test/пчела/1.jpg", "label": "пчела", "creator": 'Анна "A", Иванова', "licence": "cc-by-nc",
             "page_url": "https://a.example/1", "url": "https://a.example/1.jpg?x=1,2"}  # fmt: skip
    second = {"path": "train/bee/2.jpg", "label": "bee", "url": "file:///photos/2.jpg"}
    path = write_credits(_manifest([second, first]), tmp_path / "CREDITS.csv")
    assert _read(path) == [
        HEADER,
        ["test/пчела/1.jpg", "пчела", 'Анна "A", Иванова', "cc-by-nc",
         "https://creativecommons.org/licenses/by-nc/4.0/", "https://a.example/1", "https://a.example/1.jpg?x=1,2"],
        ["train/bee/2.jpg", "bee", "", "", "", "", "file:///photos/2.jpg"],
    ]  # fmt: skip
    assert write_credits(_manifest([first, second]), tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_spreadsheets_see_utf8_and_polars_sees_plain_column_names(tmp_path: Path) -> None:
    path = write_credits(_manifest([{"path": "a", "label": "蜜蜂"}]), tmp_path / "CREDITS.csv")
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\r\n") == data.count(b"\n") == 2
    assert pl.read_csv(path).columns == HEADER


def test_no_cell_is_a_formula_and_no_row_breaks(tmp_path: Path) -> None:
    row = {
        "path": "a",
        "label": "=bee",
        "creator": '=HYPERLINK("http://x.example")\r\n=1',
        "page_url": "@x",
        "url": "-1",
    }
    _, cells = _read(write_credits(_manifest([row]), tmp_path / "CREDITS.csv"))
    assert cells == ["a", "'=bee", '\'=HYPERLINK("http://x.example") =1', "", "", "'@x", "'-1"]


def test_every_creative_commons_licence_has_an_address_and_no_other() -> None:
    assert set(LICENCE_ADDRESSES) == {slug for slug in LICENCES if slug.startswith("cc")}


def test_a_data_set_without_images_has_a_header(tmp_path: Path) -> None:
    assert _read(write_credits(_manifest([]), tmp_path / "CREDITS.csv")) == [HEADER]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="could not be written"):
        write_credits(_manifest([]), tmp_path / "file" / "CREDITS.csv")
