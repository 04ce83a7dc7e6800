"""The measurement of a service's token bucket from the requests it accepted."""

# A throttle means that the bucket is empty. So the tokens granted between two throttles are those
# that were refilled: the quota, or the free part of it. Only the tokens lost while the bucket was
# full are missing, and a known burst gives their number.

from __future__ import annotations

import math
from typing import Final

_MAX_BINS: Final = 64
"""Maximum number of bins; more are merged in pairs."""
_INITIAL_BIN_SECONDS: Final = 0.1
"""Initial seconds of a bin."""
_BISECTIONS: Final = 16
"""Bisections of the interval that contains the rate."""


class RefillMeter:
    """Requests accepted since the bucket was empty. Only time of sending counts."""

    __slots__ = ("_bin_seconds", "_bins", "accepted", "seconds")

    def __init__(self) -> None:
        self.accepted = 0
        """Accepted requests."""
        self.seconds = 0.0
        self._bins: list[tuple[float, int]] = [(0.0, 0)]
        self._bin_seconds = _INITIAL_BIN_SECONDS

    def advance(self, seconds: float) -> None:
        """Add seconds."""
        self.seconds += seconds
        if self._bins[-1][0] >= self._bin_seconds:
            if len(self._bins) == _MAX_BINS:
                self._bins = [(a + c, b + d) for (a, b), (c, d) in zip(self._bins[::2], self._bins[1::2], strict=True)]
                self._bin_seconds *= 2
            self._bins.append((0.0, 0))
        length, count = self._bins[-1]
        self._bins[-1] = (length + seconds, count)

    def record_accepted(self) -> None:
        """Add an accepted request."""
        self.accepted += 1
        length, count = self._bins[-1]
        self._bins[-1] = (length, count + 1)

    def rate(self, burst: float) -> float:
        """The refill rate if a bucket of `burst` was empty at the start and is empty now."""
        if not self.seconds:
            return 0.0
        low = high = self.accepted / self.seconds  # exact if the bucket was never full
        if math.isinf(burst):
            return low
        high = max([low, *(count / length for length, count in self._bins if length >= 0.9 * self._bin_seconds)])
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if self._tokens_now(middle, burst) < 0:
                low = middle
            else:
                high = middle
        return high

    def burst(self, rate: float) -> float:
        """The minimum burst that explains the accepted requests at `rate`; 1 or more."""
        drawn = peak = 0.0
        for length, count in self._bins:
            drawn = max(0.0, drawn + count - rate * length)
            peak = max(peak, drawn)
        return max(1.0, peak)

    def excess(self, rate: float) -> float:
        """Accepted requests beyond those that `rate` explains."""
        return self.accepted - rate * self.seconds

    def _tokens_now(self, rate: float, burst: float) -> float:
        """Tokens in the bucket now if it was empty at the start; negative if `rate` is too low."""
        level = 0.0
        for length, count in self._bins:
            level = min(burst, level + rate * length - count)
        return level
