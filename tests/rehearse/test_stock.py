from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import imagehash
import pytest
import yaml

from tasks.core.tables import OUTCOMES
from tasks.rehearse.faults import BARRED, EXTRA, GOOD, KINDS
from tasks.rehearse.lists import untidy
from tasks.rehearse.paint import OBSERVATIONS, paint
from tasks.rehearse.plan import Address, Plan
from tasks.rehearse.stage import Rehearsal
from tasks.rehearse.stock import stock

from .conftest import RECIPE, of_kind, opened


def planned(folder: Path, recipe: dict[str, Any], photos: Path) -> Plan:
    return stock(
        recipe, folder, photos=photos, observations=OBSERVATIONS, base_url="http://127.0.0.1:9", seed=5, key="k"
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    paint(folder, ["moths", "beetles", "bees"], per_class=20, seed=1, side=100)
    return folder


@pytest.fixture
def recipe() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(RECIPE)
    return loaded


def test_two_sites_stocked_alike_are_alike_byte_for_byte(photos: Path, recipe: dict[str, Any], tmp_path: Path) -> None:
    plans = [planned(tmp_path / name, recipe, photos) for name in ("one", "two")]
    assert plans[0] == plans[1]
    one, two = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) > 10


def test_every_photo_has_exactly_one_good_address(plan: Plan, rehearsal: Rehearsal) -> None:
    files = Counter(address.file for address in plan.addresses if address.kind in GOOD)
    painted = {path.relative_to(rehearsal.site).as_posix() for path in rehearsal.site.glob("painted/*/*/*")}
    assert set(files) == painted
    assert set(files.values()) == {1}


def test_every_kind_is_there_several_times_spread_over_classes(plan: Plan) -> None:
    for kind in EXTRA:
        found = of_kind(plan, kind)
        assert len(found) >= 2, kind
        assert len({address.label for address in found}) >= 2, kind
    for kind in {*GOOD, "unlicensed", "low-grade"}:
        assert len(of_kind(plan, kind)) >= 2, kind


def test_extra_addresses_are_a_small_share(plan: Plan) -> None:
    kinds = Counter("good" if address.kind in GOOD else "extra" for address in plan.addresses if address.kind in KINDS)
    barred = sum(address.kind in BARRED for address in plan.addresses)
    assert 0.05 < (kinds["extra"] - barred) / kinds["good"] < 0.2


def test_expected_outcomes_are_slugs_of_the_ledger(plan: Plan) -> None:
    assert set(plan.outcomes()) <= set(OUTCOMES)
    assert plan.outcomes()["not-found"] == len(of_kind(plan, "missing") + of_kind(plan, "gone"))
    assert plan.verdicts()["label-conflict"] == len(of_kind(plan, "conflict"))


def test_an_address_is_found_by_one_key_only(plan: Plan) -> None:
    assert len({address.key for address in plan.addresses}) == len(plan.addresses)
    assert len({address.path for address in plan.addresses}) == len(plan.addresses)


def test_a_source_that_takes_first_photos_is_not_expected_to_take_others(plan: Plan) -> None:
    by_key = {address.key: address for address in plan.addresses}
    later = [by_key[f"/photos/{p.id}"] for item in plan.observations for p in item.photos[1:]]
    assert {address.expected for address in later if address.label == "beetles"} == {None}
    assert {address.expected for address in later if address.label == "moths"} == {"kept"}


def test_photos_a_filter_bars_are_never_expected(plan: Plan) -> None:
    photos = {f"/photos/{photo.id}": (item, photo) for item in plan.observations for photo in item.photos}
    for address in of_kind(plan, "unlicensed"):
        assert address.expected is None
        assert photos[address.key][1].licence not in ({"cc0", "cc-by"} if address.label == "moths" else set("cc-by"))
    for address in of_kind(plan, "low-grade"):
        assert address.expected is None
        assert photos[address.key][0].quality_grade in ("casual", *["needs_id"] * (address.label == "beetles"))


def hashes(folder: Path, addresses: list[Address]) -> list[tuple[int, int]]:
    pictures = [opened(folder / address.file) for address in addresses]
    return [(int(str(imagehash.phash(p)), 16), int(str(imagehash.phash(p, 16)), 16)) for p in pictures]


def nearest(mine: tuple[int, int], others: list[tuple[int, int]]) -> tuple[int, int]:
    return min(((mine[0] ^ other[0]).bit_count(), (mine[1] ^ other[1]).bit_count()) for other in others)


def test_planted_copies_look_like_one_photo_and_conflicts_like_none(plan: Plan, rehearsal: Rehearsal) -> None:
    good = hashes(rehearsal.site, [address for address in plan.addresses if address.kind in GOOD])
    for kind in ("recoded", "resized", "copied", "misnamed"):
        for found in hashes(rehearsal.site, of_kind(plan, kind)):
            coarse, fine = nearest(found, good)
            assert coarse <= 4, kind
            assert fine <= 20, kind
    for found in hashes(rehearsal.site, of_kind(plan, "conflict")):
        coarse, fine = nearest(found, good)
        assert coarse > 10
        assert fine > 80


def test_a_conflict_is_one_picture_under_two_classes(plan: Plan) -> None:
    pairs: dict[str, set[str]] = {}
    for address in of_kind(plan, "conflict"):
        pairs.setdefault(address.file.removesuffix(".jpg").removesuffix("-again"), set()).add(address.label)
    assert {len(labels) for labels in pairs.values()} == {2}


def test_rules_at_the_door_decide_what_is_expected(photos: Path, recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["ingest"] |= {"licences": "cc0", "min_side": 90, "attempts": 1, "max_redirects": 0}
    plan = planned(tmp_path, recipe, photos)
    lists = [address for address in plan.addresses if not address.key.startswith("/photos/")]
    assert {address.expected for address in lists} == {"licence-refused"}
    kinds = {address.kind for address in plan.addresses}
    assert not kinds & {"busy-once", "busy-dated", "resumable", "redirected", "private", "loopback", "metadata"}
    for address in plan.addresses:
        if address.kind == "photo" and address.expected in {"kept", "too-small"}:
            small = min(opened(tmp_path / address.file).size) < 90
            assert (address.expected == "too-small") == small
    assert plan.outcomes()["too-small"] > 2


@pytest.mark.parametrize(
    ("rule", "unmet"),
    [({"robots_txt": False}, "disallowed"), ({"robots_tag": False}, "tagged"), ({"min_contrast": 0}, "flat"),
     ({"min_side": 400}, "flat"), ({"max_bytes": "100MB"}, "gzip-bomb")],
)  # fmt: skip
def test_what_the_recipe_lets_pass_is_not_planted(
    photos: Path, recipe: dict[str, Any], tmp_path: Path, rule: dict[str, Any], unmet: str
) -> None:
    of_kind(planned(tmp_path / "usual", recipe, photos), unmet)
    recipe["ingest"] |= rule
    assert unmet not in {address.kind for address in planned(tmp_path / "other", recipe, photos).addresses}


def test_lists_name_the_addresses_of_their_source(plan: Plan, rehearsal: Rehearsal) -> None:
    mine = [rehearsal.base_url + item.path for item in plan.addresses if (item.label, item.source) == ("bees", 0)]
    assert (rehearsal.site / "urls" / "bees-0.txt").read_bytes() == untidy(mine, number=2)
    assert {path.name for path in (rehearsal.site / "urls").iterdir()} == {"beetles-1.txt", "bees-0.txt", "moths-1.txt"}


def test_a_broken_photo_of_the_user_is_served_as_it_is(photos: Path, recipe: dict[str, Any], tmp_path: Path) -> None:
    own = tmp_path / "own"
    for label in recipe["classes"]:
        (own / label).mkdir(parents=True)
        for path in sorted((photos / label).iterdir())[:4]:
            (own / label / path.name).write_bytes(path.read_bytes())
        first = min((own / label).glob("*.jpg"))
        first.write_bytes(first.read_bytes()[:700])
    plan = planned(tmp_path / "site", recipe, own)
    assert sum(address.kind in GOOD for address in plan.addresses) == 12
    assert of_kind(plan, "recoded")


@pytest.mark.real
def test_observations_of_real_photos_stay_whole(real_data: Path, tmp_path: Path) -> None:
    recipe = {
        "classes": {
            "Burbot": [{"source": "inaturalist", "taxon": "Lota lota", "photos": "all"}],
            "PERCH": [{"source": "inaturalist", "taxon": "Perca fluviatilis", "photos": "all"}],
        },
        "ingest": {"min_side": 24},
    }
    plan = stock(
        recipe, tmp_path, photos=real_data / "photos" / "fish", observations=r"(.+)_frame",
        base_url="http://127.0.0.1:9", seed=1, key="k",
    )  # fmt: skip
    good = {address.key: address for address in plan.addresses if address.kind in GOOD}
    assert len(good) == 65 + 77
    fish = [
        {(good[key].label, Path(good[key].file).name.split("_frame")[0]) for key in keys}
        for keys in ([f"/photos/{photo.id}" for photo in item.photos] for item in plan.observations)
        if keys[0] in good
    ]
    assert {len(names) for names in fish} == {1}
    assert len(fish) == len(set.union(*fish)) < len(good) / 3
