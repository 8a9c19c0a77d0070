"""Files that stand in for those of a recipe: where they lie and what they hold, read back by other means than ours."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest
import yaml

from tasks.core.errors import RecipeError
from tasks.rehearse.faults import BARRED, IN_FILES, PAGE
from tasks.rehearse.files import files_of
from tasks.rehearse.paint import OBSERVATIONS, paint
from tasks.rehearse.plan import Plan
from tasks.rehearse.sources import slots_of
from tasks.rehearse.stock import stock

BASE = "http://127.0.0.1:9"
SHARED = """
sources:
  - {source: folder, path: pictures}
  - {source: archive, path: all.zip, table: tables/meta.tsv, image: "imgs/{family}/{object_id}.png", label: family}
  - {source: archive, path: all.tar.xz}
  - {source: inaturalist_export, path: [a.csv, b.zip], label: taxon_family_name, where: {project: [moor, bog]}}
  - {source: inaturalist_open_data, path: dump, taxon: Araneae, label: family}
  - {source: darwin_core, path: spiders.zip, taxon: Araneae, label: family}
  - {source: url_list, path: [spiders.csv, spiders.jsonl.gz, spiders.parquet], columns: {url: at}, label: name}
labels: {drop: [Unknown]}
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    paint(folder, ["Araneidae", "Lycosidae"], per_class=60, seed=1, side=70)
    return folder


def planned(folder: Path, recipe: str, photos: Path) -> Plan:
    return stock(
        yaml.safe_load(recipe), folder, photos=photos, observations=OBSERVATIONS, base_url=BASE, seed=5, key="k"
    )


@pytest.fixture(scope="module")
def site(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    folder = tmp_path_factory.mktemp("site")
    return folder, planned(folder, SHARED, photos)


def mine(plan: Plan, shared: int, *, barred: bool = True) -> list[str]:
    """Paths of the addresses of a source: here every source has one slot in each class, in their order."""
    found = [item for item in plan.addresses if item.source == shared]
    return [item.path for item in found if barred or item.kind not in BARRED]


def test_files_lie_where_the_recipe_is_told_with_the_suffixes_it_had() -> None:
    recipe: dict[str, Any] = {
        "classes": {
            "a": [
                {"source": "url_list", "path": "x.txt"},
                {"source": "url_list", "path": ["x", "y.csv"]},
                {"source": "archive", "path": "z.tgz"},
                {"source": "darwin_core", "path": "multimedia.txt"},
                {"source": "inaturalist_open_data", "path": "s3://inaturalist-open-data", "taxon": 5},
                {"source": "google", "query": "x"},
            ]
        },
        "sources": [{"source": "folder", "path": "a"}],
    }
    assert [files_of(slot) for slot in slots_of(recipe, ["x"])] == [
        ["urls/a-0.txt"],
        ["urls/a-1-0.txt", "urls/a-1-1.csv"],
        ["files/a-2.tgz"],
        ["files/a-3.txt"],
        ["files/a-4"],
        [],
        ["files/sources_0"],
    ]


def test_two_sites_have_the_same_files_byte_for_byte(site: tuple[Path, Plan], photos: Path, tmp_path: Path) -> None:
    assert planned(tmp_path, SHARED, photos) == site[1]
    one, two = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (site[0], tmp_path)
    )
    assert one == two


def test_a_folder_holds_each_class_in_a_sub_folder(site: tuple[Path, Plan]) -> None:
    folder, plan = site
    found = [path.relative_to(folder).as_posix() for path in folder.glob("files/sources_0/*/*")]
    assert sorted(found) == sorted(mine(plan, 0))
    assert {path.split("/")[2] for path in found} == {"Araneidae", "Lycosidae"}
    assert {item.kind for item in plan.addresses if item.source in (0, 2)} <= {*IN_FILES, "photo"}


def test_files_of_this_machine_are_spoilt_where_the_plan_says_so(site: tuple[Path, Plan]) -> None:
    folder, plan = site
    for item in plan.addresses:
        if item.source == 0:
            body = (folder / item.path).read_bytes()
            assert (body == b"") == (item.expected == "empty")
            assert (body == PAGE) == (item.expected == "html")
            assert body == (folder / item.file).read_bytes() or item.kind in {"page", "nothing", "pixel"}


def test_an_archive_holds_its_table_and_an_image_for_each_row(site: tuple[Path, Plan]) -> None:
    folder, plan = site
    with zipfile.ZipFile(folder / "files/sources_1.zip") as packed:
        rows = list(csv.DictReader(io.StringIO(packed.read("meta.tsv").decode("utf-8-sig")), delimiter="\t"))
        images = {f"imgs/{row['family']}/{row['object_id']}.png" for row in rows}
        assert {name for name in packed.namelist() if name != "meta.tsv"} == images
    assert {f"files/sources_1/{image}" for image in images} == set(mine(plan, 1))
    families = [row["family"] for row in rows]
    assert families.count("") >= 1
    assert families.count("Unknown") >= 1
    with tarfile.open(folder / "files/sources_2.tar.xz") as packed_tar:
        assert {f"files/sources_2/{name}" for name in packed_tar.getnames()} == set(mine(plan, 2))


def exported(folder: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(folder / "files/sources_3-1.zip") as packed:
        inner = packed.read(packed.namelist()[0]).decode()
    texts = [(folder / "files/sources_3-0.csv").read_text(encoding="utf-8"), inner]
    return [row for text in texts for row in csv.DictReader(io.StringIO(text))]


def test_an_export_tells_the_class_and_what_where_looks_at(site: tuple[Path, Plan]) -> None:
    rows = exported(site[0])
    assert {row["image_url"].removeprefix(BASE) for row in rows} == set(mine(site[1], 3))
    assert {row["taxon_family_name"] for row in rows} == {"Araneidae", "Lycosidae", "Unknown", ""}
    assert {row["project"] for row in rows} == {"moor", "something else"}
    assert len({row["id"] for row in rows}) == len(rows)


def lines(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode()), delimiter="\t", quoting=csv.QUOTE_NONE))


def test_the_tables_of_open_data_join(site: tuple[Path, Plan]) -> None:
    folder = site[0] / "files" / "sources_4"
    photos = lines(gzip.decompress((folder / "photos.csv.gz").read_bytes()))
    observations = lines(gzip.decompress((folder / "observations.csv.gz").read_bytes()))
    taxa, observers = (lines((folder / f"{name}.csv").read_bytes()) for name in ("taxa", "observers"))
    assert {f"/photos/{row['photo_id']}/medium.{row['extension']}" for row in photos} == set(mine(site[1], 4))
    assert {row["observation_uuid"] for row in photos} == {row["observation_uuid"] for row in observations}
    assert {row["taxon_id"] for row in observations} <= {row["taxon_id"] for row in taxa}
    assert {row["observer_id"] for row in observations} == {row["observer_id"] for row in observers}
    order = next(row["taxon_id"] for row in taxa if row["name"] == "Araneae")
    families = {row["name"]: row["ancestry"].split("/")[-1] for row in taxa if row["rank"] == "family"}
    assert families == dict.fromkeys(("Araneidae", "Lycosidae", "Unknown"), order)
    assert all('"' in row["name"] for row in observers)


def test_a_darwin_core_archive_describes_its_tables_and_repeats_some_rows(site: tuple[Path, Plan]) -> None:
    with zipfile.ZipFile(site[0] / "files/sources_5.zip") as packed:
        meta = ET.fromstring(packed.read("meta.xml"))  # noqa: S314 - written by this test's own run
        core, pictures = lines(packed.read("occurrence.txt")), lines(packed.read("multimedia.txt"))
    space = "{http://rs.tdwg.org/dwc/text/}"
    for tag, rows in (("core", core), ("extension", pictures)):
        described = [str(field.get("term")).rsplit("/", 1)[1] for field in meta.findall(f"{space}{tag}/{space}field")]
        assert ["gbifID", *described] == list(rows[0])
    assert {row["identifier"].removeprefix(BASE) for row in pictures} == set(mine(site[1], 5))
    assert {row["gbifID"] for row in pictures} == {row["gbifID"] for row in core}
    assert len(pictures) > len({row["identifier"] for row in pictures})
    assert {row["family"] for row in core} == {"Araneidae", "Lycosidae", "Unknown", ""}


def test_lists_are_tables_where_their_names_say_so(site: tuple[Path, Plan]) -> None:
    urls = site[0] / "urls"
    body = (urls / "sources_6-0.csv").read_bytes()
    assert body.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"))))
    rows += [json.loads(line) for line in gzip.decompress((urls / "sources_6-1.jsonl.gz").read_bytes()).splitlines()]
    rows += pl.read_parquet(urls / "sources_6-2.parquet").to_dicts()
    assert {row["at"].removeprefix(BASE) for row in rows} == set(mine(site[1], 6))
    assert {row["name"] for row in rows} == {"Araneidae", "Lycosidae", "Unknown", ""}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{source: archive, path: a.zip, table: t.csv, image: '{family}.png', label: family}", "column that tells"),
        ("{source: url_list, path: a.csv, label: {pattern: '([a-z])'}}", "names no column"),
    ],
)
def test_what_cannot_be_played_is_said(source: str, complaint: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=complaint):
        planned(tmp_path, f"sources: [{source}]", photos)
