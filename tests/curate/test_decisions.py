from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tasks.core.errors import DataError, SourceError
from tasks.core.tables import DECISIONS, conform
from tasks.curate.decision_files import read_decisions, read_files
from tasks.curate.decisions import (
    decisions_digest,
    decisions_of,
    idle,
    obey,
    obeyed,
    overruled,
    record,
    unheard,
)

A, B, C = "a" * 64, "b" * 64, "c" * 64
LABELS = ("bee", "wasp", "fourmi-lièvre")
MORNING, EVENING = datetime(2026, 3, 14, 9, tzinfo=UTC), datetime(2026, 3, 14, 19, tzinfo=UTC)


def _file(folder: Path, content: str | bytes, name: str = "said.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _said(*rows: tuple[str, str, str | None, datetime | None]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["sha256", "verdict", "label", "at"], orient="row")
    return conform(frame.with_columns(by=pl.lit("anna")), DECISIONS)


def _fault(path: Path, labels: tuple[str, ...] | None = LABELS) -> str:
    with pytest.raises(SourceError) as caught:
        read_decisions(path, labels=labels)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        f"sha256,verdict,label,by,at\n{A},keep,,anna,2026-03-14 09:00\n{B},relabel,wasp,anna,2026-03-14T09:00:00Z\n",
        "\r\n".join(
            (
                "\ufeffSHA256; Verdict;LABEL;by;at;note",
                f" {A.upper()} ; KEEP ;;anna;2026-03-14 10:00+01:00;x",
                f"{B};Relabel; Wasp ;anna;2026-03-14 09:00;y",
            )
        ),
        f"at\tby\tlabel\tverdict\tsha256\n{MORNING}\tanna\t\tkeep\t{A}\n\n{MORNING}\tanna\twasp\trelabel\t{B}",
    ],
    ids=["plain", "a spreadsheet's", "tabs, another order, blank lines"],
)
def test_a_table_is_read_however_it_was_written(tmp_path: Path, content: str) -> None:
    expected = _said((A, "keep", None, MORNING), (B, "relabel", "wasp", MORNING))
    read = read_decisions(_file(tmp_path, content), labels=LABELS)
    assert dict(read.schema) == DECISIONS
    assert read.equals(expected)
    wide = read_decisions(_file(tmp_path, content.lstrip("\ufeff").encode("utf-16"), "wide.csv"), labels=LABELS)
    assert wide.equals(expected)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_class_names_keep_their_accents_in_the_encodings_spreadsheets_write(tmp_path: Path, encoding: str) -> None:
    text = f"sha256,verdict,label\n{A},relabel,fourmi-lièvre\n"
    assert read_decisions(_file(tmp_path, text.encode(encoding)), labels=LABELS)["label"].to_list() == ["fourmi-lièvre"]


def test_a_class_in_another_case_or_composition_is_the_recipes(tmp_path: Path) -> None:
    text = f"sha256,verdict,label\n{A},relabel,FOURMI-LIE\u0300VRE\n"
    assert read_decisions(_file(tmp_path, text), labels=LABELS)["label"].to_list() == ["fourmi-lièvre"]


def test_an_apostrophe_set_against_formulas_is_no_part_of_a_class(tmp_path: Path) -> None:
    text = f"sha256,verdict,label\n{A},relabel,'-bee\n"
    assert read_decisions(_file(tmp_path, text), labels=("-bee", "wasp"))["label"].to_list() == ["-bee"]


def test_parquet_is_read_with_times_with_and_without_a_zone(tmp_path: Path) -> None:
    expected = _said((A, "reject", None, MORNING))
    for name, at in {
        "naive": pl.lit(datetime(2026, 3, 14, 9)),  # noqa: DTZ001 - that is what is tested
        "zoned": pl.lit(MORNING).dt.convert_time_zone("Asia/Tokyo"),
        "text": pl.lit("2026-03-14 09:00"),
    }.items():
        path = tmp_path / name
        pl.DataFrame({"SHA256": [A], "verdict": ["reject"], "by": ["anna"]}).with_columns(at=at).write_parquet(path)
        assert read_decisions(path).equals(expected), name


def test_rows_that_nobody_has_filled_in_are_passed_over_even_where_they_are_wrong(tmp_path: Path) -> None:
    path = _file(tmp_path, f"sha256,class,verdict,label\n{A},bee,,\nnot one,bee,  ,hornet\n{B},bee,keep,\n")
    assert read_decisions(path, labels=LABELS)["sha256"].to_list() == [B]
    assert read_decisions(_file(tmp_path, "sha256,verdict\n", "none.csv")).height == 0
    with pytest.raises(DataError, match="no decision to record"):
        record(tmp_path, read_decisions(tmp_path / "none.csv"), labels=LABELS)


def test_what_the_file_does_not_say_the_caller_does(tmp_path: Path) -> None:
    path = _file(tmp_path, f"sha256,verdict,by,at\n{A},keep,,\n{B},reject,bob,2026-03-14 19:00\n")
    read = read_decisions(path, by="anna", at=datetime(2026, 3, 14, 9))  # noqa: DTZ001 - naive times are UTC
    assert read.select("by", "at").rows() == [("anna", MORNING), ("bob", EVENING)]
    assert read_decisions(path).select("by", "at").rows() == [(None, None), ("bob", EVENING)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("abc,keep,", ["line 3", "'abc'", "64 hexadecimal digits", "3 characters"]),
        (f"{'g' * 64},keep,", ["line 3", "64 hexadecimal digits"]),
        (",keep,", ["line 3", "sha256 missing"]),
        (f"{B},rejct,", ["line 3", "'rejct'", "did you mean reject?"]),
        (f"{B},42,", ["line 3", "'42'", "known: keep, reject, relabel"]),
        (f"{B},relabel,", ["line 3", "label missing"]),
        (f"{B},relabel,waps", ["line 3", "'waps'", "did you mean wasp?"]),
        (f"{B},keep,waps", ["line 3", "'waps'", "did you mean wasp?"]),
        (f"{A},reject,", ["line 2 and line 3", A, "keep, reject"]),
        (f"{A},relabel,wasp", ["line 2 and line 3", "keep, relabel wasp"]),
    ],
)
def test_a_wrong_row_is_told_with_its_line_its_value_and_what_was_meant(
    tmp_path: Path, row: str, words: list[str]
) -> None:
    message = _fault(_file(tmp_path, f"sha256,verdict,label\n{A},keep,\n{row}\n"))
    assert [word for word in words if word not in message] == []


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    message = _fault(_file(tmp_path, f'note,sha256,verdict\n\n"two\nlines",{A},keep\n,{B},kep\n'))
    assert "line 5: verdict 'kep'" in message


def test_all_wrong_rows_are_told_at_once_but_not_by_the_thousand(tmp_path: Path) -> None:
    rows = "".join(f"{number},keep\n" for number in range(1000))
    message = _fault(_file(tmp_path, f"sha256,verdict\n{rows}"))
    assert "1000 decisions" in message
    assert "line 9:" in message
    assert "line 10:" not in message
    assert "992 more" in message


def test_a_wrong_row_of_parquet_is_told_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "said.parquet"
    pl.DataFrame({"sha256": [A, B], "verdict": ["keep", "maybe"]}).write_parquet(path)
    assert "row 2: verdict 'maybe'" in _fault(path)


def test_a_time_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    message = _fault(_file(tmp_path, f"sha256,verdict,at\n{A},keep,yesterday\n"))
    assert "line 2: at 'yesterday'" in message


def test_one_file_may_say_two_things_of_an_image_where_it_says_which_is_newer(tmp_path: Path) -> None:
    path = _file(tmp_path, f"sha256,verdict,at\n{A},reject,2026-03-14 19:00\n{A},keep,2026-03-14 09:00\n")
    assert decisions_of(tmp_path, [path])["verdict"].to_list() == ["reject"]
    twice = _file(tmp_path, f"sha256,verdict\n{A},reject\n{A},reject\n", "twice.csv")
    assert read_decisions(twice).height == 1


def test_the_class_of_a_rejected_image_does_not_count(tmp_path: Path) -> None:
    text = f"sha256,verdict,label\n{A},reject,bee\n{A},reject,hornet\n"
    assert read_decisions(_file(tmp_path, text), labels=LABELS).select("verdict", "label").rows() == [("reject", None)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("sha-256,verdict\n", ["no column sha256", "sha-256 for sha256"]),
        ("sha256,verdict,Verdict\n", ["several columns verdict"]),
        (f"sha256 verdict\n{A} keep\n", ["no column sha256 and no column verdict", "sha256 verdict"]),
        ("", ["no column sha256", "none"]),
        (b"PK\x03\x04\0\0", ["neither CSV nor Parquet", "Save it from the spreadsheet as CSV"]),
        (b"PAR1 and no more", ["not a readable Parquet"]),
        (f'sha256,verdict\n{A},"keep\n', ["cannot be divided into rows", "line 2"]),
    ],
)
def test_what_is_no_table_of_decisions_is_one_clear_error(
    tmp_path: Path, content: str | bytes, words: list[str]
) -> None:
    message = _fault(_file(tmp_path, content))
    assert [word for word in words if word not in message] == []


def test_a_file_that_is_not_there_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    _file(tmp_path, "", "review.csv")
    assert "Did you mean review.csv?" in _fault(tmp_path / "reveiw.csv")
    with pytest.raises(SourceError, match="cannot be read"):
        read_decisions(tmp_path)


def test_the_same_decisions_are_recorded_once_under_one_name_whatever_their_order(tmp_path: Path) -> None:
    said = _said((A, "keep", None, MORNING), (B, "relabel", "wasp", MORNING))
    first = record(tmp_path, said, labels=LABELS)
    written = first.stat().st_mtime_ns
    assert record(tmp_path, said.reverse(), labels=LABELS) == first
    assert first.stat().st_mtime_ns == written
    assert first.parent == tmp_path / "decisions"
    other = record(tmp_path, _said((A, "keep", None, EVENING)), labels=LABELS)
    assert other != first


def test_a_class_that_the_recipe_lacks_is_not_recorded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean wasp"):
        record(tmp_path, _said((A, "relabel", "waps", None)), labels=LABELS)
    assert not (tmp_path / "decisions").exists()


def test_the_newest_decision_counts_wherever_it_stands(tmp_path: Path) -> None:
    record(tmp_path, _said((A, "reject", None, EVENING), (B, "keep", None, MORNING)), labels=LABELS)
    record(tmp_path, _said((A, "keep", None, MORNING), (C, "keep", None, EVENING)), labels=LABELS)
    path = _file(
        tmp_path,
        f"sha256,verdict,at\n{B},reject,2026-03-14 10:00\n{C},reject,\n",
    )
    held = decisions_of(tmp_path, [path], labels=LABELS)
    assert held.select("sha256", "verdict", "by").rows() == [
        (A, "reject", "anna"),
        (B, "reject", "said.csv"),
        (C, "keep", "anna"),  # what has no time is older
    ]


def test_of_files_without_times_the_later_one_counts(tmp_path: Path) -> None:
    first, second = (_file(tmp_path, f"sha256,verdict\n{A},{word}\n", f"{word}.csv") for word in ("reject", "keep"))
    assert decisions_of(tmp_path, [first, second])["verdict"].to_list() == ["keep"]
    assert decisions_of(tmp_path, [second, first])["verdict"].to_list() == ["reject"]


def test_a_recipes_file_with_a_class_that_the_recipe_lacks_is_told(tmp_path: Path) -> None:
    path = _file(tmp_path, f"sha256,verdict,label\n{A},relabel,hornet\n")
    with pytest.raises(SourceError, match="'hornet' is no class"):
        decisions_of(tmp_path, [path], labels=LABELS)


def test_an_image_kept_after_it_was_relabelled_stays_in_that_class(tmp_path: Path) -> None:
    record(tmp_path, _said((A, "relabel", "wasp", MORNING), (B, "relabel", "wasp", EVENING)), labels=LABELS)
    record(tmp_path, _said((A, "keep", None, EVENING), (B, "keep", None, MORNING)), labels=LABELS)
    assert decisions_of(tmp_path).select("verdict", "label").rows() == [("keep", "wasp"), ("relabel", "wasp")]


def test_without_decisions_there_is_an_empty_table(tmp_path: Path) -> None:
    held = decisions_of(tmp_path)
    assert held.height == 0
    assert dict(held.schema) == DECISIONS


def test_the_digest_names_what_was_said_not_who_said_it_when() -> None:
    said = _said((A, "keep", None, MORNING), (B, "reject", None, MORNING))
    same = said.with_columns(by=pl.lit("bob"), at=pl.lit(EVENING, DECISIONS["at"])).reverse()
    assert decisions_digest(said) == decisions_digest(same)
    assert decisions_digest(said) != decisions_digest(_said((A, "reject", None, MORNING)))


def test_decisions_that_overrule_others_are_found() -> None:
    standing = _said((A, "keep", None, None), (B, "relabel", "wasp", None), (C, "reject", None, None))
    new = _said(
        (A, "reject", None, None),
        (B, "relabel", "bee", None),
        (C, "reject", None, None),
        ("d" * 64, "keep", None, None),
    )
    assert overruled(standing, new).select("sha256", "was", "was_label", "verdict", "label").rows() == [
        (A, "keep", None, "reject", None),
        (B, "relabel", "wasp", "relabel", "bee"),
    ]


def test_a_file_handed_over_again_says_nothing_new(tmp_path: Path) -> None:
    anna = _said((A, "keep", None, None), (B, "relabel", "wasp", None))
    assert unheard(tmp_path, anna).equals(anna)
    record(tmp_path, anna.with_columns(at=pl.lit(MORNING, DECISIONS["at"])), labels=LABELS)
    bob = _said((A, "reject", None, EVENING)).with_columns(by=pl.lit("bob"))
    record(tmp_path, bob, labels=LABELS)
    assert unheard(tmp_path, anna).is_empty()
    assert unheard(tmp_path, _said((A, "keep", None, MORNING))).is_empty()
    assert unheard(tmp_path, anna.with_columns(by=pl.lit("carl"))).height == 2
    assert unheard(tmp_path, _said((B, "relabel", "bee", None))).height == 1
    assert unheard(tmp_path, _said((A, "keep", None, EVENING))).height == 1  # said later, so meant anew


def test_whoever_changes_their_mind_twice_is_heard_each_time(tmp_path: Path) -> None:
    record(tmp_path, _said((A, "keep", None, MORNING)), labels=LABELS)
    record(tmp_path, _said((A, "reject", None, EVENING)), labels=LABELS)
    assert unheard(tmp_path, _said((A, "keep", None, None))).height == 1
    assert unheard(tmp_path, _said((A, "reject", None, None))).is_empty()


def test_files_handed_over_together_must_not_contradict_each_other(tmp_path: Path) -> None:
    first = _file(tmp_path, f"sha256,verdict\n{A},keep\n{B},keep\n", "first.csv")
    second = _file(tmp_path, f"sha256,verdict\n{B},keep\n{A},reject\n", "second.csv")
    with pytest.raises(SourceError, match="contradict each other") as caught:
        read_files([first, second])
    told = str(caught.value)
    assert [word for word in (f"{first}, line 2", f"{second}, line 3", A, "keep, reject") if word not in told] == []
    assert B not in told
    later = _file(tmp_path, f"sha256,verdict,at\n{A},reject,2026-03-14 19:00\n", "later.csv")
    assert read_files([first, later, first], by="anna").select("sha256", "verdict", "by").rows() == [
        (A, "keep", "anna"),
        (B, "keep", "anna"),
        (A, "reject", "anna"),
    ]


def test_a_cell_that_is_too_long_is_told_otherwise_than_an_open_quote(tmp_path: Path) -> None:
    long = _fault(_file(tmp_path, f"sha256,verdict,note\n{A},keep,{'x' * 140_000}\n"))
    assert "Shorten the cell" in long
    assert "line 2" in long
    assert "Shorten" not in _fault(_file(tmp_path, f'sha256,verdict\n{A},"keep\n'))


def _offered(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["sha256", "label", "url"], orient="row").with_columns(gone=pl.lit(value=False))


def test_a_decision_is_obeyed_in_every_row_of_its_image() -> None:
    rows = _offered((A, "bee", "u1"), (A, "wasp", "u2"), (B, "bee", "u3"), (C, "bee", "u4"))
    said = _said((A, "relabel", "wasp", None), (B, "reject", None, None))
    judged = obey(rows, said, LABELS).sort("url")
    columns = ("label", "offered_label", "verdict", "protected", "named", "note")
    assert judged.select(columns).rows() == [
        ("wasp", "bee", None, False, True, "relabelled by anna"),
        ("wasp", "wasp", None, False, True, "relabelled by anna"),
        ("bee", "bee", "rejected", False, False, "rejected by anna"),
        ("bee", "bee", None, False, False, None),
    ]


@pytest.mark.parametrize(
    ("meant", "rows", "label"),
    [
        ("wasp", [("bee", "u1"), ("bee", "u2")], "wasp"),
        (None, [("bee", "u1")], "bee"),
        (None, [("bee", "u1"), ("wasp", "u2"), ("wasp", "u3")], "wasp"),
        (None, [("wasp", "u1"), ("bee", "u2")], "bee"),
    ],
    ids=["as told", "as offered", "as most addresses say", "as the first class of the recipe"],
)
def test_an_image_that_is_kept_has_one_class(meant: str | None, rows: list[tuple[str, str]], label: str) -> None:
    judged = obey(_offered(*((A, *row) for row in rows)), _said((A, "keep", meant, None)), LABELS)
    assert set(judged["label"]) == {label}
    assert judged["protected"].all()


def test_an_image_of_a_class_that_has_left_the_recipe_is_rejected() -> None:
    judged = obey(_offered((A, "bee", "u1")), _said((A, "relabel", "hornet", None)), LABELS)
    assert judged.select("label", "verdict", "note").rows() == [
        ("bee", "rejected", "no class of the recipe: hornet by anna")
    ]


def test_what_has_gone_is_neither_kept_nor_given_to_another_class() -> None:
    rows = _offered((A, "bee", "u1"), (B, "bee", "u2")).with_columns(gone=pl.lit(value=True))
    judged = obey(rows, _said((A, "keep", None, None), (B, "relabel", "wasp", None)), LABELS)
    assert judged.select("label", "verdict", "protected", "note").rows() == [("bee", "gone", False, None)] * 2


def test_decisions_are_counted_and_those_on_unknown_images_too() -> None:
    rows = _offered((A, "bee", "u1"), (A, "wasp", "u2"))
    said = _said((A, "keep", None, None), (B, "reject", None, None), (C, "keep", None, None))
    assert obeyed(said, rows, pl.Series([A, B])) == ({"keep": 1, "unknown": 1}, [C])


def test_one_warning_names_the_first_few_images_that_are_unknown() -> None:
    assert idle([A]).startswith("1 decision is on an image that the ledger does not hold")
    many = idle([f"{number:064x}"[::-1] for number in range(7)])
    assert many.startswith("7 decisions are on images")
    assert many.endswith("000000000000, 100000000000, 200000000000, 300000000000, 400000000000, …")
