from __future__ import annotations

from pathlib import Path

from flows.lanes import Lanes


def lane(name: str, many: int) -> list[Path]:
    return [Path(f"{name}{number}") for number in range(many)]


def test_a_lane_has_one_batch_under_way_where_batches_know_nothing_of_each_other() -> None:
    lanes = Lanes([lane("a", 3), lane("b", 1)], abreast=1)
    assert [lanes.begin(), lanes.begin(), lanes.begin()] == [Path("a0"), Path("b0"), None]
    assert lanes.under_way == 2
    lanes.ended(Path("b0"))
    assert lanes.begin() is None
    lanes.ended(Path("a0"))
    assert lanes.begin() == Path("a1")


def test_the_lane_with_the_most_left_comes_first_up_to_its_share() -> None:
    lanes = Lanes([lane("a", 2), lane("b", 9), lane("c", 3)], abreast=3)
    assert [str(lanes.begin()) for _ in range(7)] == ["b0", "b1", "b2", "c0", "a0", "c1", "a1"]
    lanes.ended(Path("b1"))
    assert lanes.begin() == Path("b3")


def test_every_batch_is_handed_out_once() -> None:
    everything = [lane("a", 5), lane("b", 1), lane("c", 2)]
    lanes, seen = Lanes(everything, abreast=1), []
    while batch := lanes.begin():
        seen.append(batch)
        lanes.ended(batch)
    assert sorted(seen) == sorted(batch for batches in everything for batch in batches)
    assert lanes.under_way == 0
