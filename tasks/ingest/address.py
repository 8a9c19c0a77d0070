"""What a batch knows of an address. Reads and writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Address:
    """One address of a batch."""

    url: str
    label: str
    part: Path
    """Where its body lies while it arrives."""
    local: bool = False
    """A file of this machine, offered by a source that reads this machine."""
