from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import DataError
from tasks.core.files import write_json
from tasks.core.tables import MANIFEST, VERDICTS, conform, write_table
from tasks.core.workspace import Workspace
from tasks.split.diff import KINDS, Diff, diff

Row = dict[str, Any]
LABELS = ("bee", "fly", "wasp")


def image(name: str, label: str = "bee", split: str = "train", fold: int | None = None) -> Row:
    return {"sha256": name, "label": label, "split": split, "fold": fold, "url": f"http://e.org/{name}"}


def version(folder: Path, *rows: Row) -> Path:
    write_table(conform(pl.DataFrame(list(rows), infer_schema_length=None), MANIFEST), folder / "manifest.parquet")
    return folder


def judged(workspace: Workspace, new: Path, *rows: Row) -> None:
    """Give the version `new` the verdicts it was made from."""
    write_json(new / "dataset.json", {"recipe": "insects", "verdicts": "f00", "digest": "d1"})
    table = conform(pl.DataFrame(list(rows), infer_schema_length=None), VERDICTS)
    write_table(table, workspace.collection("insects") / "verdicts" / "f00.parquet")


def _class(found: Diff, label: str) -> Row:
    row = found.classes.row(by_predicate=pl.col("label") == label, named=True)
    return {name: value for name, value in row.items() if value and name != "label"}


def test_each_kind_of_change_is_listed_and_counted(tmp_path: Path) -> None:
    old = version(
        tmp_path / "v1", image("a"), image("b"), image("c", "wasp", "test"), image("d", fold=1), image("e", "wasp")
    )
    new = version(
        tmp_path / "v2",
        image("a", split="val"), image("c", "bee", "test"), image("d", fold=2), image("e", "wasp"), image("n", "fly"),
    )  # fmt: skip
    found = diff(old, new)
    assert found.counts == {"added": 1, "gone": 1, "moved": 1, "relabelled": 1, "refolded": 1}
    assert found.added.rows() == [("n", "fly", "train", "http://e.org/n")]
    assert found.gone.rows() == [("b", "bee", "train", "http://e.org/b", None, None)]
    assert found.moved.rows() == [("a", "bee", "train", "val")]
    assert found.relabelled.rows() == [("c", "test", "wasp", "bee")]
    assert found.refolded.rows() == [("d", "bee", 1, 2)]
    assert found.classes["label"].to_list() == ["bee", "fly", "wasp"]
    assert _class(found, "bee") == {"old": 3, "new": 3, "gone": 1, "moved": 1, "relabelled_to": 1, "refolded": 1}
    assert _class(found, "wasp") == {"old": 2, "new": 1, "relabelled_from": 1}
    told = json.loads(json.dumps(found.as_json()))
    assert set(told) == {"old", "new", "counts", "classes", *KINDS}
    assert told["old"] == {"version": "v1", "digest": None, "images": 5}
    assert told["classes"]["fly"]["added"] == 1
    assert told["moved"] == [{"sha256": "a", "label": "bee", "before": "train", "after": "val"}]


def test_equal_versions_do_not_differ(tmp_path: Path) -> None:
    old = version(tmp_path / "v1", image("a"), image("b", fold=0))
    assert not diff(old, old).differs
    assert not diff(old, old / "manifest.parquet").differs


def test_a_manifest_from_before_there_were_folds_can_be_compared(tmp_path: Path) -> None:
    new = version(tmp_path / "v2", image("a"), image("b"))
    old = tmp_path / "v1"
    write_table(pl.read_parquet(new / "manifest.parquet").drop("fold"), old / "manifest.parquet")
    assert not diff(old, new).differs


def test_why_an_image_is_gone_is_told_by_what_was_left_out_and_by_the_verdicts(workspace: Workspace) -> None:
    datasets = workspace.datasets("insects")
    names = ("left", "bad", "copy", "lost", "twin")
    old = version(datasets / "v1", image("stays"), *(image(name) for name in names))
    new = version(datasets / "v2", image("stays"))
    assert diff(old, new).gone["reason"].null_count() == 5
    judged(
        workspace, new,
        image("stays") | {"verdict": "kept"},
        image("left") | {"verdict": "kept"},
        image("bad") | {"verdict": "rejected", "detail": "rejected by Ada"},
        image("copy") | {"verdict": "duplicate-bytes"},
        image("copy") | {"verdict": "label-conflict", "detail": "bee 1, wasp 1"},
        image("twin") | {"verdict": "duplicate-bytes"},
    )  # fmt: skip
    left_out = pl.DataFrame({"sha256": ["left"], "label": ["bee"], "reason": ["leaks"]})
    write_table(left_out, new / "left_out.parquet")
    assert diff(old, new).gone.select("sha256", "reason", "detail").rows() == [
        ("bad", "rejected", "rejected by Ada"),
        ("copy", "label-conflict", "bee 1, wasp 1"),
        ("left", "leaks", None),
        ("lost", "not-offered", None),
        ("twin", "duplicate-bytes", None),
    ]
    assert diff(old, new).new == {"version": "v2", "digest": "d1", "images": 1}


def test_what_is_no_version_is_refused_with_its_path(tmp_path: Path) -> None:
    good = version(tmp_path / "v1", image("a"))
    with pytest.raises(DataError, match=r"There is no .*nowhere/manifest\.parquet"):
        diff(good, tmp_path / "nowhere")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(DataError, match=r"torn\.parquet is no data set version"):
        diff(tmp_path / "torn.parquet", good)
    other = write_table(pl.DataFrame({"sha256": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="no column label, split"):
        diff(good, other)


_IMAGES = st.dictionaries(
    st.sampled_from("abcdefghij"),
    st.tuples(st.sampled_from(LABELS), st.sampled_from(("train", "val", "test")), st.none() | st.integers(0, 2)),
    min_size=1,
)


@settings(max_examples=40)
@given(_IMAGES, _IMAGES, st.randoms(use_true_random=False))
def test_the_lists_turn_the_old_version_into_the_new_one_whatever_the_order_of_the_rows(
    before: dict[str, Any],
    after: dict[str, Any],
    chance: Any,  # noqa: ANN401 - hypothesis' Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:

        def put(name: str, images: dict[str, Any]) -> Path:
            rows = [image(sha256, *what) for sha256, what in images.items()]
            chance.shuffle(rows)
            return version(Path(folder) / name, *rows)

        found, again = (diff(put("v1", before), put("v2", after)) for _ in range(2))
    assert json.dumps(found.as_json()) == json.dumps(again.as_json())
    built = {name: list(what) for name, what in before.items()}
    for name in found.gone["sha256"]:
        del built[name]
    for place, kind in ((1, found.moved), (0, found.relabelled), (2, found.refolded)):
        for row in kind.rows(named=True):
            assert built[row["sha256"]][place] == row["before"] != row["after"]
            built[row["sha256"]][place] = row["after"]
    for row in found.added.rows(named=True):
        built[row["sha256"]] = list(after[row["sha256"]])
    assert built == {name: list(what) for name, what in after.items()}
    for row in found.classes.rows(named=True):
        there = row["old"] + row["added"] - row["gone"] + row["relabelled_to"] - row["relabelled_from"]
        assert row["new"] == there
    assert found.differs == (before != after)
