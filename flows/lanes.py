"""Which batch is fetched next: the order of a plan's lanes. Reads and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class _Lane:
    waiting: list[Path]
    under_way: int = 0


@dataclass
class Lanes:
    """The batches of a plan, handed out one by one; the host with the most left to ask comes first.

    A host's own pace is what a run waits for in the end. `abreast` batches of one lane may be under way at once: one
    where they run in processes that know nothing of each other; several where they share a door, so that the last
    slow answers of a batch do not keep the next one waiting.
    """

    lanes: Iterable[Iterable[Path]]
    abreast: int
    _lanes: list[_Lane] = field(init=False)
    _of: dict[Path, _Lane] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing is under way."""
        self._lanes = [_Lane(list(lane)) for lane in self.lanes]

    def begin(self) -> Path | None:
        """Return a batch to be run now; None where all that wait are behind others of their lane."""
        ready = [lane for lane in self._lanes if lane.waiting and lane.under_way < self.abreast]
        if not ready:
            return None
        lane = max(ready, key=lambda lane: len(lane.waiting))
        batch = lane.waiting.pop(0)
        lane.under_way += 1
        self._of[batch] = lane
        return batch

    def ended(self, batch: Path) -> None:
        """Let the next batch of its lane begin."""
        self._of.pop(batch).under_way -= 1

    @property
    def under_way(self) -> int:
        """Batches that have begun and not ended."""
        return len(self._of)
