from __future__ import annotations

from pathlib import Path

import pytest

from flows.reference import write_reference

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["recipes/schema.json", "docs/recipes.md", "docs/settings.md"])
def test_the_committed_reference_is_current(name: str, tmp_path: Path) -> None:
    write_reference(tmp_path)
    assert (ROOT / name).read_text() == (tmp_path / name).read_text(), "run: make docs"
