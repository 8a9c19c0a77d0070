from __future__ import annotations

import hashlib
import tracemalloc

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tasks.curate.clusters import add_clusters, add_components, near_duplicates, unite
from tasks.curate.config import NearDuplicates

CONFIG = NearDuplicates(radius=4, verify_radius=10, min_contrast=4.0)


def _sets(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


def _image(name: str, phash: int, verify: bytes, contrast: float | None = 50.0) -> dict[str, object]:
    return {"sha256": name, "phash": phash, "verify_hash": verify, "contrast": contrast}


def _clusters(*images: dict[str, object]) -> dict[str, str]:
    frame = pl.DataFrame(list(images), schema_overrides={"phash": pl.UInt64(), "verify_hash": pl.Binary()})
    return dict(add_clusters(frame, CONFIG).select("sha256", "cluster_id").iter_rows())


@given(
    st.integers(1, 12), st.lists(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=6), max_size=4)
)
def test_nodes_joined_over_any_blocks_are_one_component(count: int, blocks: list[list[tuple[int, int]]]) -> None:
    blocks = [[(a % count, b % count) for a, b in block] for block in blocks]
    expected = [{node} for node in range(count)]
    for a, b in (pair for block in blocks for pair in block):
        joined = next(s for s in expected if a in s) | next(s for s in expected if b in s)
        expected = [s for s in expected if not s & joined] + [joined]
    labels = unite(count, [np.array(block, np.int64).reshape(-1, 2) for block in blocks])
    assert _sets(labels) == {frozenset(s) for s in expected}


def test_a_pair_counts_only_when_both_hashes_agree() -> None:
    near, far = b"\0" * 31 + b"\x0f", b"\0" * 28 + b"\xff" * 4
    clusters = _clusters(_image("a", 0, b"\0" * 32), _image("b", 0b1111, near), _image("c", 0, far))
    assert clusters == {"a": "a", "b": "a", "c": "c"}


def test_likeness_is_passed_on_along_a_chain() -> None:
    ends = (0, 0b1111, 0b1111_1111)
    clusters = _clusters(*(_image(name, phash, b"\0" * 32) for name, phash in zip("zyx", ends, strict=True)))
    assert set(clusters.values()) == {"x"}


def test_images_of_one_short_hash_are_still_told_apart_and_joined_by_the_long_one() -> None:
    """A star around the first of equal hashes would miss c = d, which only resemble each other."""
    left, right = b"\0" * 32, b"\xff" * 32
    clusters = _clusters(
        *(_image(name, 9, long) for name, long in zip("abcd", (left, left, right, right), strict=True))
    )
    assert clusters == {"a": "a", "b": "a", "c": "c", "d": "c"}


def test_flat_and_unhashed_images_resemble_nothing() -> None:
    clusters = _clusters(
        _image("red", 0, b"\0" * 32, 0.0),
        _image("blue", 0, b"\0" * 32, 3.9),
        _image("unknown", 0, b"\0" * 32, None),
        _image("odd", 0, b"\0" * 32, float("nan")),
        _image("short", 0, b"\0" * 18),
        _image("photo", 0, b"\0" * 32, 4.0),
        {"sha256": "bare", "phash": None, "verify_hash": None, "contrast": 90.0},
    )
    assert all(name == cluster for name, cluster in clusters.items())


def test_no_image_has_no_cluster() -> None:
    assert near_duplicates(np.empty(0, np.uint64), np.empty((0, 32), np.uint8), CONFIG).tolist() == []


def test_thousands_of_alike_pictures_take_little_memory() -> None:
    """4,000 pictures of one short hash are 8 million candidate pairs: 128 MB if they were held at once."""
    count = 4000
    verify = np.zeros((count, 32), np.uint8)
    verify[:, :2] = np.arange(count, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    tracemalloc.start()
    labels = near_duplicates(np.full(count, 5, np.uint64), verify, CONFIG)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(np.unique(labels)) == 1
    assert peak < 64e6


def _components(*rows: tuple[str, str, str | None]) -> list[str]:
    frame = pl.DataFrame(
        rows, schema={"sha256": pl.String, "cluster_id": pl.String, "group_id": pl.String}, orient="row"
    )
    return add_components(frame)["component"].to_list()


def test_clusters_and_observations_link_up_into_one_component() -> None:
    rows = [("a", "a", "o1"), ("b", "b", "o1"), ("c", "b", "o2"), ("d", "d", "o2"), ("e", "e", "o3"), ("f", "f", None)]
    assert _components(*rows) == ["a", "a", "a", "a", "e", "f"]


def test_one_file_under_two_observations_links_both() -> None:
    assert _components(("b", "b", "o1"), ("b", "b", "o2"), ("a", "a", "o1"), ("c", "c", "o2")) == ["a"] * 4


def test_rows_without_observation_are_not_linked_by_its_absence() -> None:
    assert _components(("a", "a", None), ("b", "b", None), ("c", "c", ""), ("d", "d", "")) == ["a", "b", "c", "d"]


def test_no_row_has_no_component() -> None:
    assert _components() == []


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6), st.none() | st.integers(0, 6)), max_size=25), st.randoms()
)
def test_components_do_not_depend_on_the_order_of_rows(rows: list[tuple[int, int, int | None]], random: object) -> None:
    named = [(hashlib.sha256(bytes([s, c])).hexdigest(), str(c), g if g is None else str(g)) for s, c, g in rows]
    before = dict(zip(named, _components(*named), strict=True))
    random.shuffle(named)  # type: ignore[attr-defined]
    assert dict(zip(named, _components(*named), strict=True)) == before
