from __future__ import annotations

import csv
import gzip
import re
import threading
from collections.abc import Callable, Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from tasks.core.errors import SourceError
from tasks.core.network import NetworkPolicy
from tasks.discover.config import INaturalistOpenDataSource
from tasks.discover.found import Ask, Page
from tasks.discover.inaturalist_open_data import pages, problems
from tasks.discover.open_data_taxa import chosen_taxa

TAXA = """\
taxon_id\tancestry\trank_level\trank\tname\tactive
1\t48460\t70\tkingdom\tAnimalia\ttrue
10\t48460/1\t30\tfamily\tTheridiidae\ttrue
20\t48460/1\t30\tfamily\tAraneidae\ttrue
100\t48460/1/10\t20\tgenus\tLatrodectus\ttrue
200\t48460/1/20\t20\tgenus\tAraneus\ttrue
101\t48460/1/10/100\t10\tspecies\tLatrodectus mactans\ttrue
102\t48460\\1\\10\\100\t10\tspecies\tLatrodectus hasselti\tfalse
201\t48460/1/20/200\t10\tspecies\tAraneus "dia"dematus\ttrue
1010\t48460/1/100100\t10\tspecies\tLookalike idea\ttrue
300\t48460/1/20\t20\tgenus\tMorus\ttrue
301\t48460/2\t20\tgenus\tMorus\ttrue
302\t48460/3\t20\tgenus\tOnceler\tfalse
303\t48460/1/10\t20\tgenus\tOnceler\ttrue
"""
OBSERVATIONS = """\
observation_uuid\tobserver_id\tlatitude\tlongitude\tpositional_accuracy\ttaxon_id\tquality_grade\tobserved_on\tanomaly_score
o-mactans\t7\t38.7\t-9.1\t5\t101\tresearch\t2020-05-01\t0.1
o-hasselti\t8\t-33.8\t179.5\t5\t102\tresearch\t2021-05-01\t0.1
o-genus\t7\t\t\t5\t100\tneeds_id\t\t0.1
z-araneus\t9\t10.0\t-179.5\t5\t201\tresearch\t2022-05-01\t0.1
o-other\t9\t10.0\t20.0\t5\t1010\tresearch\t2022-05-01\t0.1
o-ragged\t8\t24.3\t80.5\t\t101\tcasual\t\t2011-06-03\t
"""
PHOTOS = """\
photo_uuid\tphoto_id\tobservation_uuid\tobserver_id\textension\tlicense\twidth\theight\tposition
a\t30\to-mactans\t7\tjpg\tCC-BY-NC\t2048\t1536\t1
b\t31\to-mactans\t7\tJPG\tCC-BY\t2048\t1536\t0
c\t32\to-mactans\t7\tjpg\tCC-BY\t2048\t1536\t2
d\t20\to-hasselti\t8\tjpeg\tCC0\t2048\t1536\t0
e\t40\to-genus\t7\tjpg\tCC-BY\t2048\t1536\t0
f\t10\tz-araneus\t9\tjpg\tPD\t2048\t1536\t0
g\t11\tz-araneus\t9\tjpg\tCC-BY-SA\t2048\t1536\t1
h\t50\to-other\t9\tjpg\tCC-BY\t2048\t1536\t0
i\t60\to-ragged\t8\tjpg\tCC-BY\t2048\t1536\t0
j\t33\to-mactans\t7\t\tCC-BY\t2048\t1536\t3
k\t70\to-gone\t7\tjpg\tCC-BY\t2048\t1536\t0
"""
OBSERVERS = 'observer_id\tlogin\tname\n7\tseven\tThe "seventh\n8\teight\t"\n9\tnine\t\n'
TABLES = {"taxa": TAXA, "observations": OBSERVATIONS, "photos": PHOTOS, "observers": OBSERVERS}
PHOTO = "https://inaturalist-open-data.s3.amazonaws.com/photos"


def write(folder: Path, **changed: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**TABLES, **changed}.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write(tmp_path / "dump")


def ask(path: Path | str, *, network: NetworkPolicy | None = None, **fields: object) -> Ask[INaturalistOpenDataSource]:
    raw = {"source": "inaturalist_open_data", "path": str(path), "taxon": "Animalia", **fields}
    source = INaturalistOpenDataSource.model_validate(raw)
    return Ask(source, "spiders", network or NetworkPolicy(user_agent="harvestman-tests"))


def page(path: Path | str, *, network: NetworkPolicy | None = None, **fields: object) -> Page:
    (only,) = pages(ask(path, network=network, **fields))
    return only


def photos(path: Path | str, *, network: NetworkPolicy | None = None, **fields: object) -> list[str]:
    return page(path, network=network, **fields).candidates["source_id"].to_list()


def test_a_photo_comes_with_all_that_the_tables_tell_of_it(dump: Path) -> None:
    rows = page(dump, taxon="Latrodectus mactans", photos="first").candidates.to_dicts()
    assert rows == [
        {
            "url": f"{PHOTO}/31/medium.JPG",
            "label": "spiders",
            "source_id": "31",
            "group_id": "inaturalist:o-mactans",
            "taxon": "Latrodectus mactans",
            "licence": "cc-by",
            "creator": "seven",
            "page_url": "https://www.inaturalist.org/observations/o-mactans",
            "observed_on": date(2020, 5, 1),
            "latitude": 38.7,
            "longitude": -9.1,
        }
    ]


@pytest.mark.parametrize(
    ("taxon", "expected"),
    [
        ("Latrodectus", ["20", "31", "30", "32"]),  # itself and below, active or not, either separator
        (100, ["20", "31", "30", "32"]),
        ("100", ["20", "31", "30", "32"]),
        ("  latrodectus   MACTANS ", ["31", "30", "32"]),
        (("Latrodectus mactans", "Latrodectus hasselti"), ["20", "31", "30", "32"]),
        (("Latrodectus", "Latrodectus mactans"), ["20", "31", "30", "32"]),
        ('Araneus "dia"dematus', ["11"]),
        (48460, ["11", "20", "31", "30", "32", "50"]),  # has no row of its own
    ],
)
def test_a_taxon_brings_all_below_it_the_oldest_observation_first(
    dump: Path, taxon: object, expected: list[str]
) -> None:
    assert photos(dump, taxon=taxon, photos="all") == expected


def test_a_name_is_that_of_the_active_taxon_where_another_is_not(dump: Path) -> None:
    assert photos(dump, taxon="Onceler") == []


def test_quality_days_and_boxes_choose_observations(dump: Path) -> None:
    assert photos(dump, taxon=100, quality_grade=["needs_id", "casual"]) == ["40", "60"]
    assert photos(dump, observed=["2020-05-02", "2021-05-01"]) == ["20"]
    assert photos(dump, observed=[None, "2020-05-01"]) == ["31"]
    assert photos(dump, bbox=[30, -10, 40, 0]) == ["31"]
    assert photos(dump, bbox=[-40, 179, 20, -179]) == ["11", "20"]  # across the 180th meridian
    assert photos(dump, taxon=100, quality_grade=["needs_id"], bbox=[-90, -180, 90, 180]) == []  # tells no place
    assert photos(dump, taxon=100, quality_grade=["needs_id"], observed=["1900-01-01", None]) == []


def test_photos_left_out_are_counted_and_the_first_is_the_first_that_is_allowed(dump: Path) -> None:
    found = page(dump, taxon=["Latrodectus", "Araneus"], licences=["cc-by-nc", "cc-by-sa"], photos="first")
    assert found.candidates["source_id"].to_list() == ["11", "30"]
    assert found.notes == {"rows": 7, "not-addresses": 1, "licence-refused": 4, "further-photos": 0}
    wider = page(dump, taxon="Latrodectus mactans", photos="first")
    assert wider.notes == {"rows": 4, "not-addresses": 1, "licence-refused": 0, "further-photos": 2}


def several(path: Path, rule: object, **fields: object) -> dict[str, str | None]:
    raw = {"source": "inaturalist_open_data", "path": str(path), "taxon": 1, "label": rule, **fields}
    source = INaturalistOpenDataSource.model_validate(raw)
    (only,) = pages(Ask(source, None, NetworkPolicy(user_agent="harvestman-tests")))
    return dict(only.candidates.select("source_id", "label").iter_rows())


def test_under_sources_a_rank_tells_the_class(dump: Path) -> None:
    classes = {"11": "Araneidae", "20": "Theridiidae", "31": "Theridiidae", "50": None}
    assert several(dump, "family") == classes
    assert several(dump, "species")["20"] == "Latrodectus hasselti"


def test_under_sources_taxa_tell_the_class_and_the_nearest_decides(dump: Path) -> None:
    rule = {"taxa": {"widows": ["Latrodectus"], "black widow": ["101"], "orb": ["araneidae"]}}
    assert several(dump, rule) == {"11": "orb", "20": "widows", "31": "black widow", "50": None}


def test_a_taxon_in_two_classes_is_refused(dump: Path) -> None:
    with pytest.raises(SourceError, match="two classes"):
        several(dump, {"taxa": {"one": ["Latrodectus"], "two": ["100"]}})


def test_a_label_by_column_is_refused_before_anything_is_read() -> None:
    source = INaturalistOpenDataSource.model_validate(
        {"source": "inaturalist_open_data", "path": "s3://b/p", "taxon": 1, "label": {"column": "taxon_family_name"}}
    )
    (problem,) = problems(Ask(source, None, NetworkPolicy(user_agent="x")))
    assert "by its taxon only" in str(problem)
    assert "label: family" in problem.hint


@pytest.mark.parametrize(
    ("taxon", "message"),
    [
        ("Latrodectus mactens", r"no taxon named(.|\n)*Latrodectus mactans \(species, id 101\)"),
        ("Zyx", r"no taxon named(.|\n)*Nothing similar"),
        ("Morus", r"several taxa named(.|\n)*id 300\); Morus \(genus, id 301\)"),
        (4711, "no taxon with the id 4711"),
        (("Latrodectus", 4711), "no taxon with the id 4711"),
    ],
)
def test_a_taxon_that_is_unknown_or_several_is_told_with_what_is_like_it(
    dump: Path, taxon: object, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        photos(dump, taxon=taxon)


def test_a_row_with_a_tab_too_many_is_read_as_far_as_the_columns_go(tmp_path: Path) -> None:
    # Polars is strict about it only where every column of a file is read.
    lines = [line.split("\t") for line in OBSERVATIONS.splitlines()]
    shorter = "".join("\t".join([fields[0], *fields[2:4], *fields[5:8]]) + "\n" for fields in lines)
    shorter = shorter.replace("casual\t\n", "casual\t\t2011-06-03\n")
    found = page(write(tmp_path / "dump", observations=shorter), quality_grade=["casual"]).candidates
    assert found.select("source_id", "observed_on").rows() == [("60", None)]


def test_packed_tables_and_parquet_give_the_same_bytes(dump: Path, tmp_path: Path) -> None:
    packed, columnar = tmp_path / "packed", tmp_path / "columnar"
    packed.mkdir()
    columnar.mkdir()
    for name, text in TABLES.items():
        (packed / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
        frame = pl.read_csv(
            dump / f"{name}.csv", separator="\t", quote_char=None, try_parse_dates=True, truncate_ragged_lines=True
        )
        frame.write_parquet(columnar / f"{name}.parquet")
    expected = page(dump, photos="all").candidates
    assert expected.height == 6
    assert page(packed, photos="all").candidates.equals(expected)
    assert page(columnar, photos="all").candidates.equals(expected)


def test_the_order_of_rows_makes_no_difference(dump: Path, tmp_path: Path) -> None:
    turned = {
        name: "\n".join([text.split("\n")[0], *text.split("\n")[-2:0:-1]]) + "\n" for name, text in TABLES.items()
    }
    other = write(tmp_path / "turned", **turned)
    for which in ("first", "all"):
        assert page(other, photos=which).candidates.equals(page(dump, photos=which).candidates)


def test_a_byte_order_mark_and_carriage_returns_do_no_harm(dump: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "dos", **{name: "\ufeff" + text.replace("\n", "\r\n") for name, text in TABLES.items()})
    assert page(other, photos="all").candidates.equals(page(dump, photos="all").candidates)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photos": PHOTOS.replace("\t", ",")}, r"photos\.csv has no column photo_id(.|\n)*separated by tabs"),
        ({"photos": PHOTOS.replace("license", "rights")}, r"no column license\.\nColumns: photo_uuid, photo_id"),
        ({"observations": OBSERVATIONS.split("\n", maxsplit=1)[0] + "\n"}, r"observations\.csv holds no rows"),
        ({"taxa": ""}, r"taxa of iNaturalist's open data cannot be read(.|\n)*empty"),
    ],
)
def test_a_table_that_is_not_one_is_told(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        photos(write(tmp_path / "dump", **change))


def test_latin_1_is_told_and_not_guessed(dump: Path) -> None:
    (dump / "taxa.csv").write_bytes(TAXA.replace("Onceler", "Öncel").encode("latin-1"))
    with pytest.raises(SourceError, match=r"taxa(.|\n)*utf-8"):
        photos(dump)


def test_a_download_that_broke_off_is_told(dump: Path) -> None:
    (dump / "photos.csv").unlink()
    whole = gzip.compress((PHOTOS + "".join(f"x\t{n}\to-none\t7\tjpg\tCC0\t1\t1\t0\n" for n in range(9999))).encode())
    (dump / "photos.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"photos(.|\n)*broke off"):
        photos(dump)


def test_a_folders_name_is_no_pattern(tmp_path: Path) -> None:
    folder = write(tmp_path / "dump [2024] *")
    assert photos(folder, taxon="Latrodectus mactans", photos="first") == ["31"]
    taxa = pl.read_csv((folder / "taxa.csv").read_bytes(), separator="\t", quote_char=None)
    taxa.write_parquet(folder / "taxa.parquet")
    assert photos(folder, taxon="Latrodectus mactans", photos="first") == ["31"]


def test_missing_folders_and_tables_are_known_beforehand(dump: Path, tmp_path: Path) -> None:
    (problem,) = problems(ask(tmp_path / "none"))
    assert "no folder" in str(problem)
    (dump / "photos.csv").unlink()
    (problem,) = problems(ask(dump))
    assert "lacks photos" in str(problem)
    assert "observers.csv" in str(problem)
    with pytest.raises(SourceError, match="lacks photos"):
        photos(dump)
    assert not list(problems(ask("s3://bucket/prefix")))
    (problem,) = problems(ask("gs://bucket/prefix"))
    assert "no folder gs://" in str(problem)


Serve = Callable[[dict[str, bytes]], tuple[NetworkPolicy, list[dict[str, str | None]]]]


class Bucket(BaseHTTPRequestHandler):
    """As much of S3 as a reader needs: HEAD, GET with Range, 404 and 403 for objects."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    log: list[dict[str, str | None]]

    def log_message(self, *_: object) -> None:
        return

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        names = ("Range", "Authorization", "User-Agent")
        self.log.append({"path": self.path, **{name: self.headers.get(name) for name in names}})
        whole = self.objects.get(self.path)
        if whole is None:
            self.send_response(403 if "locked" in self.path else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        first, last = (
            (int(asked[1]), min(int(asked[2] or len(whole)), len(whole) - 1)) if asked else (0, len(whole) - 1)
        )
        part = whole[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
        self.end_headers()
        if body:
            self.wfile.write(part)


@pytest.fixture
def bucket() -> Iterator[Serve]:
    """Serve objects on the loopback for the test."""
    servers = []

    def serve(objects: dict[str, bytes]) -> tuple[NetworkPolicy, list[dict[str, str | None]]]:
        log: list[dict[str, str | None]] = []
        handler = type("Handler", (Bucket,), {"objects": objects, "log": log})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        endpoint = f"http://127.0.0.1:{server.server_port}"
        return NetworkPolicy(user_agent="harvestman-tests/1 (us@example.org)", apis={"s3": endpoint}), log

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_tables_in_an_object_store_are_read_without_keys(
    dump: Path, bucket: Serve, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "never-to-be-sent")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-to-be-sent")
    objects = {}
    for name, text in TABLES.items():
        path = dump / f"{name}.parquet"
        pl.read_csv(dump / f"{name}.csv", separator="\t", quote_char=None, truncate_ragged_lines=True).write_parquet(
            path
        )
        content = {"csv": text.encode(), "csv.gz": gzip.compress(text.encode()), "parquet": path.read_bytes()}[kind]
        path.unlink()
        objects[f"/open-data/dumps/{name}.{kind}"] = content
    network, log = bucket(objects)
    found = page("s3://open-data/dumps/", photos="all", network=network)
    assert found.candidates.equals(page(dump, photos="all").candidates)
    assert {entry["path"] for entry in log} >= set(objects)
    assert {entry["Authorization"] for entry in log} == {None}
    assert {entry["User-Agent"] for entry in log} == {"harvestman-tests/1 (us@example.org)"}


def test_an_object_store_without_the_tables_or_that_refuses_is_told(bucket: Serve) -> None:
    network, _ = bucket({})
    with pytest.raises(SourceError, match=r"s3://open-data lacks taxa"):
        photos("s3://open-data", network=network)
    with pytest.raises(SourceError, match=r"s3://locked/taxa of iNaturalist's open data cannot be read"):
        photos("s3://locked", network=network)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.real
def test_real_tables_give_what_the_csv_module_counts(real_data: Path, tmp_path: Path) -> None:
    """The real extract's taxa are others than those of its observations; three rows join them to a genus of ours."""
    real = real_data / "fixtures/inaturalist_exports/pyinaturalist_convert/inaturalist-open-data"
    wanted = {"53137": "Quercus lobata", "2334": "Equus", "54591": "Brotogeris"}
    extra = "".join(f"{number}\t48460/99\t10\tspecies\t{name}\ttrue\n" for number, name in wanted.items())
    for name in TABLES:
        (tmp_path / f"{name}.csv").write_bytes((real / f"{name}.csv").read_bytes())
    with (tmp_path / "taxa.csv").open("a") as stream:
        stream.write(extra)
    observations = {row["observation_uuid"]: row for row in rows_of(tmp_path / "observations.csv")}
    logins = {row["observer_id"]: row["login"] for row in rows_of(tmp_path / "observers.csv")}
    expected = {
        (row["photo_id"], row["license"].lower(), logins.get(row["observer_id"]), observation["observed_on"])
        for row in rows_of(tmp_path / "photos.csv")
        if (observation := observations.get(row["observation_uuid"]))
        and observation["taxon_id"] in wanted
        and observation["quality_grade"] == "research"
    }
    found = page(tmp_path, taxon=99, photos="all").candidates
    rows = found.select("source_id", "licence", "creator", pl.col("observed_on").cast(pl.String)).rows()
    assert len(rows) == len(expected) > 3
    assert set(rows) == expected


@pytest.mark.real
def test_real_taxa_have_the_descendants_the_csv_module_counts(real_data: Path) -> None:
    real = real_data / "fixtures/inaturalist_exports/pyinaturalist_convert/inaturalist-open-data"
    rows = rows_of(real / "taxa.csv")
    table = pl.read_csv(real / "taxa.csv", separator="\t", quote_char=None, infer_schema=False)
    for ancestor in ("26504", "20979", "85553", "26172", "29583"):
        expected = {int(row["taxon_id"]) for row in rows if ancestor in [*row["ancestry"].split("/"), row["taxon_id"]]}
        assert set(chosen_taxa(table, int(ancestor), None)["taxon_id"]) == expected
        assert expected
