from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import SourceError
from tasks.discover.fields import LabelRule
from tasks.discover.tabular import (
    candidates,
    label,
    near_taxa,
    of_taxa,
    read_file,
    read_table,
    require,
    unreadable,
    where,
)

TAXA = pl.DataFrame(
    {
        "name": ["Apis cerana", "Apis dorsata Fabricius, 1793", "Apisa alberici", None, "Bombus"],
        "family": ["Apidae", "Apidae", "Erebidae", None, "APIDAE"],
        "id": ["1", "2.0", "12", None, "4"],
    }
)


def written(rows: Sequence[Sequence[str]], delimiter: str = ",", **how: object) -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator="\n", **how).writerows(rows)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.csv.gz", "T.CSV"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_table_is_read_whatever_divides_it_and_whatever_its_name(delimiter: str, name: str, newline: str) -> None:
    text = written([["a", "b", "c"], ["1", "x, y; z|w\tv", ""], [' "q" ', "é", "3"]], delimiter)
    content = text.replace("\n", newline).encode()
    frame = read_table(gzip.compress(content) if name.endswith("gz") else content, name)
    assert frame.columns == ["a", "b", "c"]
    assert frame.rows() == [("1", "x, y; z|w\tv", None), ('"q"', "é", "3")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings_are_seen_through(encoding: str) -> None:
    frame = read_table("näme,b\nZoë,1\n".encode(encoding), "t.csv")
    assert frame.to_dicts() == [{"näme": "Zoë", "b": "1"}]


_LETTER = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))
_CELL = st.text(_LETTER | st.sampled_from('",;\n'))


@settings(deadline=None, max_examples=150)
@given(st.integers(2, 5).flatmap(lambda width: st.lists(st.tuples(*[_CELL] * width), min_size=1, max_size=12)))
def test_what_the_csv_module_writes_comes_back(rows: list[tuple[str, ...]]) -> None:
    header = tuple(f"h{number}" for number in range(len(rows[0])))
    expected = [tuple(cell.strip() or None for cell in row) for row in rows]
    expected = [row for row in expected if any(row)]
    content = written([header, *rows]).encode()
    if not expected:
        with pytest.raises(SourceError, match="has no rows"):
            read_table(content, "t.csv")
        return
    frame = read_table(content, "t.csv")
    assert frame.columns == list(header)
    assert frame.rows() == expected


def test_a_quote_within_a_cell_does_not_swallow_lines() -> None:
    frame = read_table(b'a,b\nnail 5" long,1\nnail 6" long,2\n7",3\n8",4\n', "t.csv")
    assert frame.rows() == [('nail 5" long', "1"), ('nail 6" long', "2"), ('7"', "3"), ('8"', "4")]


def test_stray_quotes_between_tabs_are_text_and_excels_are_not() -> None:
    gbif = b'id\ttitle\n1\t"open\n2\t5" x\n3\t"all"\n'
    assert read_table(gbif, "m.txt")["title"].to_list() == ['"open', '5" x', '"all"']
    excel = b'id\ttitle\n1\t"two\nlines"\n2\t"a\ttab"\n'
    assert read_table(excel, "m.txt").rows() == [("1", "two\nlines"), ("2", "a\ttab")]


def test_a_quote_that_is_never_closed_is_named_with_its_line() -> None:
    lines = "".join(f"{number},x\n" for number in range(5000))
    with pytest.raises(SourceError, match="cannot be divided into rows") as caught:
        read_table(f'a,b\n1,2\n2,"x\n{lines}'.encode(), "t.csv")
    assert "in line 3" in str(caught.value.received)


def test_short_rows_are_filled_long_ones_cut_and_blank_ones_left_out() -> None:
    frame = read_table(b"a,b,c\n1\n\n , ,\n1,2,3,4\n5,6,7\n", "t.csv")
    assert frame.rows() == [("1", None, None), ("1", "2", "3"), ("5", "6", "7")]


def test_columns_without_a_name_or_with_the_same_one_can_be_told_apart() -> None:
    frame = read_table(b'" id ",,id,id_2,id\n1,2,3,4,5\n', "t.csv")
    assert frame.columns == ["id", "column_2", "id_2", "id_2_2", "id_3"]


def test_without_a_header_columns_are_numbered() -> None:
    frame = read_table(b"1;2\n3;4\n", "t.csv", header=False)
    assert frame.to_dicts() == [{"column_1": "1", "column_2": "2"}, {"column_1": "3", "column_2": "4"}]


def test_one_column_stays_one_where_only_some_cells_hold_a_comma() -> None:
    frame = read_table(b"http://a/w_1,h_2/3\nhttp://a/1\nhttp://a/4\n", "t.csv", header=False)
    assert frame["column_1"].to_list() == ["http://a/w_1,h_2/3", "http://a/1", "http://a/4"]


def test_json_lines_and_parquet_become_text_too(tmp_path: Path) -> None:
    lines = '{"id": 7, "name": " Zoë ", "tags": ["a"]}\n\n{"id": null, "ok": true}\n'
    expected = [("7", "Zoë", '["a"]', None), (None, None, None, "true")]
    assert read_table(lines.encode("utf-8-sig"), "t.jsonl").rows() == expected
    assert read_table(b'[{"id": 7}, {"id": 8}]', "t.json")["id"].to_list() == ["7", "8"]
    frame = pl.DataFrame({"id": [7.0, None], "day": [date(2020, 1, 2), None], "x": [0.5, 1.0], "tags": [["a"], []]})
    frame.with_columns(bytes=pl.lit(b"\xff")).write_parquet(tmp_path / "t.parquet")
    read = read_file(tmp_path / "t.parquet")
    assert read.rows() == [
        ("7", "2020-01-02", "0.5", '{"tags":["a"]}', None),
        (None, None, "1.0", '{"tags":[]}', None),
    ]


@pytest.mark.parametrize(
    ("content", "name", "what"),
    [
        (b"", "t.csv", "has no rows"),
        (b"a,b\n", "t.csv", "has no rows"),
        (b"", "t.jsonl", "has no rows"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\2\3\0\5", "t.csv", "is not text"),
        (b"a,b\n1,2\n", "t.parquet", "is not a Parquet file"),
        (b"a,b\n1,2\n", "t.jsonl", "is not JSON lines"),
        (b"[1, 2]", "t.json", "is not JSON lines"),
        (b"a,b\n1,2\n", "t.csv.gz", "cannot be unpacked"),
        pytest.param(gzip.compress(b"a,b\n1,2\n")[:-3], "t.csv.gz", "cannot be unpacked", id="cut"),
        pytest.param(gzip.compress(b"1,2\n" * 2_000_000, 9), "t.csv.gz", "cannot be unpacked", id="bomb"),
    ],
)
def test_what_is_no_table_is_refused_with_its_name(content: bytes, name: str, what: str) -> None:
    with pytest.raises(SourceError, match=what) as caught:
        read_table(content, name, what="list of bears")
    assert caught.value.what.startswith(f"The list of bears {name} ")
    assert caught.value.hint


def test_a_missing_column_is_named_with_the_nearest_and_all_that_are_there() -> None:
    with pytest.raises(SourceError, match="The table t has no column Famili and no column x") as caught:
        require(TAXA, ["name", "Famili", "x"], "The table t")
    assert caught.value.received == "Its columns: name, family, id."
    assert "Did you mean family for Famili?" in caught.value.hint
    with pytest.raises(SourceError, match="single column"):
        require(pl.DataFrame({"a:b": ["1:2"]}), ["a"], "The table t")


def test_files_that_are_missing_or_unreadable_are_told_before_reading(tmp_path: Path) -> None:
    (tmp_path / "bears.csv").write_text("a,b\n")
    missing, folder = unreadable([tmp_path / "bear.csv", tmp_path / "bears.csv", tmp_path], what="table")
    assert "Did you mean bears.csv?" in str(missing)
    assert "IsADirectoryError" in str(folder)


def test_rows_are_chosen_as_text_whatever_pandas_made_of_numbers() -> None:
    assert where(TAXA, {"id": (1, 2)}, "t")["id"].to_list() == ["1", "2.0"]
    assert where(TAXA, {"id": "4", "family": "APIDAE"}, "t").height == 1
    with pytest.raises(SourceError, match="has no column nam"):
        where(TAXA, {"nam": "x"}, "t")


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["apis"], [0, 1]),
        (["Apis  dorsata "], [1]),
        (["Apidae"], [0, 1, 4]),
        ([2], [1]),
        (["1"], [0]),
        (["Apis cerana indica"], []),
        ([], []),
    ],
)
def test_a_row_belongs_to_a_taxon_by_name_higher_taxon_or_id(names: list[str | int], rows: list[int]) -> None:
    assert of_taxa(TAXA, names, TAXA.columns).arg_true().to_list() == rows


def test_names_that_no_row_has_are_answered_with_the_nearest() -> None:
    assert near_taxa(TAXA, ["Apis ceranna", "Bombus"], ["name", "family"]) == ["Apis cerana"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"column": "family"}, ["Apidae", "Apidae", "Erebidae", None, "APIDAE"]),
        ({"column": "name", "pattern": r"^(\w+)(?= )"}, ["Apis", "Apis", "Apisa", None, None]),
        ({"taxa": {"a": ["Apis cerana"], "b": ["Apidae"]}}, ["a", "b", None, None, "b"]),
        ({"taxa": {"b": ["Apidae"], "a": ["Apis cerana"]}}, ["b", "b", None, None, "b"]),
        ({"column": "name", "taxa": {"b": ["Apidae", "Bombus"]}}, [None, None, None, None, "b"]),
    ],
)
def test_the_class_of_a_row_is_told_as_the_rule_says(rule: dict[str, object], expected: list[str | None]) -> None:
    told = label(TAXA, LabelRule.model_validate(rule), "t", taxon_columns=["name", "family", "missing"])
    assert told.to_list() == expected
    assert (told.name, told.dtype) == ("label", pl.String)


def test_a_pattern_needs_something_to_be_searched_in() -> None:
    rule = LabelRule(pattern="([A-Z])")
    with pytest.raises(SourceError, match="a pattern needs a column"):
        label(TAXA, rule, "The table t")
    assert label(TAXA, rule, "t", path="name").to_list() == ["A", "A", "A", None, "B"]


def test_taxa_need_a_column_of_taxa() -> None:
    with pytest.raises(SourceError, match="has no column scientific_name"):
        label(TAXA, LabelRule(taxa={"a": ("Apis",)}), "t", taxon_columns=["scientific_name"])


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2020-05-06", date(2020, 5, 6)),
        ("2020/5/6 2:06 PM", date(2020, 5, 6)),
        ("2018-09-05T14:06:00+02:00", date(2018, 9, 5)),
        ("2020-05-06T10:00/2020-05-06T11:00", date(2020, 5, 6)),
        ("2020-05-06/2020-05-09", None),
        ("2020-05-06/09", None),
        ("2020-13-06", None),
        ("2020-05", None),
        ("06.05.2020", None),
        ("", None),
    ],
)
def test_a_day_is_read_only_where_it_is_one(text: str, day: date | None) -> None:
    frame = candidates(pl.DataFrame({"d": [text]}), {"observed_on": "d"}, aliases={})
    assert frame["observed_on"].to_list() == [day]


def test_columns_come_by_the_recipe_or_by_name_in_the_types_of_candidates() -> None:
    table = pl.DataFrame(
        {
            "LAT": ["12,5", "91", "x", None],
            "who": list("abcd"),
            "author": list("wxyz"),
            "lic": ["by-nc", "CC0", "?", None],
        }
    )
    frame = candidates(
        table, {"creator": "who", "licence": "lic"}, aliases={"latitude": ("latitude", "lat"), "creator": ("author",)}
    )
    assert frame.to_dict(as_series=False) == {
        "licence": ["cc-by-nc", "cc0", None, None],
        "creator": ["a", "b", "c", "d"],
        "latitude": [12.5, None, None, None],
    }


@pytest.mark.parametrize(
    ("columns", "what"),
    [({"creater": "a"}, "Did you mean creator"), ({"label": "a"}, "maps label"), ({"creator": "b"}, "has no column b")],
)
def test_a_mapping_that_cannot_be_is_refused(columns: dict[str, str], what: str) -> None:
    with pytest.raises(SourceError, match=what):
        candidates(pl.DataFrame({"a": ["x"]}), columns, aliases={})
