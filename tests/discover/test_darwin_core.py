from __future__ import annotations

import csv
import time
import zipfile
from datetime import date
from pathlib import Path

import pytest

from tasks.core.errors import SourceError
from tasks.core.network import NetworkPolicy
from tasks.discover.config import DarwinCoreSource
from tasks.discover.darwin_core import pages, problems
from tasks.discover.found import Ask, Page

NETWORK = NetworkPolicy(user_agent="t")
DWC, DC, GBIF = "http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/", "http://rs.gbif.org/terms/1.0/"
CORE = ("gbifID", "references", "license", "scientificName", "species", "family", "eventDate", "decimalLatitude")
MEDIA = ("gbifID", "type", "format", "identifier", "creator", "license")
HOUR = "2020-05-06T10:00/2020-05-06T11:00"
OBSERVATION = "https://www.inaturalist.org/observations/77"
OCCURRENCES = [
    f"1\t{OBSERVATION}\tCC0_1_0\tApis cerana Fabricius, 1793\tApis cerana\tApidae\t{HOUR}\t12.5",
    '2\thttp://museum.org/2\tCC0_1_0\tBombus "x" terrestris\tBombus terrestris\tApidae\t2020-05-06/2020-06-01\t',
    "3\t\t\tVespa crabro\tVespa crabro\tVespidae\t2020\t99",
]  # fmt: skip
PHOTO = "https://inaturalist-open-data.s3.amazonaws.com/photos"
ITEMS = [
    f"1\tStillImage\timage/jpeg\t{PHOTO}/11/original.jpeg\tann\thttp://creativecommons.org/licenses/by-nc/4.0/",
    f"1\tStillImage\timage/jpeg\t{PHOTO}/11/original.jpeg\tann\thttp://creativecommons.org/licenses/by-nc/4.0/",
    f"1\tStillImage\timage/jpeg\t{PHOTO}/12/original.jpeg\tann\thttp://creativecommons.org/licenses/by-nc/4.0/",
    "1\tSound\taudio/mpeg\thttp://a.org/song.mp3\tann\tCC BY 4.0",
    "2\tStillImage\t\thttp://a.org/2.jpg\t\tCC BY 4.0",
    "2\tStillImage\timage/jpeg\t\t\tCC BY 4.0",
    "2\tStillImage\ttext/html\thttp://a.org/viewer\t\tCC BY 4.0",
    "2\tMovingImage\t\thttp://a.org/film\t\tCC BY 4.0",
    "3\t\t\thttp://a.org/3\t\t© all rights reserved",
    "3\t\timage/png\thttp://a.org/4\t\t",
    '9\tStillImage\timage/jpeg\thttp://a.org/9\tbob "quote\tCC0',
]  # fmt: skip


def meta(tables: str) -> str:
    return f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">{tables}</archive>'


def described(kind: str, row_type: str, file: str, terms: tuple[str, ...], form: str) -> str:
    fields = "".join(f'<field index="{number}" term="{DWC}{term}"/>' for number, term in enumerate(terms))
    key = "id" if kind == "core" else "coreid"
    return (
        f'<{kind} encoding="UTF-8" {form} rowType="{row_type}"><files><location>{file}</location></files>'
        f'<{key} index="0"/>{fields}</{kind}>'
    )


TABS = r'fieldsTerminatedBy="\t" linesTerminatedBy="\n" fieldsEnclosedBy="" ignoreHeaderLines="1"'


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "download"
    folder.mkdir()
    core = described("core", f"{DWC}Occurrence", "occurrence.txt", CORE, TABS)
    media = described("extension", f"{GBIF}Multimedia", "multimedia.txt", MEDIA, TABS)
    other = described("extension", f"{DWC}Occurrence", "verbatim.txt", ("gbifID",), TABS)
    (folder / "meta.xml").write_text(meta(core + other + media))
    (folder / "occurrence.txt").write_text("\n".join(["\t".join(CORE), *OCCURRENCES]) + "\n")
    (folder / "multimedia.txt").write_text("\n".join(["\t".join(MEDIA), *ITEMS]) + "\n")
    return folder


def ask(path: Path, label: str | None = "bee", /, **fields: object) -> Ask[DarwinCoreSource]:
    return Ask(DarwinCoreSource.model_validate({"source": "darwin_core", "path": path, **fields}), label, NETWORK)


def read(path: Path, **fields: object) -> Page:
    [page] = pages(ask(path, **fields))
    return page


def urls(page: Page) -> list[str]:
    return page.candidates["url"].to_list()


def zipped(folder: Path, within: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for item in sorted(folder.iterdir()):
            target.write(item, f"{within}{item.name}")
    return path


def test_media_are_joined_with_their_occurrences_and_what_is_no_picture_is_counted(archive: Path) -> None:
    page = read(archive, photos="all")
    assert page.notes == {
        "rows": 11, "not-an-image": 3, "not-addresses": 1, "duplicates": 1, "licence-refused": 2,
    }  # fmt: skip
    assert urls(page) == [
        "http://a.org/2.jpg", "http://a.org/9", f"{PHOTO}/11/medium.jpeg", f"{PHOTO}/12/medium.jpeg",
    ]  # fmt: skip
    assert page.candidates.row(2, named=True) == {
        "url": f"{PHOTO}/11/medium.jpeg",
        "source_id": "11",
        "group_id": "inaturalist:77",
        "taxon": "Apis cerana",
        "licence": "cc-by-nc",
        "creator": "ann",
        "page_url": OBSERVATION,
        "observed_on": date(2020, 5, 6),
        "latitude": 12.5,
        "longitude": None,
    }
    assert page.candidates["group_id"].to_list()[:2] == ["gbif:2", "gbif:9"]
    assert page.candidates["creator"].to_list()[:2] == [None, 'bob "quote']
    assert page.candidates["observed_on"].to_list()[:2] == [None, None]  # more than one day; no occurrence


def test_gbifs_key_is_known_by_the_header_where_meta_xml_does_not_name_it(archive: Path) -> None:
    before = read(archive).candidates
    text = (archive / "meta.xml").read_text()
    (archive / "meta.xml").write_text(text.replace(f'<field index="0" term="{DWC}gbifID"/>', ""))
    assert read(archive).candidates.equals(before)


def test_one_picture_of_each_occurrence_is_taken_unless_all_are_asked_for(archive: Path) -> None:
    page = read(archive)
    assert urls(page) == ["http://a.org/2.jpg", "http://a.org/9", f"{PHOTO}/11/medium.jpeg"]
    assert page.notes["further-photos"] == 1


def test_the_licence_of_an_occurrence_is_not_that_of_its_pictures(archive: Path) -> None:
    core = described("core", f"{DWC}Occurrence", "occurrence.txt", CORE, TABS)
    media = described("extension", f"{GBIF}Multimedia", "multimedia.txt", MEDIA[:-1], TABS)
    (archive / "meta.xml").write_text(meta(core + media))
    lines = ["\t".join(MEDIA[:-1]), "2\tStillImage\t\thttp://a.org/2.jpg\tann"]
    (archive / "multimedia.txt").write_text("\n".join(lines))
    assert read(archive, licences="any", where={"license": "CC0_1_0"}).candidates["licence"].to_list() == [None]
    with pytest.raises(SourceError, match="no picture that the recipe takes"):
        read(archive)


@pytest.mark.parametrize("within", ["", "0001-download/"])
def test_the_zip_and_its_unpacked_folder_say_the_same(archive: Path, within: str) -> None:
    assert read(zipped(archive, within)).candidates.equals(read(archive).candidates)


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({"taxon": "Apis"}, ["inaturalist:77"]),
        ({"taxon": ["apidae"]}, ["gbif:2", "inaturalist:77"]),
        ({"where": {"family": "Apidae"}}, ["gbif:2", "inaturalist:77"]),
        ({"where": {"format": "image/png"}, "licences": "any"}, ["gbif:3"]),
    ],
)
def test_taxa_and_values_choose_rows(archive: Path, fields: dict[str, object], taken: list[str]) -> None:
    assert read(archive, **fields).candidates["group_id"].to_list() == taken


def test_the_class_comes_from_a_column_or_from_taxa(archive: Path) -> None:
    for rule, expected in (
        ("family", ["Apidae", None, "Apidae"]),
        ({"taxa": {"honey": ["Apis"], "humble": ["Bombus terrestris"]}}, ["humble", None, "honey"]),
    ):
        [page] = pages(ask(archive, None, label=rule))
        assert page.candidates["label"].to_list() == expected


def test_a_column_that_neither_table_has_is_named_with_all_that_they_have(archive: Path) -> None:
    with pytest.raises(SourceError, match="has no column famly") as caught:
        read(archive, where={"famly": "Apidae"})
    assert "Did you mean family for famly?" in caught.value.hint
    assert "decimalLatitude" in str(caught.value.received)


def test_a_taxon_that_no_row_has_is_answered_with_the_nearest(archive: Path) -> None:
    with pytest.raises(SourceError, match="no picture that the recipe takes") as caught:
        read(archive, taxon="Apis ceranna")
    assert "Apis cerana" in caught.value.hint


def test_a_table_of_media_alone_has_groups_but_no_taxa(archive: Path) -> None:
    page = read(archive / "multimedia.txt", photos="all")
    assert page.candidates["group_id"].to_list() == ["gbif:2", "gbif:9", "gbif:1", "gbif:1"]
    assert page.candidates["page_url"][0] == "https://www.gbif.org/occurrence/2"
    for fields in ({"taxon": "Apis"}, {"label": {"taxa": {"honey": ["Apis"]}}}):
        with pytest.raises(SourceError, match="has no column scientificName") as caught:
            list(pages(ask(archive / "multimedia.txt", None, **fields)))
        assert caught.value.received == f"Its columns: {', '.join(MEDIA)}."


def test_commas_quotes_columns_out_of_order_and_defaults_are_read_as_meta_xml_says(tmp_path: Path) -> None:
    form = 'fieldsTerminatedBy="," fieldsEnclosedBy="&quot;" ignoreHeaderLines="0"'
    core = described("core", f"{DWC}Occurrence", "o.csv", ("id", "scientificName", "occurrenceID"), form)
    media = (
        f'<extension {form} rowType="http://rs.tdwg.org/ac/terms/Multimedia"><files><location>m.csv</location></files>'
        f'<coreid index="2"/><field index="1" term="http://rs.tdwg.org/ac/terms/accessURI"/>'
        f'<field index="0" term="{DC}identifier"/><field term="{DC}format" default="image/jpeg"/>'
        '<field index="3" term="http://ns.adobe.com/xap/1.0/rights/UsageTerms"/></extension>'
    )
    (tmp_path / "meta.xml").write_text(meta(core + media))
    (tmp_path / "o.csv").write_text('7,"Apis ""b"", c",urn:7\n8,Vespa,\n', encoding="latin-1")
    (tmp_path / "m.csv").write_text("uuid-1,http://a.org/1,7,CC BY\nuuid-2,http://a.org/2,8,CC BY\n")
    rows = read(tmp_path).candidates.select("url", "group_id", "taxon", "licence").rows()
    assert rows == [
        ("http://a.org/1", "occurrence:urn:7", 'Apis "b", c', "cc-by"),
        ("http://a.org/2", f"{tmp_path.stem}:8", "Vespa", "cc-by"),
    ]


def test_addresses_that_a_museum_writes_into_one_cell_are_parted(tmp_path: Path) -> None:
    core = described("core", f"{DWC}Occurrence", "o.txt", ("id", "scientificName", "associatedMedia"), TABS)
    (tmp_path / "meta.xml").write_text(meta(core))
    (tmp_path / "o.txt").write_text("h\n1\tApis\thttp://a.org/1;v=2.jpg | http://a.org/2\n2\tVespa\t\n")
    page = read(tmp_path, licences="any", photos="all")
    assert urls(page) == ["http://a.org/1;v=2.jpg", "http://a.org/2"]
    assert page.candidates["taxon"].to_list() == ["Apis", "Apis"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("<archive", "cannot be read as XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><archive>&b;</archive>', "cannot be read as XML"),
        ("<archive/>", "does not describe its tables"),
        (meta(described("core", "x", "../../etc/passwd", CORE, TABS)), "does not describe its tables"),
        (meta(described("core", "x", "occurrence.txt", CORE, TABS.replace(r"\t", "ab"))), "does not describe"),
        (meta(described("core", f"{DWC}Occurrence", "occurrence.txt", CORE, TABS)), "has no table of media"),
        (meta(described("core", f"{DWC}Occurrence", "missing.txt", CORE, TABS)), "has no table of media|There is no"),
    ],
)
def test_an_archive_that_cannot_be_used_says_why(archive: Path, content: str, what: str) -> None:
    (archive / "meta.xml").write_text(content)
    with pytest.raises(SourceError, match=what):
        read(archive)


def test_a_description_too_long_to_be_one_is_refused(archive: Path) -> None:
    path, text = archive.with_suffix(".zip"), (archive / "meta.xml").read_text()
    with zipfile.ZipFile(path, "w") as packed:
        for file in archive.glob("*.txt"):
            packed.write(file, file.name)
        packed.writestr("meta.xml", text.replace("<core", f"<!--{'x' * (1 << 20)}--><core"))
    with pytest.raises(SourceError, match=r"meta\.xml in the archive .* cannot be read\.\ntoo-large"):
        read(path)


def test_a_folder_without_meta_xml_says_so(archive: Path) -> None:
    (archive / "meta.xml").unlink()
    with pytest.raises(SourceError, match=r"There is no Darwin Core file .*meta\.xml"):
        read(archive)


def test_a_missing_file_is_known_before_anything_is_read(archive: Path) -> None:
    assert list(problems(ask(archive))) == []
    [problem] = problems(ask(archive.with_name("downlod.zip")))
    assert isinstance(problem, SourceError)


def test_the_order_of_the_occurrences_makes_no_difference(archive: Path) -> None:
    before = read(archive).candidates
    (archive / "occurrence.txt").write_text("\n".join(["\t".join(CORE), *reversed(OCCURRENCES)]))
    assert read(archive).candidates.equals(before)


def test_200_000_media_are_read_in_under_3_seconds(archive: Path) -> None:
    core = (f"{n}\thttp://m.org/{n}\t\tApis cerana F.\tApis cerana\tApidae\t2020-05-06\t12" for n in range(100_000))
    media = (f"{n // 2}\tStillImage\timage/jpeg\thttp://a.org/{n}\tann\tCC BY 4.0" for n in range(200_000))
    (archive / "occurrence.txt").write_text("\n".join(["\t".join(CORE), *core]))
    (archive / "multimedia.txt").write_text("\n".join(["\t".join(MEDIA), *media]))
    began = time.process_time()
    assert read(archive, photos="all", taxon="Apis").candidates.height == 200_000
    assert time.process_time() - began < 3


@pytest.mark.real
def test_records_in_xml_are_read_with_each_photos_own_licence(real_data: Path) -> None:
    fixtures = real_data / "fixtures"
    page = read(fixtures / "inaturalist_api" / "v0" / "get_observations.dwc", photos="all")
    assert page.candidates.select("source_id", "group_id", "licence", "taxon").rows() == [
        ("24355313", "inaturalist:16227955", "cc-by", "Lixus bardanae"),  # the observation is CC0
        ("24355315", "inaturalist:16227955", "cc-by", "Lixus bardanae"),
    ]
    page = read(fixtures / "inaturalist_exports" / "pyinaturalist_convert" / "observations.dwc", photos="all")
    assert page.candidates["source_id"].to_list() == ["72180675", "72181173"]
    assert set(page.candidates["group_id"]) == {"inaturalist:45524803"}


@pytest.mark.real
def test_every_picture_of_a_real_table_of_media_is_offered_or_counted(real_data: Path) -> None:
    [path] = (real_data / "fixtures" / "gbif").glob("multimedia_psilocybe*.txt")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    page = read(path, licences="any", photos="all")
    pictures = {row["identifier"] for row in rows if not row["format"].startswith(("text", "application"))}
    assert page.notes == {"rows": len(rows), "not-an-image": len(rows) - len(pictures)}
    theirs = sum("inaturalist" in url for url in pictures)
    assert page.candidates["url"].str.contains("inaturalist.*/medium").sum() == theirs > 1000
