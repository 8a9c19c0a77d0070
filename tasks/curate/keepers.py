"""Who stands for whom: images walked in order, each joins the first keeper it is alike to or becomes one itself.

Owns the walk over confirmed pairs, in memory bounded however many pairs there are. Reads and writes arrays only. It is
the greedy independent set of the graph of pairs, so every member has been compared with its keeper itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tasks.core.unions import Labels, joined
from tasks.curate.near import Pairs

HELD = 1 << 24  # pairs held at once, 128 MiB: a million images with 16 near-duplicates each

Nodes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Alike = Callable[[int, Nodes], Mask]
_Held = NDArray[np.int32]


def components_and_keepers(
    count: int, blocks: Iterable[Pairs], alike: Alike, *, eligible: int, fixed: int = 0, held: int = HELD
) -> tuple[Labels, Labels]:
    """Return the component and the keeper of each of `count` nodes, which are numbered in the order of the walk.

    Where a set of images is so crowded that its pairs exceed `held`, its keepers are compared with its members again
    instead, one keeper at a time; to the same result.

    Args:
        count: nodes.
        blocks: pairs i < j of nodes that are alike, arrays of shape (P, 2); a pair may come more than once.
        alike: tells which of the given nodes are alike to a node; agrees with `blocks`.
        eligible: nodes from this number on join no keeper and are none; they still tie components.
        fixed: nodes below this number, at most `eligible`, are keepers whomever they are alike to.
        held: pairs held at once.

    Returns:
        The smallest node of each node's component (the transitive closure of all pairs), and its keeper: itself, or
        the first keeper that it is alike to. Shapes (count,).
    """
    labels: Labels = np.arange(count, dtype=np.int64)
    crowded = np.zeros(count, np.bool_)
    kept = [np.empty((0, 2), np.int32)]
    for pairs in blocks:
        labels = joined(labels, pairs)
        free = (fixed <= pairs[:, 1]) & (pairs[:, 1] < eligible) & ~crowded[pairs[:, 0]]
        kept.append(pairs[free].astype(np.int32))
        if sum(map(len, kept)) > held:
            kept = [np.concatenate(kept)]
            crowded |= _crowded(kept[0], labels, held // 2)
            kept = [kept[0][~crowded[kept[0][:, 0]]]]
    crowded[:eligible] = np.isin(labels[:eligible], labels[crowded])
    edges = np.concatenate(kept)
    keepers = _walked(edges[~crowded[edges[:, 0]]], count)
    for nodes in _members(labels, np.flatnonzero(crowded[:eligible])):
        _compared(nodes, alike, keepers, fixed=fixed)
    return labels, keepers


def _crowded(edges: _Held, labels: Labels, limit: int) -> Mask:
    """Return the nodes of the densest components, without which at most `limit` of `edges` are left."""
    count = len(labels)
    pairs = np.bincount(labels[edges[:, 0]], minlength=count)
    density = pairs / np.maximum(np.bincount(labels, minlength=count), 1)
    densest = np.argsort(-density, kind="stable")
    left = len(edges) - np.cumsum(pairs[densest])
    chosen = np.zeros(count, np.bool_)
    chosen[densest[: np.argmax(left <= limit) + 1]] = True
    return np.asarray(chosen[labels])


def _members(labels: Labels, nodes: Nodes) -> list[Nodes]:
    """Return `nodes` by their component, each in the order of the walk."""
    ordered = nodes[np.argsort(labels[nodes], kind="stable")]
    return np.split(ordered, np.flatnonzero(np.diff(labels[ordered])) + 1) if len(ordered) else []


def _walked(edges: _Held, count: int) -> Labels:
    """Walk the nodes over all their pairs i < j."""
    keepers: Labels = np.arange(count, dtype=np.int64)
    edges = edges[np.argsort(edges[:, 0], kind="stable")]
    nodes, starts = np.unique(edges[:, 0], return_index=True)
    ends = np.append(starts, len(edges))[1:]
    for node, start, end in zip(nodes.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if keepers[node] == node:  # no earlier one has taken it: it is a keeper
            later = edges[start:end, 1]
            keepers[later[keepers[later] == later]] = node
    return keepers


def _compared(nodes: Nodes, alike: Alike, keepers: Labels, *, fixed: int) -> None:
    """Walk `nodes` by comparing each keeper with all that are left."""
    while len(nodes):
        node, nodes = int(nodes[0]), nodes[1:]
        near = alike(node, nodes) & (nodes >= fixed)
        keepers[nodes[near]] = node
        nodes = nodes[~near]
