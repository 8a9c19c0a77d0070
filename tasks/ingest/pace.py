"""How fast one host is asked: a token bucket whose rate falls at once and comes back slowly.

Pure: every method takes the time, in seconds of one clock. Reads and writes nothing.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

_SLOWEST = 0.1  # requests a second
_STEPS = 100  # good answers that bring the rate from nothing back to the most
_REMEMBERED = 20  # requests that the rate really sent is measured over
_LATELY = 10.0  # seconds; older requests say nothing of the rate that was refused
_BETWEEN = 1.0  # seconds between two halvings: the refusals of one burst are one refusal
_NEARLY = 1 - 1e-6  # of a token; a wait of exactly the time needed ends a rounding error short of a whole one


@dataclass(slots=True)
class Pace:
    """The rate one host is asked at: additive increase, multiplicative decrease (Chiu and Jain, 1989)."""

    most: float
    """Requests a second that are never exceeded."""
    burst: int
    """Requests that may follow each other at once after a quiet time, while the rate is the most; no more than a
    second's."""
    rate: float = field(init=False)
    """Requests a second now."""
    _tokens: float = field(init=False)
    _filled: float = field(default=-math.inf, init=False)
    _slowed: float = field(default=-math.inf, init=False)
    _sent: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED), init=False)

    def __post_init__(self) -> None:
        """Begin at the most, with a whole burst."""
        self.rate = self.most
        self.burst = max(1, min(self.burst, int(self.most)))
        self._tokens = float(self.burst)

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may be sent; 0 = now."""
        most = self.burst if self.rate >= self.most else 1
        if now > self._filled:
            self._tokens = min(most, self._tokens + min(now - self._filled, 1e9) * self.rate)
            self._filled = now
        return 0.0 if self._tokens >= _NEARLY else (1 - self._tokens) / self.rate

    def send(self, now: float) -> None:
        """Count a request that is sent now."""
        self._tokens -= 1
        self._sent.append(now)

    def good(self) -> None:
        """Grow by a hundredth of the most: the host answered well."""
        self.rate = min(self.most, self.rate + self.most / _STEPS)

    def refused(self, now: float) -> None:
        """Fall to half of what was really sent lately: the host said that it is too much."""
        if now - self._slowed < _BETWEEN:
            return
        self._slowed = now
        lately = [moment for moment in self._sent if moment > now - _LATELY]
        sent = (len(lately) - 1) / (now - lately[0]) if len(lately) > 1 and now > lately[0] else self.rate
        self.rate = max(min(_SLOWEST, self.most), min(self.rate, sent) / 2)
        self._tokens = min(self._tokens, 0.0)

    def limit(self, delay: float) -> None:
        """Leave `delay` seconds between two requests from now on, and more where it is slower already."""
        if delay <= 0 or 1 / delay >= self.most:
            return
        self.most = 1 / delay
        self.rate = min(self.rate, self.most)
        self.burst = 1
        self._tokens = min(self._tokens, 0.0)
