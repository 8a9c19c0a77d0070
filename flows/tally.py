"""What a collection has fetched so far, whichever processes do the work.

Reads the journals of the batches under way, each line once; writes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.core.tables import KEPT
from tasks.ingest.journal import SUFFIX

_SHOWN = 3  # refusals named beside a progress bar


@dataclass
class _Counted:
    outcomes: Counter[str] = field(default_factory=Counter)
    received: int = 0  # bytes
    offset: int = 0  # bytes of the journal that have been read: it may grow to 100 MB, and is looked at twice a second


@dataclass
class Tally:
    """Addresses by outcome and bytes received: of ended batches, and of those under way as far as they are."""

    ledger: Path
    """The folder of the ledger, where the journals lie."""
    _ended: _Counted = field(default_factory=_Counted)
    _under_way: dict[str, _Counted] = field(default_factory=dict)

    def look(self) -> None:
        """Count what the journals have got since the last look."""
        for path in self.ledger.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError), path.open("rb") as journal:
                counted = self._under_way.setdefault(path.name.removesuffix(SUFFIX), _Counted())
                journal.seek(counted.offset)
                new = journal.read()
                whole = new[: new.rfind(b"\n") + 1]
                counted.offset += len(whole)
                for line in whole.splitlines():
                    with suppress(ValueError, KeyError):  # torn by a full disk
                        row = json.loads(line)
                        counted.outcomes[row["outcome"]] += 1
                        counted.received += row.get("received", 0)

    def finished(self, batch: str, passed: dict[str, Any]) -> None:
        """Take what an ended batch returned for what its journal said."""
        self._under_way.pop(batch, None)
        self._ended.outcomes.update(passed["outcomes"])
        self._ended.received += passed["received"]

    @property
    def outcomes(self) -> Counter[str]:
        """Addresses by outcome."""
        return sum((counted.outcomes for counted in self._under_way.values()), self._ended.outcomes)

    @property
    def asked(self) -> int:
        """Addresses that have an outcome."""
        return self.outcomes.total()

    def note(self, seconds: float) -> str:
        """Say how fast it goes and what is refused most, after `seconds` of work."""
        received = self._ended.received + sum(counted.received for counted in self._under_way.values())
        seconds = max(seconds, 1e-9)
        outcomes = self.outcomes
        refused = [f"{count} {slug}" for slug, count in outcomes.most_common() if slug != KEPT]
        more = [f"{len(refused) - _SHOWN} other reasons"] if len(refused) > _SHOWN else []
        speed = f"{outcomes.total() / seconds:.0f} images/s, {received / seconds / 1e6:.1f} MB/s"
        return f"{speed}; {', '.join([f'{outcomes[KEPT]} kept', *refused[:_SHOWN], *more])}"
