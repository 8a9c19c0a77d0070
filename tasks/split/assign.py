"""Which new group goes to which side: how many is planned, in particular it is dealt by split-folders.

split-folders' `fixed` and `ratio` count groups whatever their size and need a file for each; what they come down to,
`split_files`, deals any sorted list (docs/decisions/0007). Reads and writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate

import polars as pl
import splitfolders

from tasks.split.config import SplitConfig
from tasks.split.plan import Signature, plan_counts
from tasks.split.sides import sides_of

# Neither can stand in the name of a class.
_FIELD, _ROW = "\x1f", "\x1e"


def assign(rows: pl.DataFrame, config: SplitConfig, held: Mapping[str, Sequence[int]] | None = None) -> pl.DataFrame:
    """Return the side of each component of `rows`.

    Every class has an image on every side; shares of images come as near to the configured ones as whole components
    allow. The order of `rows` does not count: components are dealt in the order of a keyed hash.

    Args:
        rows: images to be put somewhere, columns component and label.
        config: the recipe's `split:` block.
        held: class to its images that stand on each side already.

    Returns:
        Columns component and side (number of the side, see `tasks.split.sides`).

    Raises:
        DataError: a class has no group left for one of the sides.
    """
    kinds = _by_kind(rows, config.seed)
    counts = kinds.group_by("kind").len().sort("kind")
    available = {_signature(kind): groups for kind, groups in counts.iter_rows()}
    plan = plan_counts(available, sides_of(config), held)
    components = kinds["component"].to_list()
    sides: list[int] = []
    for end, (signature, groups) in zip(accumulate(available.values()), available.items(), strict=True):
        dealt = deal(components[end - groups : end], plan[signature])
        sides += [number for number, part in enumerate(dealt) for _ in part]
    return kinds.select("component", pl.Series("side", sides, dtype=pl.Int8))


def deal(groups: list[str], counts: Sequence[int]) -> list[list[str]]:
    """Let split-folders cut `groups`, in this order, into parts of so many each.

    The sum of `counts` is the number of groups.
    """
    parts = []
    for count in counts:
        (part, _), (groups, _) = splitfolders.split_files(groups, count, len(groups), use_test=False)
        parts.append(part)
    return parts


def _by_kind(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return component and kind (its signature as text), sorted by kind, then by a keyed hash of the component."""
    told = pl.concat_str("label", pl.lit(_FIELD), "len")
    kinds = (
        rows.group_by("component", "label")
        .len()
        .sort("component", "label")
        .group_by("component", maintain_order=True)
        .agg(told.str.join(_ROW).alias("kind"))
    )
    ranks = [hashlib.sha256(f"{seed}:{component}".encode()).digest() for component in kinds["component"]]
    return kinds.sort("kind", pl.Series("rank", ranks, dtype=pl.Binary))


def _signature(kind: str) -> Signature:
    rows = (row.split(_FIELD) for row in kind.split(_ROW))
    return tuple((label, int(count)) for label, count in rows)
