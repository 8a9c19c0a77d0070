from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.curate.keepers import components_and_keepers

NODES = 14
PAIRS = st.sets(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)).filter(lambda pair: pair[0] < pair[1]))


def _walked(pairs: set[tuple[int, int]], eligible: int, fixed: int) -> list[int]:
    """The rule in words: each node joins the first keeper it is alike to, or becomes one; fixed ones always do."""
    keepers: list[int] = []
    result = list(range(NODES))
    for node in range(eligible):
        alike = [keeper for keeper in keepers if (keeper, node) in pairs]
        if alike and node >= fixed:
            result[node] = alike[0]
        else:
            keepers.append(node)
    return result


def _closure(pairs: set[tuple[int, int]]) -> list[int]:
    smallest = list(range(NODES))
    for _ in range(NODES):
        for i, j in pairs:
            smallest[i] = smallest[j] = min(smallest[i], smallest[j])
    return smallest


@given(PAIRS, st.tuples(*[st.integers(0, NODES)] * 2), st.integers(1, 100), st.integers(1, 5), st.randoms())
def test_the_walk_and_the_closure_are_exact_however_few_pairs_may_be_held(
    pairs: set[tuple[int, int]], bounds: tuple[int, int], held: int, block: int, random: object
) -> None:
    fixed, eligible = sorted(bounds)
    listed = sorted(pairs) + sorted(pairs)[:3]  # some come twice
    random.shuffle(listed)  # type: ignore[attr-defined]
    array = np.array(listed, np.int64).reshape(-1, 2)
    components, keepers = components_and_keepers(
        NODES,
        [array[start : start + block] for start in range(0, len(array), block)],
        lambda node, others: np.array([(node, other) in pairs for other in others.tolist()], np.bool_),
        eligible=eligible,
        fixed=fixed,
        held=held,
    )
    assert components.tolist() == _closure(pairs)
    assert keepers.tolist() == _walked(pairs, eligible, fixed)


def test_a_crowd_of_alike_nodes_takes_memory_by_nodes_not_by_pairs() -> None:
    """3,000 nodes in three crowds are 1.5 million pairs; a few thousand may be held."""
    crowd = np.arange(3000) % 3

    def blocks() -> Iterator[np.ndarray]:
        for node in range(3000):
            later = np.flatnonzero(crowd == crowd[node])
            later = later[later > node]
            yield np.column_stack((np.full(len(later), node), later))

    tracemalloc.start()
    components, keepers = components_and_keepers(
        3000, blocks(), lambda node, others: crowd[others] == crowd[node], eligible=3000, held=5000
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(keepers, crowd)
    np.testing.assert_array_equal(components, crowd)
    assert peak < 2e6  # all pairs as they are held are 12 MB


def test_a_crowd_does_not_cost_the_sparse_part_its_pairs() -> None:
    """Only the crowded component is compared again; the chain beside it is walked over its pairs."""
    crowd = [(i, j) for i in range(40) for j in range(i + 1, 40)]
    chain = [(i, i + 1) for i in range(40, 100)]
    asked: list[int] = []

    def alike(node: int, others: np.ndarray) -> np.ndarray:
        asked.append(node)
        return others < 40

    _, keepers = components_and_keepers(101, [np.array(crowd + chain)], alike, eligible=101, held=700)
    assert asked == [0]
    assert keepers[:40].tolist() == [0] * 40
    assert keepers[40:44].tolist() == [40, 40, 42, 42]


def test_in_a_crowd_too_those_that_are_fixed_are_keepers() -> None:
    crowd = np.array([(i, j) for i in range(40) for j in range(i + 1, 40)])
    _, keepers = components_and_keepers(
        40, [crowd], lambda _, others: np.ones(len(others), np.bool_), eligible=40, fixed=3, held=100
    )
    assert keepers.tolist() == [0, 1, 2] + [0] * 37
