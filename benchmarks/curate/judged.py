"""What a program says of a folder, and how that stands to what was planted in it. Reads and writes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.curate.planted import EDITS, FAULTS, FLAT, ORIGINAL, Planted


@dataclass(frozen=True)
class Answer:
    """What one program says, with paths below the folder."""

    groups: list[list[str]]
    """Files that it says are alike; where it tells pairs, each is a group."""
    faults: frozenset[str]
    """Files that it says are broken or misnamed, in whatever words."""

    @classmethod
    def read(cls, folder: Path, groups: Iterable[Iterable[str]], faults: Iterable[str]) -> Answer:
        """Make the paths relative, which may be absolute."""

        def below(path: str) -> str:
            return str(Path(path).relative_to(folder)) if Path(path).is_absolute() else path

        return cls([[below(path) for path in group] for group in groups], frozenset(map(below, faults)))

    def sets(self) -> list[set[str]]:
        """Return the groups, those that share a file made one: not every pair of a set must have been told."""
        found: dict[str, set[str]] = {}
        for group in self.groups:
            union = set(group).union(*(found[path] for path in group if path in found))
            found.update(dict.fromkeys(union, union))
        return list({id(same): same for same in found.values() if len(same) > 1}.values())


@dataclass(frozen=True)
class Score:
    """How an answer stands to the truth."""

    recall: dict[str, float]
    """Edit → share of its copies that stand in one set with their original."""
    false_pairs: frozenset[tuple[str, str]]
    """Pairs within one group, as told, of two different photos."""
    flat_pairs: int
    """Pairs within one group of which one at least is a plain colour."""
    faults: dict[str, float]
    """Fault → share of its files that were named as faulty."""
    alarms: frozenset[str]
    """Files named as faulty in which nothing was planted."""

    @property
    def mean_recall(self) -> float:
        """Every edit was planted as often as every other."""
        return sum(self.recall.values()) / len(self.recall)


def score(planted: Planted, answer: Answer) -> Score:
    """Compare an answer with the truth."""
    stands = {path: number for number, same in enumerate(answer.sets()) for path in same}
    originals = {source: path for path, (source, kind) in planted.files.items() if kind == ORIGINAL}

    def found(path: str) -> bool:
        return path in stands and stands[path] == stands.get(originals[planted.files[path][0]])

    told = {pair for group in answer.groups for pair in itertools.combinations(sorted(set(group)), 2)}
    false = {pair for pair in told if _source(planted, pair[0]) != _source(planted, pair[1])}
    flat = {pair for pair in false if FLAT in (planted.files[path][1] for path in pair)}
    return Score(
        recall={edit: _share([found(path) for path in planted.of([edit])]) for edit in EDITS},
        false_pairs=frozenset(false - flat),
        flat_pairs=len(flat),
        faults={fault: _share([path in answer.faults for path in planted.of([fault])]) for fault in FAULTS},
        alarms=answer.faults.intersection(planted.whole),
    )


def _source(planted: Planted, path: str) -> str:
    return planted.files[path][0]


def _share(truths: Sequence[bool]) -> float:
    return sum(truths) / len(truths)
