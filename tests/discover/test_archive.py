from __future__ import annotations

import csv
import gzip
import io
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.core.errors import SourceError
from tasks.core.local import place
from tasks.core.network import NetworkPolicy
from tasks.discover import archive
from tasks.discover.config import ArchiveSource
from tasks.discover.found import Ask, Page

META = "image,label,sample\n1,copepod,7\n2,diatom,7\n3,,8\n9,diatom,8\n"
MEMBERS = {"plankton/meta.csv": META, **{f"plankton/imgs/{n}.png": "x" for n in (1, 2, 3, 4)}}


def ask(path: Path, of: str | None = None, /, **fields: object) -> Ask[ArchiveSource]:
    source = ArchiveSource.model_validate({"source": "archive", "path": path, **fields})
    return Ask(source, of, NetworkPolicy(user_agent="t"))


def read(path: Path, of: str | None = None, /, **fields: object) -> Page:
    [page] = archive.pages(ask(path, of, **fields))
    return page


def counted(page: Page) -> dict[str, int]:
    return {reason: number for reason, number in page.notes.items() if number}


def make(path: Path, members: dict[str, str]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, body in members.items():
                packed.writestr(name, body)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body.encode())
            tar.addfile(info, io.BytesIO(body.encode()))
    return path


@pytest.fixture(params=["x.zip", "x.tar", "x.tar.gz"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_packed_table_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    bomb = gzip.compress(b"image,label\n" + b"1,x\n" * 5_000_000, 9)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("1.png", "x")
        packed.writestr("meta.csv.gz", bomb)
    with pytest.raises(SourceError, match=r"meta\.csv\.gz cannot be unpacked"):
        read(path, table="meta.csv.gz", image="{image}.png", label="label")


def test_rows_of_the_archives_own_table_find_their_images(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, MEMBERS)
    page = read(path, table=tmp_path / "meta.csv", image="imgs/{image}.png", label="label")
    assert page.candidates.select("source_id", "label").rows() == [
        ("plankton/imgs/1.png", "copepod"),
        ("plankton/imgs/2.png", "diatom"),
        ("plankton/imgs/3.png", None),
    ]
    assert [place(url) for url in page.candidates["url"]] == [(path, member) for member in page.candidates["source_id"]]
    assert counted(page) == {"rows": 4, "not-an-image": 1, "missing-image": 1, "without-row": 1}


def test_without_a_table_the_class_is_the_folder_or_what_the_pattern_finds(tmp_path: Path, name: str) -> None:
    members = dict.fromkeys(["cat/1_a.jpg", "cat/2_b.jpg", "dog\\3_a.jpg", "4_c.jpg", "__MACOSX/cat/._1.jpg"], "x")
    path = make(tmp_path / name, {**members, "inner.zip": "x", "README": "x"})
    page = read(path)
    assert dict(page.candidates.select("source_id", "label").iter_rows()) == {
        "cat/1_a.jpg": "cat", "cat/2_b.jpg": "cat", "dog/3_a.jpg": "dog", "4_c.jpg": None, "README": None
    }  # fmt: skip
    assert counted(page) == {"rows": 5, "hidden": 1, "not-an-image": 1}
    by_pattern = read(path, label={"pattern": r"_([a-z])\.jpg$"}).candidates
    assert by_pattern["label"].to_list() == ["a", "b", "a", "c", None]
    assert "label" not in read(path, "cats").candidates.columns


def test_a_table_beside_the_recipe_comes_before_one_in_the_archive(tmp_path: Path) -> None:
    path = make(tmp_path / "x.zip", MEMBERS)
    (tmp_path / "meta.csv").write_text("image,label\n4,krill\n")
    page = read(path, table=tmp_path / "meta.csv", image="imgs/{image}.png", label="label")
    assert page.candidates["label"].to_list() == ["krill"]


def test_the_table_in_the_archive_that_shares_most_of_the_path_is_taken(tmp_path: Path) -> None:
    tables = {"a/meta.csv": "image,label\n1,one\n", "b/meta.csv": "image,label\n1,two\n", "1.jpg": "x"}
    path = make(tmp_path / "x.zip", tables)
    rule = {"image": "{image}.jpg", "label": "label"}
    assert read(path, table=Path("/recipes/b/meta.csv"), **rule).candidates["label"].to_list() == ["two"]
    with pytest.raises(SourceError, match=r"several tables meta.csv") as caught:
        read(path, table=Path("/recipes/meta.csv"), **rule)
    assert caught.value.received == "a/meta.csv, b/meta.csv"
    top = make(tmp_path / "top.zip", {**tables, "meta.csv": "image,label\n1,top\n"})
    assert read(top, table=Path("/recipes/meta.csv"), **rule).candidates["label"].to_list() == ["top"]
    with pytest.raises(SourceError, match=r"no table /recipes/mata\.csv") as caught:
        read(path, table=Path("/recipes/mata.csv"), **rule)
    assert "a/meta.csv, b/meta.csv" in caught.value.received


def test_an_image_is_found_by_whole_parts_of_its_path_and_not_where_several_fit(tmp_path: Path) -> None:
    names = ["train/1.png", "test/1.png", "train/2.png", "12.png", "3.png", "old/3.png"]
    table = "image,label\n1,a\ntrain/1,b\n2,c\n./12,d\n3,e\n4,f\n,g\n"
    path = make(tmp_path / "x.zip", {**dict.fromkeys(names, "x"), "t.csv": table})
    page = read(path, table=tmp_path / "t.csv", image="{image}.png", label="label")
    assert dict(page.candidates.select("label", "source_id").iter_rows()) == {
        "b": "train/1.png", "c": "train/2.png", "d": "12.png", "e": "3.png"
    }  # fmt: skip
    assert counted(page) == {
        "rows": 7, "not-an-image": 1, "ambiguous-image": 1, "missing-image": 2, "without-row": 2
    }  # fmt: skip


def test_columns_of_the_table_tell_licence_group_and_place(tmp_path: Path) -> None:
    table = "file;klass;license;station;lat;day\na.jpg;x;CC BY-NC 4.0;7;36,9;2020-05-01\nb.jpg;y;;gbif:5;;\n"
    path = make(tmp_path / "x.zip", {"a.jpg": "x", "b.jpg": "x", "t.csv": table})
    fields = {"image": "{file}", "label": "klass", "columns": {"group_id": "station", "observed_on": "day"}}
    page = read(path, table=tmp_path / "t.csv", licence="cc0", **fields)
    first, second = page.candidates.to_dicts()
    assert (first["licence"], second["licence"]) == ("cc-by-nc", "cc0")
    assert (first["group_id"], second["group_id"]) == ("archive:7", "gbif:5")
    assert first["latitude"] == pytest.approx(36.9)
    assert str(first["observed_on"]) == "2020-05-01"
    assert page.candidates.schema["latitude"] == pl.Float64


def test_rows_are_chosen_by_where_and_their_images_still_have_a_row(tmp_path: Path) -> None:
    path = make(tmp_path / "x.zip", MEMBERS)
    fields = {"image": "{image}.png", "label": "label", "where": {"sample": 7}}
    page = read(path, table=tmp_path / "meta.csv", **fields)
    assert page.candidates["label"].to_list() == ["copepod", "diatom"]
    assert counted(page)["other-value"] == 1
    assert counted(page)["without-row"] == 1


@pytest.mark.parametrize(
    ("fields", "column"),
    [({"image": "{object}.png"}, "object"), ({"label": "species"}, "species"), ({"where": {"site": 1}}, "site"),
     ({"columns": {"licence": "rights"}}, "rights")],
)  # fmt: skip
def test_a_missing_column_is_named_with_those_present(tmp_path: Path, fields: dict[str, Any], column: str) -> None:
    path = make(tmp_path / "x.zip", MEMBERS)
    with pytest.raises(SourceError, match=f"no column {column}") as caught:
        read(path, table=tmp_path / "meta.csv", **{"image": "{image}.png", **fields})
    assert caught.value.received == "Its columns: image, label, sample."


def test_when_no_row_fits_the_error_shows_both_sides(tmp_path: Path) -> None:
    path = make(tmp_path / "x.zip", MEMBERS)
    with pytest.raises(SourceError, match="No row of") as caught:
        read(path, table=tmp_path / "meta.csv", image="{image}.jpg", label="label")
    assert "1.jpg" in caught.value.received
    assert "plankton/imgs/1.png" in caught.value.received


def test_an_archive_without_an_image_says_what_it_holds(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, {"../a.jpg": "x", "b.txt": "x", "c.zip": "x"})
    with pytest.raises(SourceError, match="holds no image") as caught:
        read(path, "cats")
    assert caught.value.received == "2 not-an-image, 1 unsafe-name"


def test_a_damaged_archive_is_an_error_at_once(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, {f"{n}.jpg": str(n) * 5000 for n in range(9)})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match=r"damaged|not a zip"):
        read(path, "cats")


def test_what_is_no_archive_is_a_problem_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("<html>")
    for path, words in ((tmp_path / "x.zip", "not a zip or tar"), (tmp_path / "no.zip", "There is no archive")):
        [problem] = archive.problems(ask(path, "cats"))
        assert words in str(problem)
    assert list(archive.problems(ask(make(tmp_path / "y.zip", MEMBERS), "cats"))) == []


@pytest.mark.parametrize("fields", [{"label": "x"}, {"where": {"a": 1}}, {"columns": {"licence": "x"}}, {"image": "a"}])
def test_fields_that_speak_of_a_table_need_one(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"give `table:`|column name in braces"):
        ArchiveSource.model_validate({"source": "archive", "path": "x.zip", **fields})


def test_as_many_rows_as_the_csv_module_counts(tmp_path: Path) -> None:
    rows = [{"object_id": f"{n:05}", "family": f"fam{n % 37}"} for n in range(3000)]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["object_id", "family"])
    writer.writeheader()
    writer.writerows(rows)
    members = {"data/features.csv": text.getvalue()} | {f"data/imgs/{row['object_id']}.jpg": "x" for row in rows}
    path = make(tmp_path / "x.tar.gz", members)
    page = read(path, table=tmp_path / "features.csv", image="imgs/{object_id}.jpg", label="family")
    assert page.candidates.height == len(rows)
    assert page.candidates["label"].to_list() == [row["family"] for row in rows]


@pytest.mark.real
def test_real_photos_packed_as_they_lie_are_all_offered_with_their_class(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "photos" / "ants-bees"
    files = [file for file in sorted(root.rglob("*")) if file.is_file() and file.suffix != ".txt"]
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz", compresslevel=1) as packed:
        packed.add(root, "photos")
    page = read(tmp_path / "x.tar.gz")
    assert page.candidates.height == len(files)
    assert dict(page.candidates.group_by("label").len().iter_rows()) == Counter(file.parent.name for file in files)
