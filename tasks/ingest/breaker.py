"""When a host counts as down: after many failures in a row it is left alone, then asked once, then given up.

Pure: every method takes the time, in seconds of one clock. Reads and writes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

OPENS_AFTER = 12  # failures in a row, no good answer between them
GIVEN_UP_FOR = 600.0  # seconds
_WAITS = (2.0, 8.0)  # seconds before the first and the second probe


@dataclass(slots=True)
class Breaker:
    """A circuit breaker with a half-open state (Nygard, Release It!, 2007)."""

    max_wait: float
    """Longest wait before a probe, in seconds."""
    failures: int = 0
    """Since the last good answer."""
    _openings: int = 0
    _probe_at: float = 0.0
    _probing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the host counts as down until a probe succeeds."""
        return self._openings > 0

    def wait(self, now: float, under_way: int) -> float:
        """Return the seconds until the next request may be sent; infinite = one that is under way tells.

        A probe is sent alone, so a failure while it is under way is its own.
        """
        if not self.is_open:
            return 0.0
        return math.inf if under_way else max(0.0, self._probe_at - now)

    def sent(self) -> None:
        """Count a request; one that is sent while the breaker is open is the probe."""
        self._probing = self.is_open

    def succeeded(self) -> None:
        """Close: the host is up."""
        self.failures, self._openings, self._probing = 0, 0, False

    def failed(self, now: float) -> bool:
        """Count a failure; return whether the host is to be given up, for GIVEN_UP_FOR seconds."""
        self.failures += 1
        if not self._probing and (self.is_open or self.failures < OPENS_AFTER):
            return False  # while it is open: a request that was under way when it opened
        self._probing = False
        hopeless = self._openings == len(_WAITS)
        self._openings = min(self._openings + 1, len(_WAITS))
        self._probe_at = now + (GIVEN_UP_FOR if hopeless else min(self.max_wait, _WAITS[self._openings - 1]))
        return hopeless
