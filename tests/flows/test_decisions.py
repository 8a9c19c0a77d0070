"""`harvestman decide` and `review` over a collection on disk, without a server."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from flows.decisions import decide, show_review
from flows.settings import Settings
from tasks.core.errors import SourceError
from tasks.core.tables import CANDIDATES, LEDGER, conform, write_table
from tasks.core.workspace import Workspace
from tasks.curate.decisions import decisions_of

RECIPE = """
name: judged
classes:
  bee: [{source: url_list, path: bee.txt}]
  wasp: [{source: url_list, path: wasp.txt}]
curate: {decisions: [said.csv]}
"""


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


A, B = sha("a"), sha("b")  # a stands in both classes


class Desk:
    """A recipe with a collection of two images, and what `decide` and `review` print."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings, self.recipe = folder, settings, folder / "judged.yaml"
        self.collection = Workspace(settings.folders.root).collection("judged")
        self.recipe.write_text(RECIPE)
        self.file("said.csv")
        rows = pl.DataFrame(
            [
                {"url": f"http://photos.example/{name}", "label": label, "outcome": "kept", "sha256": sha(name)}
                for name, label in (("a", "bee"), ("a", "wasp"), ("b", "bee"))
            ]
        )
        write_table(conform(rows, CANDIDATES), self.collection / "candidates" / "0.parquet")
        write_table(conform(rows.unique("url"), LEDGER), self.collection / "ledger" / "0.parquet")

    def file(self, name: str, *rows: str) -> Path:
        path = self.folder / name
        path.write_text("\n".join(("sha256,verdict,label,by,at", *rows)))
        return path

    def decide(self, *files: Path, by: str = "anna") -> str:
        stream = io.StringIO()
        decide(self.recipe, files, settings=self.settings, by=by, console=Console(file=stream, width=200))
        return stream.getvalue()

    def review(self) -> str:
        stream = io.StringIO()
        show_review(self.recipe, self.settings, Console(file=stream, width=200))
        return stream.getvalue()

    @property
    def said(self) -> dict[str, str]:
        return dict(decisions_of(self.collection).select("sha256", "verdict").iter_rows())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, Settings(workspace=tmp_path / "workspace"))


def test_an_old_file_handed_over_again_overrules_nobody(desk: Desk) -> None:
    old = desk.file("old.csv", f"{A},relabel,wasp")
    assert "1 images wait" in desk.review()
    assert "recorded: 1 relabel" in desk.decide(old)
    told = desk.decide(desk.file("new.csv", f"{A},reject"), by="bob")
    assert f"{A[:12]}: relabel wasp by anna is now reject" in told
    again = desk.decide(old)
    assert "recorded: nothing new; 1 known already" in again
    assert "is now" not in again
    assert desk.said == {A: "reject"}
    grown = desk.decide(desk.file("old.csv", f"{A},relabel,wasp", f"{B},keep"))
    assert "recorded: 1 keep; 1 known already" in grown
    assert desk.said == {A: "reject", B: "keep"}


def test_what_a_recipes_file_says_is_told_whether_it_is_older_or_newer(desk: Desk) -> None:
    desk.file("said.csv", f"{A},reject,,carl,2001-01-01", f"{B},reject,,carl,2999-01-01")
    told = desk.decide(desk.file("new.csv", f"{A},keep,bee", f"{B},keep"))
    assert f"{A[:12]}: reject by carl is now keep" in told
    assert f"{B[:12]}: keep has no effect, reject by carl is newer" in told
    assert f"{B[:12]}: reject by carl is now" not in told


def test_files_that_contradict_each_other_leave_nothing_behind(desk: Desk) -> None:
    with pytest.raises(SourceError, match="contradict"):
        desk.decide(desk.file("one.csv", f"{A},keep,bee"), desk.file("two.csv", f"{A},reject"))
    assert desk.said == {}


def test_where_nothing_waits_no_list_is_named_or_written(desk: Desk) -> None:
    assert "No image waits" in desk.decide(desk.file("new.csv", f"{A},relabel,wasp"))
    assert "No image waits" in desk.review()
    assert not (desk.collection / "review").exists()
