from __future__ import annotations

import hashlib
import subprocess
import sys

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.fingerprint import fingerprint, table_digest
from tasks.models.config import TrainConfig

_JSON = st.recursive(st.integers() | st.text(max_size=5) | st.booleans(), lambda inner: st.lists(inner, max_size=3))


@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=4))
def test_order_of_a_dict_does_not_count(tree: dict[str, object]) -> None:
    assert fingerprint(tree) == fingerprint(dict(reversed(tree.items())))


def test_every_field_of_a_config_counts() -> None:
    base = fingerprint(TrainConfig())
    assert fingerprint(TrainConfig()) == base
    assert fingerprint(TrainConfig(epochs=26)) != base


def test_other_processes_find_the_same() -> None:
    code = "from tasks.core.fingerprint import fingerprint; print(fingerprint({'b': 1, 'a': [1.5, None]}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == fingerprint({"a": [1.5, None], "b": 1})


def test_rows_count_and_their_order_does_not() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})
    assert table_digest(frame) == table_digest(frame.reverse().select("b", "a"))
    assert table_digest(frame) != table_digest(frame.with_columns(b=pl.lit("x")))


def test_a_table_longer_than_what_is_written_at_once_has_the_digest_of_its_text() -> None:
    frame = pl.DataFrame({"b": [n / 7 for n in range(140_000)], "a": ['quo"te, "', None] * 70_000})
    text = frame.select("a", "b").sort("a", "b").write_csv()
    assert table_digest(frame.reverse()) == hashlib.sha256(text.encode()).hexdigest()
    assert table_digest(frame.clear()) == hashlib.sha256(b"a,b\n").hexdigest()
