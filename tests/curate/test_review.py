from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from tasks.core.tables import DECISIONS, VERDICTS, conform, write_table
from tasks.core.workspace import Workspace
from tasks.curate.config import CurateConfig
from tasks.curate.decision_files import read_decisions
from tasks.curate.review import PICTURED, REVIEW, open_review, review_list, write_review
from tasks.curate.suspects import SUSPECTS

Row = dict[str, Any]
NOTHING = pl.DataFrame(schema=DECISIONS)


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def verdict(name: str, label: str, said: str = "kept", **changes: object) -> Row:
    return {
        "sha256": sha(name),
        "url": f"http://photos.example/{label}/{name}",
        "label": label,
        "offered_label": label,
        "verdict": said,
        "cluster_id": sha(name),
        "format": "PNG",
    } | changes


def verdicts(*rows: Row) -> pl.DataFrame:
    return conform(pl.DataFrame(list(rows), infer_schema_length=None), VERDICTS)


def suspected(*named: tuple[str, str]) -> pl.DataFrame:
    rows = [
        {"sha256": sha(name), "label": label, "suggested": "wasp", "score": 0.9 - rank / 100, "rank": rank}
        for rank, (name, label) in enumerate(named, start=1)
    ]
    return conform(pl.DataFrame(rows).with_columns(pl.lit("mislabelled").alias("reason")), SUSPECTS)


def decided(*names: str) -> pl.DataFrame:
    return conform(pl.DataFrame({"sha256": [sha(name) for name in names], "verdict": ["keep"] * len(names)}), DECISIONS)


CONFLICT = {"cluster_id": sha("a"), "detail": "bee 2, wasp 1"}
TABLE = verdicts(
    verdict("a", "bee", "label-conflict", **CONFLICT),
    verdict("b", "bee", "label-conflict", **CONFLICT),
    verdict("b", "wasp", "label-conflict", **CONFLICT),
    *(verdict(f"s{number}", "bee") for number in range(5)),
    verdict("moth", "moth", "near-duplicate"),
)


@pytest.fixture
def listed(workspace: Workspace) -> pl.DataFrame:
    return review_list(
        TABLE, NOTHING, suspected(("s3", "bee"), ("s1", "bee"), ("s2", "bee")), workspace=workspace, limit=2
    )


def test_conflicts_stand_first_one_row_an_image_then_the_first_suspects(listed: pl.DataFrame) -> None:
    assert dict(listed.schema) == REVIEW
    assert listed["sha256"].to_list() == [*sorted((sha("a"), sha("b"))), sha("s3"), sha("s1")]
    assert listed["number"].to_list() == [1, 2, 3, 4]
    assert listed["reason"].to_list() == ["label-conflict"] * 2 + ["mislabelled"] * 2
    both = listed.row(by_predicate=pl.col("sha256") == sha("b"), named=True)
    assert (both["class"], both["classes"], both["suggested"], both["detail"]) == (
        "bee | wasp", "bee | wasp", "bee", "bee 2, wasp 1",
    )  # fmt: skip
    assert both["path"] == f"images/{sha('b')[:2]}/{sha('b')}.png"
    assert (listed["class"][2], listed["suggested"][2], listed["score"][2]) == ("bee", "wasp", 0.89)
    assert listed["verdict"].null_count() == listed["label"].null_count() == 4


def test_what_has_been_decided_is_left_out_and_no_further_suspect_moves_up(workspace: Workspace) -> None:
    ranking = suspected(("s3", "bee"), ("s1", "bee"), ("s2", "bee"))
    rows = review_list(TABLE, decided("b", "s3"), ranking, workspace=workspace, limit=2)
    assert rows["sha256"].to_list() == [sha("a"), sha("s1")]


def test_a_review_ends_when_the_first_suspects_have_been_decided_upon(workspace: Workspace) -> None:
    ranking = suspected(*((f"s{number}", "bee") for number in range(5)))
    rows = review_list(TABLE, decided("a", "b", "s0", "s1"), ranking, workspace=workspace, limit=2)
    assert rows.is_empty()


def test_a_suspect_counts_only_while_it_is_kept_in_that_class(workspace: Workspace) -> None:
    ranking = suspected(("moth", "moth"), ("s1", "wasp"), ("never stored", "bee"), ("s2", "bee"))
    rows = review_list(TABLE, decided("a", "b"), ranking, workspace=workspace, limit=50)
    assert rows["sha256"].to_list() == [sha("s2")]


def test_of_a_conflict_that_a_majority_won_the_losers_are_listed(workspace: Workspace) -> None:
    won = {"cluster_id": sha("k")}
    table = verdicts(
        verdict("k", "bee", **won),
        verdict("l", "wasp", "label-conflict", **won, detail="bee 1, wasp 1"),
    )
    rows = review_list(table, NOTHING, suspected(), workspace=workspace, limit=9)
    assert rows["sha256"].to_list() == [sha("l")]
    assert (rows["class"][0], rows["classes"][0], rows["suggested"][0]) == ("wasp", "bee | wasp", None)


def test_the_order_of_the_rows_does_not_count(listed: pl.DataFrame, workspace: Workspace) -> None:
    ranking = suspected(("s3", "bee"), ("s1", "bee"), ("s2", "bee")).reverse()
    assert review_list(TABLE.reverse(), NOTHING, ranking, workspace=workspace, limit=2).equals(listed)


def test_nothing_to_look_at_is_an_empty_list(workspace: Workspace) -> None:
    rows = review_list(TABLE.clear(), NOTHING, suspected(), workspace=workspace, limit=5)
    assert rows.is_empty()
    assert dict(rows.schema) == REVIEW


def test_where_nothing_waits_nothing_is_written(workspace: Workspace, tmp_path: Path) -> None:
    verdicts_table = write_table(TABLE.filter(verdict="kept"), tmp_path / "verdicts.parquet")
    path, rows = open_review(workspace, tmp_path, verdicts_table, config=CurateConfig())
    assert (path, rows.height) == (None, 0)
    assert not (tmp_path / "review").exists()
    write_table(TABLE, verdicts_table)
    path, rows = open_review(workspace, tmp_path, verdicts_table, config=CurateConfig())
    assert path is not None
    assert path.is_file()
    assert rows.height == 2


def test_a_long_list_is_pictured_in_part(listed: pl.DataFrame, workspace: Workspace, tmp_path: Path) -> None:
    path = write_review(tmp_path, pl.concat([listed] * 200), workspace=workspace)  # 800 rows
    assert len(list(path.parent.glob("*.png"))) == 5
    assert PICTURED == 600


def test_the_list_filled_in_is_a_file_of_decisions(listed: pl.DataFrame, workspace: Workspace, tmp_path: Path) -> None:
    path = write_review(tmp_path, listed, workspace=workspace)
    assert read_decisions(path).is_empty()
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(REVIEW)
    rows[1] |= {"verdict": "Reject"}
    rows[2] |= {"verdict": "relabel", "label": rows[2]["suggested"]}
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    said = read_decisions(path, labels=["bee", "wasp"]).select("sha256", "verdict", "label").rows()
    assert said == [(listed["sha256"][1], "reject", None), (sha("s3"), "relabel", "wasp")]
    filled = path.read_bytes()
    assert write_review(tmp_path, listed, workspace=workspace) == path
    assert path.read_bytes() == filled  # what a person has filled in is never overwritten
    assert write_review(tmp_path, listed.head(3), workspace=workspace) != path


def test_no_cell_is_run_by_a_spreadsheet(workspace: Workspace, tmp_path: Path) -> None:
    table = verdicts(verdict("s1", "=1+1", url="=HYPERLINK(1)", page_url="@x\r\ny", offered_label="=1+1"))
    rows = review_list(table, NOTHING, suspected(("s1", "=1+1")), workspace=workspace, limit=5)
    path = write_review(tmp_path, rows, workspace=workspace)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        cells = next(csv.DictReader(stream))
    assert (cells["class"], cells["url"], cells["page_url"]) == ("'=1+1", "'=HYPERLINK(1)", "'@x y")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")


def test_numbered_pictures_lie_beside_the_list(listed: pl.DataFrame, workspace: Workspace, tmp_path: Path) -> None:
    for place, path in enumerate(listed["path"]):
        (workspace.root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), (200, 30 * place, 30)).save(workspace.root / path)
    many = pl.concat([listed] * 31)  # 124 pictures
    path = write_review(tmp_path, many, workspace=workspace)
    sheets = sorted(path.parent.glob("*.png"))
    assert [sheet.name for sheet in sheets] == [f"{path.stem}-1.png", f"{path.stem}-2.png"]
    with Image.open(sheets[0]) as first, Image.open(sheets[1]) as second:
        assert first.width == 8 * 136
        assert second.width == 4 * 136
        assert first.convert("RGB").getpixel((68, 68)) == (200, 0, 30)
