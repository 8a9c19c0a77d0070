from __future__ import annotations

from pathlib import Path

import pytest

from flows.check import look
from flows.preflight import preflight, problems
from flows.recipe import Recipe, load_recipe
from flows.settings import Settings
from tasks.core.errors import BlockedAddressError, HarvestmanError

OPEN_DATA = "{source: inaturalist_open_data, path: PLACE, taxon: Araneae}"
SOURCES = {
    "inaturalist": "{source: inaturalist, taxon: Araneus diadematus}",
    "export": "{source: inaturalist_export, path: export.csv}",
    "tables here": OPEN_DATA.replace("PLACE", "tables"),
    "tables there": OPEN_DATA.replace("PLACE", "s3://inaturalist-open-data"),
}
ELSEWHERE = {"inaturalist": "http://127.0.0.1:1/v1", "inaturalist_photos": "http://127.0.0.1:1/photos"}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have said who we are."""
    for name in ("HARVESTMAN_CONTACT", "HARVESTMAN_USER_AGENT"):
        monkeypatch.delenv(name, raising=False)


def recipe(folder: Path, source: str) -> Path:
    path = folder / "birds.yaml"
    other = "{source: openverse, query: wren}"
    path.write_text(f"name: birds\nclasses:\n  a: [{source}]\n  b: [{other}]\nmodel: {{weights: none}}\n")
    return path


def told(folder: Path, source: str, **settings: object) -> list[HarvestmanError]:
    known = Settings(workspace=folder / "workspace", **settings)  # type: ignore[arg-type]  # read as from the environment
    return [error for error in problems(_recipe(folder, source), known) if isinstance(error, BlockedAddressError)]


def _recipe(folder: Path, source: str) -> Recipe:
    return load_recipe(recipe(folder, source))


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_inaturalist_wants_a_contact_before_anything_is_asked(tmp_path: Path, source: str) -> None:
    (error,) = told(tmp_path, source)
    assert "HARVESTMAN_CONTACT=" in error.hint
    with pytest.raises(BlockedAddressError):
        preflight(_recipe(tmp_path, source), Settings(workspace=tmp_path / "workspace"))
    assert not told(tmp_path, source, contact="you@example.org")
    assert not told(tmp_path, source, user_agent="spiders/1 (you@example.org)")
    assert told(tmp_path, source, contact="  ")


@pytest.mark.parametrize("name", ["inaturalist", "export", "tables here"])
def test_a_rehearsal_of_inaturalist_needs_no_contact(tmp_path: Path, name: str) -> None:
    assert not told(tmp_path, SOURCES[name], apis=ELSEWHERE)


def test_tables_of_another_bucket_need_no_contact_but_their_photos_do(tmp_path: Path) -> None:
    source = OPEN_DATA.replace("PLACE", "s3://my-bucket/inaturalist-open-data")
    assert told(tmp_path, source)
    assert not told(tmp_path, source, apis=ELSEWHERE)


def test_other_sources_need_no_contact(tmp_path: Path) -> None:
    assert not told(tmp_path, "{source: gbif, taxon: Araneus diadematus}")


def test_check_names_photos_of_inaturalist_in_a_list_too(tmp_path: Path) -> None:
    photos = "https://inaturalist-open-data.s3.us-east-1.amazonaws.com/photos"
    (tmp_path / "a.txt").write_text("".join(f"{photos}/{number}/medium.jpg\n" for number in range(3)))
    path = recipe(tmp_path, "{source: url_list, path: a.txt}")
    for contact in ("", "you@example.org"):
        found = look(load_recipe(path), path, Settings(workspace=tmp_path, contact=contact), offline=True)
        assert any("iNaturalist" in error.what for error in found.problems) is (contact == "")
