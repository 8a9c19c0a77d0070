from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import pytest

from tasks.core import tables
from tasks.split.report.page import short
from tasks.split.report.words import LEFT_OUT, OUTCOMES, VERDICTS

ROOT = Path(__file__).resolve().parents[3]


def test_template_and_style_sheet_are_installed_with_the_package() -> None:
    globs = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "tasks.split.report"
    ]
    data = {path.name for path in resources.files("tasks.split.report").iterdir()} - {"__pycache__"}
    assert {name for name in data if not name.endswith(".py")} == {"report.html.j2", "report.css"}
    assert all(any(Path(name).match(glob) for glob in globs) for name in data if not name.endswith(".py"))


def test_every_slug_of_the_tables_has_words() -> None:
    assert set(VERDICTS) == set(tables.VERDICT_SLUGS) - {tables.KEPT}
    assert set(OUTCOMES) == set(tables.OUTCOMES) - {tables.KEPT}
    assert set(LEFT_OUT) == {"bridges-splits", "leaks"}


@pytest.mark.parametrize("length", [0, 10, 160, 161, 5000])
def test_long_text_loses_its_middle_only(length: int) -> None:
    text = "".join(chr(97 + n % 26) for n in range(length))
    found = short(text)
    assert len(found) <= 160
    assert found[:50] == text[:50]
    assert found[-30:] == text[-30:]
    assert (found == text) == (length <= 160)
