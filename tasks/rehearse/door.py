"""Foretells what must become of each address of a photo site, by the rules of the recipe.

Reads the headers of pictures. Writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.rehearse.faults import KEPT, KINDS
from tasks.rehearse.pictures import size_of
from tasks.rehearse.plan import Address
from tasks.rehearse.posts import Shot
from tasks.rehearse.sources import Slot

SIDES = {"square": 75, "thumb": 100, "small": 240}  # longest side in pixels; larger words get the picture as it is


@dataclass(frozen=True)
class Door:
    """The rules an address is judged by."""

    folder: Path  # of the site
    rules: dict[str, Any]  # the recipe's `ingest:` block, complete

    def address(self, slot: Slot, shot: Shot, *, place: tuple[str, str], licence: str | None) -> Address:
        """Return the address that serves `shot`; `place` is its path and the key the site finds it by."""
        expected = self._expected(slot, shot, licence)
        scaled = slot.options.get("photo_size") in SIDES
        verdict = KINDS[shot.kind].verdict if expected == KEPT and not scaled else None
        inside = shot.file.is_relative_to(self.folder)
        return Address(
            path=place[0],
            key=place[1],
            kind=shot.kind,
            label=slot.label,
            source=slot.number,
            file=(shot.file.relative_to(self.folder) if inside else shot.file).as_posix(),
            expected=expected,
            verdict=verdict,
        )

    def _expected(self, slot: Slot, shot: Shot, licence: str | None) -> str | None:
        expected = KINDS[shot.kind].expected
        if expected is None:
            return None
        if licence not in self._licences(licence):
            return "licence-refused"
        if expected == KEPT and self._shorter_side(slot, shot) < self.rules["min_side"]:
            return "too-small"
        return expected

    def _licences(self, licence: str | None) -> tuple[str | None, ...]:
        accepted = self.rules["licences"]
        if accepted == "any":
            return (licence,)
        return tuple(accepted.split(",") if isinstance(accepted, str) else accepted)

    def _shorter_side(self, slot: Slot, shot: Shot) -> int:
        width, height = size_of(shot.file)
        size = slot.options.get("photo_size")
        if size not in SIDES:
            return min(width, height)
        side = SIDES[size]
        if size == "square":
            return side
        return round(min(width, height) * min(1.0, side / max(width, height)))
