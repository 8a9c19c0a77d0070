from __future__ import annotations

import polars as pl
import pytest

from tasks.core.spreadsheets import harmless


@pytest.mark.parametrize("text", ["=1+1", "+49 30", "-2", "@naturalist", "  =1", "\t=1", "\r=1", "＝1+1", "\u2028=1"])  # noqa: RUF001
def test_what_a_spreadsheet_would_run_becomes_text(text: str) -> None:
    (cell,) = pl.DataFrame({"x": [text]}).select(harmless(pl.col("x"))).to_series()
    assert cell.startswith("'")
    assert cell.endswith(text.strip("\t\r\u2028"))
    assert cell.isprintable()


@pytest.mark.parametrize("text", ["Jane Doe", "a=b", "http://a.example/?x=-1", "蜜蜂", "", "a 'quoted' name"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert pl.DataFrame({"x": [text]}).select(harmless(pl.col("x"))).to_series().to_list() == [text]


def test_line_ends_and_controls_become_blanks_and_null_stays_null() -> None:
    frame = pl.DataFrame({"x": ["a\r\nb\x00c\u2029d", None]})
    assert frame.select(harmless(pl.col("x"))).to_series().to_list() == ["a b c d", None]
