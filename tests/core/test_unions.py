from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.unions import tied, unite

NODES = 12
PAIR = st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1))
VALUE = st.sampled_from([None, "", "a", "b", "c", "d"])


def _smallest(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """The smallest node of each node's component, by joining sets one pair at a time."""
    sets = [{node} for node in range(count)]
    for a, b in pairs:
        one = next(s for s in sets if a in s) | next(s for s in sets if b in s)
        sets = [s for s in sets if not s & one] + [one]
    return [min(next(s for s in sets if node in s)) for node in range(count)]


@given(st.lists(st.lists(PAIR, max_size=8), max_size=4))
def test_each_node_gets_the_smallest_node_joined_to_it_over_all_blocks(blocks: list[list[tuple[int, int]]]) -> None:
    labels = unite(NODES, [np.array(block, np.int64).reshape(-1, 2) for block in blocks])
    assert labels.tolist() == _smallest(NODES, [pair for block in blocks for pair in block])


@pytest.mark.parametrize("seed", range(3))
def test_a_long_chain_in_any_order_is_one_component_after_few_rounds(seed: int) -> None:
    """Hooking without following the hooks to their ends would take as many rounds as the chain has links."""
    nodes = np.random.default_rng(seed).permutation(200_000)
    chain = np.column_stack((nodes[:-1], nodes[1:]))
    assert not unite(len(nodes), [chain]).any()


def test_stars_around_their_largest_node_are_joined() -> None:
    star = np.column_stack((np.arange(1000), np.full(1000, 1000)))
    assert not unite(1001, [star]).any()


def test_blocks_are_taken_one_at_a_time() -> None:
    def blocks() -> Iterator[np.ndarray]:
        for start in range(40):
            yield np.column_stack((np.arange(500_000) % 1000, np.full(500_000, start)))

    tracemalloc.start()
    unite(1000, blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6  # all 40 are 320 MB


def test_no_node_and_no_pair() -> None:
    assert unite(0, []).tolist() == []
    assert unite(3, [np.empty((0, 2), np.int64)]).tolist() == [0, 1, 2]


def _rows(values: list[tuple[int, str | None, str | None]]) -> pl.DataFrame:
    named = [(hashlib.sha256(bytes([number])).hexdigest(), one, two) for number, one, two in values]
    return pl.DataFrame(named, schema={"sha256": pl.String, "near": pl.String, "group_id": pl.String}, orient="row")


@given(st.lists(st.tuples(st.integers(0, 9), VALUE, VALUE), max_size=20))
def test_rows_are_tied_by_any_equal_value_of_one_column(values: list[tuple[int, str | None, str | None]]) -> None:
    rows = _rows(values)
    table = rows.rows()
    pairs = [
        (i, j)
        for i, left in enumerate(table)
        for j, right in enumerate(table)
        if any(a == b and a not in {None, ""} for a, b in zip(left, right, strict=True))
    ]
    parts = _smallest(len(table), pairs)
    expected = [min(row[0] for row, part in zip(table, parts, strict=True) if part == mine) for mine in parts]
    assert tied(rows, ["near", "group_id"]).to_list() == expected


@given(st.lists(st.tuples(st.integers(0, 9), VALUE, VALUE), max_size=20), st.randoms())
def test_the_order_of_rows_does_not_count(values: list[tuple[int, str | None, str | None]], random: object) -> None:
    rows = _rows(values)
    before = dict(zip(rows.rows(), tied(rows, ["near", "group_id"]), strict=True))
    random.shuffle(values)  # type: ignore[attr-defined]
    rows = _rows(values)
    assert dict(zip(rows.rows(), tied(rows, ["near", "group_id"]), strict=True)) == before


def test_equal_values_of_different_columns_tie_nothing() -> None:
    assert tied(_rows([(1, "a", None), (2, None, "a")]), ["near", "group_id"]).n_unique() == 2


def test_values_of_any_type_tie_and_unknown_ones_do_not() -> None:
    rows = pl.DataFrame(
        {
            "sha256": list("abcdef"),
            "near": [1, 1, 2, None, None, 3],
            "latitude": [float("nan"), 1.5, 1.5, float("nan"), None, None],
        }
    )
    assert tied(rows, ["near", "latitude"]).to_list() == ["a", "a", "a", "d", "e", "f"]


def test_no_row_has_no_component() -> None:
    assert tied(_rows([]), ["near", "group_id"]).to_list() == []


def test_scipy_is_not_loaded() -> None:
    code = "import sys, tasks.core.unions; print('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
