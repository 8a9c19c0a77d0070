from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from tasks.split.report.clusters import MEMBERS, SHOWN, galleries


def _sha(picture: str) -> str:
    return hashlib.sha256(picture.encode()).hexdigest()


def _flipped(data: bytes, bits: int) -> bytes:
    return (int.from_bytes(data) ^ ((1 << bits) - 1)).to_bytes(len(data))


def test_a_cluster_shows_its_keeper_first_and_how_far_each_member_is(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    keeper = row("k")
    near = [
        row(f"m{bits}", verdict="near-duplicate", cluster_id=_sha("k"), phash=keeper["phash"] ^ ((1 << bits) - 1),
            verify_hash=_flipped(keeper["verify_hash"], 4 * bits))
        for bits in (7, 3)
    ]  # fmt: skip
    turned = row("t", verdict="near-duplicate", cluster_id=_sha("k"), phash=keeper["phash"] ^ 0xFFFFFFFF)
    unhashed = row("u", verdict="near-duplicate", cluster_id=_sha("k"), phash=None, verify_hash=None)
    copy = row("k2", picture="k", verdict="duplicate-bytes")
    found, conflicts = galleries(scene([*near, turned, unhashed, copy, keeper, row("alone")]).collected)
    (cluster,) = found.clusters
    assert (found.total, found.images, cluster.title, cluster.more, conflicts.total) == (1, 5, "bee", 0, 0)
    assert found.verdicts == {"near-duplicate": 4, "kept": 1}
    assert [tile.sha256 for tile in cluster.tiles] == [_sha(name) for name in ("k", "m3", "m7", "t", "u")]
    assert [tile.kept for tile in cluster.tiles] == [True, False, False, False, False]
    assert cluster.tiles[0].caption == ("kept", "60 × 40", "2 addresses")  # noqa: RUF001
    assert [tile.caption[2:] for tile in cluster.tiles[1:]] == [
        ("3/64, 12/256 bits",), ("7/64, 28/256 bits",), ("mirrored or turned",), (),
    ]  # fmt: skip


def test_a_picture_that_two_classes_claim_is_a_conflict_with_its_labels(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    same = [row("a", picture="p", verdict="label-conflict"), row("b", "wasp", picture="p", verdict="label-conflict")]
    settled = [
        row("c"),
        row("d", "wasp", cluster_id=_sha("c"), verdict="near-duplicate", detail="decided by anna"),
    ]
    rule = [row("e", picture="q", verdict="placeholder"), row("f", "wasp", picture="q", verdict="placeholder")]
    near, found = galleries(scene([*same, *settled, *rule, row("z", "wasp")]).collected)
    assert (near.total, found.total, found.images) == (0, 2, 3)
    assert [cluster.title for cluster in found.clusters] == ["bee / wasp", "bee / wasp"]
    assert [tile.caption[:2] for tile in found.clusters[0].tiles] == [("bee", "kept"), ("wasp", "near-duplicate")]
    assert found.clusters[0].tiles[1].caption[-1] == "decided by anna"
    assert found.clusters[1].tiles[0].caption[:2] == ("bee / wasp", "label-conflict")


def test_what_was_set_aside_for_a_conflict_is_listed_though_its_rival_is_gone(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    near, found = galleries(scene([row("a", verdict="label-conflict"), row("b")]).collected)
    assert (near.total, found.total, found.clusters[0].tiles[0].sha256) == (0, 1, _sha("a"))


def test_of_many_clusters_the_largest_and_the_widest_are_shown_and_all_are_counted(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    rows = []
    for number in range(40):
        keeper = row(f"k{number:02}")
        rows.append(keeper)
        size = 2 + (MEMBERS if number == 0 else number % 3)
        rows += [
            row(f"k{number:02}m{member}", verdict="near-duplicate", cluster_id=keeper["sha256"],
                phash=keeper["phash"], verify_hash=_flipped(keeper["verify_hash"], number))
            for member in range(size - 1)
        ]  # fmt: skip
    made = scene(rows)
    found, _ = galleries(made.collected)
    assert (found.total, len(found.clusters), found.images) == (40, SHOWN, len(rows))
    assert len(found.clusters[0].tiles) == MEMBERS
    assert found.clusters[0].more == 2
    last = [int(cluster.tiles[-1].caption[-1].split("/")[1].split()[-1]) for cluster in found.clusters[SHOWN // 2 :]]
    assert last == sorted(last, reverse=True)
    assert last[0] == 39
    assert galleries(scene(rows[::-1]).collected)[0] == found
