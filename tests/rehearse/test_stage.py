from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from flows.recipe import load_recipe
from tasks.core.endpoints import APIS
from tasks.core.errors import BusyError, DataError, RecipeError, SourceError
from tasks.core.files import locked
from tasks.rehearse.plan import LOG, PLAN, PORT, load
from tasks.rehearse.site import main
from tasks.rehearse.stage import Rehearsal, rehearse, serving

from .conftest import RECIPE, set_up

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    return set_up(tmp_path_factory.mktemp("small"), per_class=4)


def healthy(rehearsal: Rehearsal) -> bool:
    try:
        return httpx.get(f"{rehearsal.base_url}/healthz", timeout=1, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_a_rehearsal_names_what_a_run_needs(small: Rehearsal) -> None:
    host = small.allowed_hosts[0]
    assert small.base_url == f"http://{host}"
    assert set(small.apis) <= set(APIS)
    assert small.apis["inaturalist"] == f"http://{host}/v1"
    plan = load(small.site)
    assert small.expected == plan.outcomes()
    assert small.verdicts == plan.verdicts()
    assert Rehearsal.model_validate_json(small.model_dump_json()) == small


def test_the_derived_recipe_is_the_original_pointed_at_the_site(small: Rehearsal) -> None:
    derived = yaml.safe_load(small.recipe.read_text(encoding="utf-8"))
    original = yaml.safe_load(RECIPE)
    assert derived["name"] == "insects-rehearsal"
    assert derived["ingest"] == original["ingest"] | {"rate": 1000}
    assert derived["classes"]["moths"][0] == original["classes"]["moths"][0]
    recipe = load_recipe(small.recipe)
    for label, place in (("moths", 1), ("beetles", 1), ("bees", 0)):
        assert recipe.classes[label][place].path.is_file()  # type: ignore[union-attr]


def test_a_rate_that_the_recipe_states_is_kept(tmp_path: Path) -> None:
    found = set_up(tmp_path, per_class=1, recipe=RECIPE.replace("{timeout: 2,", "{rate: 3, timeout: 2,"))
    assert yaml.safe_load(found.recipe.read_text(encoding="utf-8"))["ingest"]["rate"] == 3


@pytest.mark.parametrize(
    ("weights", "expected"), [("imagenet", "imagenet"), ("none", "none"), ("w/own.h5", None), ("/own.h5", "/own.h5")]
)
def test_the_path_of_weights_starts_at_the_original_recipe(tmp_path: Path, weights: str, expected: str | None) -> None:
    found = set_up(tmp_path, per_class=1, recipe=RECIPE + f"model: {{weights: {weights}}}\n")
    derived = yaml.safe_load(found.recipe.read_text(encoding="utf-8"))
    assert derived["model"]["weights"] == (expected or str(tmp_path / "w/own.h5"))


def test_a_second_call_keeps_photos_plan_port_and_log(tmp_path: Path) -> None:
    first = set_up(tmp_path, per_class=2)
    (first.site / LOG).write_text("a line\n")
    files = {path: path.stat().st_mtime_ns for path in first.site.rglob("*") if path.is_file()}
    second = set_up(tmp_path, per_class=2, recipe=RECIPE + "train: {epochs: 3}\n")
    assert second == first
    again = {path: path.stat().st_mtime_ns for path in first.site.rglob("*") if path.is_file()}
    assert {path for path in files if again[path] != files[path]} <= {first.recipe, first.site / ".lock"}
    assert yaml.safe_load(second.recipe.read_text(encoding="utf-8"))["train"] == {"epochs": 3}


def test_other_arguments_make_another_plan_at_the_same_port(tmp_path: Path) -> None:
    first = set_up(tmp_path, per_class=1)
    (first.site / LOG).write_text("a line\n")
    second = set_up(tmp_path, per_class=2)
    assert second.base_url == first.base_url
    assert second.expected["kept"] > first.expected["kept"]
    assert not (first.site / LOG).exists()


@pytest.mark.parametrize("lost", [PLAN, "derived", "urls"])
def test_what_a_kill_left_half_done_is_made_again(tmp_path: Path, lost: str) -> None:
    first = set_up(tmp_path, per_class=2)
    before = {path: path.read_bytes() for path in first.site.rglob("*") if path.is_file()}
    for path in [first.site / lost, *(first.site / lost).rglob("*"), first.site / PLAN]:
        if path.is_file():
            path.unlink()
    assert set_up(tmp_path, per_class=2) == first
    assert {path: path.read_bytes() for path in first.site.rglob("*") if path.is_file()} == before


def test_two_folders_get_the_same_addresses_from_the_same_arguments(tmp_path: Path) -> None:
    recipe = tmp_path / "insects.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    found = [
        rehearse(recipe, tmp_path / name, photos=None, observations=None, per_class=1, seed=os.getpid())
        for name in ("one", "two")
    ]
    assert found[0].base_url == found[1].base_url
    assert load(found[0].site).addresses == load(found[1].site).addresses


def test_photos_of_ones_own_are_matched_to_the_classes(small: Rehearsal, tmp_path: Path) -> None:
    recipe = tmp_path / "insects.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    painted = next((small.site / "painted").iterdir())
    found = rehearse(recipe, tmp_path / "site", photos=painted, observations=None, per_class=0, seed=1)
    assert not (tmp_path / "site" / "painted").exists()
    assert found.expected["kept"] > 8
    with pytest.raises(DataError, match="There is no folder"):
        rehearse(recipe, tmp_path / "s", photos=tmp_path / "no", observations=None, per_class=0, seed=1)


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", None])
def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "bad.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RecipeError, match=r"bad\.yaml"):
        rehearse(path, tmp_path / "site", photos=None, observations=None, per_class=1, seed=1)


def test_two_rehearsals_are_not_set_up_in_one_folder_at_once(tmp_path: Path) -> None:
    with locked(tmp_path / "site" / ".lock", "it"), pytest.raises(BusyError, match="rehearsal"):
        set_up(tmp_path, per_class=1)


def test_the_site_answers_at_the_same_port_after_a_restart_and_adds_to_its_log(small: Rehearsal) -> None:
    for _ in range(2):
        assert not healthy(small)
        with serving(small):
            assert healthy(small)
            assert httpx.get(f"{small.base_url}/again", timeout=2, trust_env=False).status_code == 404
    log = (small.site / LOG).read_text(encoding="utf-8")
    assert log.count('"/again"') == 2
    assert not healthy(small)


def test_a_taken_port_is_one_clear_error(small: Rehearsal) -> None:
    host, port = small.allowed_hosts[0].split(":")
    with socket.create_server((host, int(port))):
        with pytest.raises(SourceError, match=rf"did not start[\s\S]*cannot listen on port {port}"), serving(small):
            pass
        with pytest.raises(SourceError, match="did not start"), serving(small):
            pass


def test_a_folder_without_a_plan_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert "holds no photo site" in capsys.readouterr().err


def test_the_site_dies_with_its_parent_killed(small: Rehearsal) -> None:
    script = (
        "import sys, time\n"
        "from tasks.rehearse.stage import Rehearsal, serving\n"
        "with serving(Rehearsal.model_validate_json(sys.argv[1])):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, small.model_dump_json()], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout
    assert parent.stdout.readline() == b"up\n"
    assert healthy(small)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 5
    while healthy(small) and time.monotonic() < until:
        time.sleep(0.05)
    assert not healthy(small)


def test_the_port_file_is_where_it_says(small: Rehearsal) -> None:
    assert (small.site / PORT).is_file()
