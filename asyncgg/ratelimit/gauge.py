"""Rule: what the service's token bucket must have been like is worked out here, from what it accepted; no decisions.

A throttle says that the bucket was empty. So between two throttles it gave out what came in, and what came in is the
quota: the part of it that was free, if others draw on it too. Only what ran over while the bucket was full is missing,
and a known burst tells how much that was.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["RefillMeter"]

_MAX_BINS: Final = 64
"""When there are more they are joined in pairs: a long quiet time needs no fine record."""
_INITIAL_BIN_SECONDS: Final = 0.1
"""Seconds of a bin at the beginning."""
_BISECTIONS: Final = 16
"""Of the interval in which the rate lies; finer than the figures it comes from."""


class RefillMeter:
    """What was accepted since the bucket was last seen empty. Times are seconds in which requests were being sent."""

    __slots__ = ("_bin_seconds", "_bins", "accepted", "seconds")

    def __init__(self) -> None:
        self.accepted = 0
        """Requests."""
        self.seconds = 0.0
        self._bins: list[tuple[float, int]] = [(0.0, 0)]
        self._bin_seconds = _INITIAL_BIN_SECONDS

    def advance(self, seconds: float) -> None:
        """So much time went by."""
        self.seconds += seconds
        if self._bins[-1][0] >= self._bin_seconds:
            if len(self._bins) == _MAX_BINS:
                self._bins = [(a + c, b + d) for (a, b), (c, d) in zip(self._bins[::2], self._bins[1::2], strict=True)]
                self._bin_seconds *= 2
            self._bins.append((0.0, 0))
        length, count = self._bins[-1]
        self._bins[-1] = (length + seconds, count)

    def record_accepted(self) -> None:
        """One more request was accepted."""
        self.accepted += 1
        length, count = self._bins[-1]
        self._bins[-1] = (length, count + 1)

    def rate(self, burst: float) -> float:
        """The quota, requests a second, if the bucket, which holds `burst`, was empty at the beginning and is now."""
        if not self.seconds:
            return 0.0
        low = high = self.accepted / self.seconds  # exact if nothing ran over
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
        """The least a bucket filled at `rate` must hold to have accepted all this, in requests; 1 or more."""
        drawn = peak = 0.0
        for length, count in self._bins:
            drawn = max(0.0, drawn + count - rate * length)
            peak = max(peak, drawn)
        return max(1.0, peak)

    def excess(self, rate: float) -> float:
        """How many more were accepted than `rate` gives out: more than a few speak for a higher one."""
        return self.accepted - rate * self.seconds

    def _tokens_now(self, rate: float, burst: float) -> float:
        """What is in the bucket now, if it was empty at the beginning; negative if `rate` does not explain so much."""
        level = 0.0
        for length, count in self._bins:
            level = min(burst, level + rate * length - count)
        return level
