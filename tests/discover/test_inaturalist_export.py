from __future__ import annotations

import csv
import time
import zipfile
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from tasks.core.errors import SourceError
from tasks.core.network import NetworkPolicy
from tasks.discover.config import INaturalistExportSource
from tasks.discover.found import Ask, Page
from tasks.discover.inaturalist_export import pages, problems

NETWORK = NetworkPolicy(user_agent="t")
OPEN = "https://inaturalist-open-data.s3.amazonaws.com/photos"
PAGE = "https://www.inaturalist.org/observations"
HEAD = (
    "id,observed_on,quality_grade,license,user_login,url,image_url,scientific_name,taxon_id,taxon_family_name,latitude"
)
ROWS = [
    f"3,2020-06-06,research,CC-BY,ann,{PAGE}/3,{OPEN}/30/medium.jpg,Apis cerana,1,Apidae,12.5",
    f"1,2020-06-07,needs_id,CC0,bob,{PAGE}/1,{OPEN}/10/medium.jpeg,Apis dorsata,2,Apidae,",
    f"2,,casual,,cyd,{PAGE}/2,{OPEN}/20/medium.JPG?15,Bombus terrestris,3,Apidae,91",
    f"4,,research,CC-BY,dan,{PAGE}/4,,Apis cerana,1,Apidae,",
]  # fmt: skip


def read(*paths: Path, **fields: object) -> Page:
    source = {"source": "inaturalist_export", "path": paths if len(paths) > 1 else paths[0], **fields}
    [page] = pages(Ask(INaturalistExportSource.model_validate(source), "bee", NETWORK))
    return page


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "observations-1.csv"
    path.write_text("\n".join([HEAD, *ROWS]) + "\n")
    return path


def test_a_row_becomes_a_photo_with_all_that_the_export_tells(export: Path) -> None:
    page = read(export)
    assert page.candidates.row(2, named=True) == {
        "url": f"{OPEN}/30/medium.jpg",
        "source_id": "30",
        "group_id": "inaturalist:3",
        "taxon": "Apis cerana",
        "licence": "cc-by",
        "creator": "ann",
        "page_url": "https://www.inaturalist.org/observations/3",
        "observed_on": date(2020, 6, 6),
        "latitude": 12.5,
    }
    assert page.candidates["latitude"].to_list() == [None, None, 12.5]  # 91 degrees north is nowhere
    assert page.notes == {"rows": 4, "without-image": 1}


@pytest.mark.parametrize(("size", "name"), [("original", "original.JPG?15"), ("square", "square.JPG?15")])
def test_only_the_size_word_of_an_address_is_swapped(export: Path, size: str, name: str) -> None:
    assert f"{OPEN}/20/{name}" in read(export, photo_size=size).candidates["url"].to_list()


def test_image_url_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"image_url,url\n{OPEN}/30/medium.jpg,https://www.inaturalist.org/observations/3\n")
    row = read(tmp_path / "x.csv").candidates.row(0, named=True)
    assert (row["group_id"], row["source_id"]) == ("inaturalist:3", "30")
    (tmp_path / "y.csv").write_text(f"image_url\n{OPEN}/30/medium.jpg\n")
    assert read(tmp_path / "y.csv").candidates["group_id"].to_list() == [None]


def test_an_export_without_image_url_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,image_ur\n1,x\n")
    with pytest.raises(SourceError, match="has no column image_url") as caught:
        read(tmp_path / "x.csv")
    assert caught.value.received == "Its columns: id, image_ur."
    assert caught.value.hint == (
        "Did you mean image_ur for image_url? Choose image_url on the export page and export again."
    )


@pytest.mark.parametrize("fields", [{"taxon": "Apis"}, {"label": {"taxa": {"honey": ["Apis"]}}}])
def test_an_export_that_tells_no_taxa_names_the_columns_that_would(tmp_path: Path, fields: dict[str, object]) -> None:
    (tmp_path / "x.csv").write_text(f"id,image_url\n3,{OPEN}/30/medium.jpg\n")
    source = {"source": "inaturalist_export", "path": tmp_path / "x.csv", **fields}
    with pytest.raises(SourceError, match="none of the columns scientific_name, taxon_id and taxon_") as caught:
        list(pages(Ask(INaturalistExportSource.model_validate(source), None, NETWORK)))
    assert caught.value.received == "Its columns: id, image_url."


@pytest.mark.parametrize(
    ("fields", "taken", "note"),
    [
        ({"taxon": "Apis"}, ["10", "30"], {"other-taxon": 1}),
        ({"taxon": ["apis cerana", 3]}, ["20", "30"], {"other-taxon": 1}),
        ({"taxon": "Apidae"}, ["10", "20", "30"], {}),
        ({"quality_grade": ["research", "needs_id"]}, ["10", "30"], {"other-grade": 1}),
        ({"licences": ["cc-by", "cc0"]}, ["10", "30"], {"licence-refused": 1}),
        ({"where": {"user_login": ["ann", "cyd"]}}, ["20", "30"], {"other-value": 1}),
        ({"where": {"taxon_id": 2}}, ["10"], {"other-value": 2}),
    ],
)
def test_rows_that_the_recipe_does_not_take_are_counted(
    export: Path, fields: dict[str, object], taken: list[str], note: dict[str, int]
) -> None:
    page = read(export, **fields)
    assert page.candidates["source_id"].to_list() == taken
    assert page.notes == {"rows": 4, "without-image": 1, **note}


def test_a_taxon_that_no_row_has_is_answered_with_the_nearest(export: Path) -> None:
    with pytest.raises(SourceError, match="no photo that the recipe takes") as caught:
        read(export, taxon="Apis ceranna")
    assert "Did you mean Apis cerana" in caught.value.hint
    assert "3 other-taxon" in str(caught.value.received)


def test_the_class_comes_from_any_column_or_from_taxa(export: Path) -> None:
    assert _labelled(export, "scientific_name") == ["Apis dorsata", "Bombus terrestris", "Apis cerana"]
    assert _labelled(export, {"taxa": {"honey": ["Apis cerana", "Apis dorsata"]}}) == ["honey", None, "honey"]
    assert _labelled(export, {"column": "scientific_name", "pattern": "^(\\w+)"}) == ["Apis", "Bombus", "Apis"]


def _labelled(path: Path, rule: object) -> list[str | None]:
    source = INaturalistExportSource.model_validate({"source": "inaturalist_export", "path": path, "label": rule})
    [page] = pages(Ask(source, None, NETWORK))
    return page.candidates["label"].to_list()


def test_licences_cannot_be_chosen_where_the_export_tells_none(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"image_url\n{OPEN}/30/medium.jpg\n")
    with pytest.raises(SourceError, match="no column license") as caught:
        read(tmp_path / "x.csv", licences=["cc0"])
    assert "Tick `license`" in caught.value.hint


def test_a_photo_on_the_closed_host_has_no_open_licence_whatever_its_observation_has(tmp_path: Path) -> None:
    closed = "https://static.inaturalist.org/photos/30/medium.jpg"
    (tmp_path / "x.csv").write_text(f"image_url,license\n{closed},CC-BY\n{OPEN}/40/medium.jpg,CC-BY\n")
    assert read(tmp_path / "x.csv").candidates["licence"].to_list() == ["cc-by", None]
    page = read(tmp_path / "x.csv", licences=["cc-by"])
    assert page.candidates["source_id"].to_list() == ["40"]
    assert page.notes == {"rows": 2, "licence-refused": 1}


def test_the_zip_is_read_as_delivered_and_several_files_together(export: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "observations-1.csv.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", "query")
        archive.writestr("__MACOSX/._observations-1.csv", b"\0\0")
        archive.write(export, "observations-1.csv")
    assert read(zipped).candidates.equals(read(export).candidates)
    assert read(zipped, export).notes["rows"] == 8


def test_a_zip_without_a_table_says_what_it_holds(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("photo.jpg", "x")
    with pytest.raises(SourceError, match="There is no CSV file") as caught:
        read(tmp_path / "x.zip")
    assert "photo.jpg" in str(caught.value.received)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_may_have_saved_it_again(tmp_path: Path, encoding: str, delimiter: str) -> None:
    with (tmp_path / "x.csv").open("w", newline="", encoding=encoding) as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerows(
            [["image_url", "user_login", "place"], [f"{OPEN}/1/medium.jpg", "Zoë", f'a "b", c{delimiter}\n']]
        )
    assert read(tmp_path / "x.csv").candidates.select("creator", "source_id").rows() == [("Zoë", "1")]


def test_the_order_of_the_rows_makes_no_difference(export: Path, tmp_path: Path) -> None:
    (tmp_path / "turned.csv").write_text("\n".join([HEAD, *reversed(ROWS)]))
    assert read(tmp_path / "turned.csv").candidates.equals(read(export).candidates)


def test_missing_files_are_known_before_anything_is_read(export: Path) -> None:
    source = INaturalistExportSource(source="inaturalist_export", path=(export, export.with_name("observations-2.csv")))
    [problem] = problems(Ask(source, "bee", NETWORK))
    assert problem.hint.startswith("Did you mean observations-1.csv?")


def test_an_export_of_200_000_rows_is_read_in_under_3_seconds(tmp_path: Path) -> None:
    row = f'2020-06-06,research,CC-BY,ann,{PAGE}/%d,{OPEN}/%d/medium.jpg,Apis cerana,1,"A, b"'
    lines = "\n".join(f"{number},{row % (number, number)},12.5" for number in range(200_000))
    (tmp_path / "x.csv").write_text(f"{HEAD}\n{lines}\n")
    began = time.process_time()
    page = read(tmp_path / "x.csv", taxon="Apis", quality_grade=["research"], licences=["cc-by"])
    assert page.candidates.height == 200_000
    assert time.process_time() - began < 3


@pytest.mark.real
def test_real_exports_offer_one_photo_a_row_and_know_where_it_lies(real_data: Path) -> None:
    folder = real_data / "fixtures" / "inaturalist_exports" / "csv"
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row["image_url"]]
        page = read(path)
        photos = Counter(page.candidates["group_id"].to_list())
        assert photos == Counter(f"inaturalist:{row['id']}" for row in rows), path
        assert page.candidates["source_id"].null_count() == 0, path
        assert set(page.candidates["creator"]) == {row["user_login"] for row in rows}, path
