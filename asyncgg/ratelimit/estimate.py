"""Rule: how much of the quota is free is estimated here, from one gauge after the other; what to do about it, not.

The first gauge ends with the first throttle. It began with a full bucket, so it says nothing of the rate, but once
the rate is known, it tells the burst.
"""

from __future__ import annotations

import math
from typing import Final

from asyncgg.ratelimit.gauge import Gauge

__all__ = ["Estimator"]

_SURE: Final = 25  # accepted requests that make an estimate one
_WEIGHT, _GUESS = 6.0, 0.9  # requests that a guess weighs beside what was measured, and the guess as part of the rate
_BLIND: Final = 0.8  # the guess where nothing was measured
_SURPLUS, _SURPLUS_PART = 3.0, 0.03  # requests, and part of all accepted, that may be chance
_LOST_UNKNOWN: Final = 0.4  # of a pause, where the service's burst is not known


class Estimator:
    """What is known of the service's bucket. Rates are requests a second, times seconds in which requests were sent."""

    __slots__ = ("_first", "best", "burst", "gauge", "sure")

    def __init__(self, expected: float) -> None:
        self.gauge = Gauge()
        """Since the last throttle."""
        self.burst = math.inf
        """The service's, as far as known."""
        self.sure = False
        """Whether the last estimate was measured, and not guessed."""
        self.best = expected
        """The highest that was measured, or expected."""
        self._first: Gauge | None = None

    def empty(self) -> None:
        """The service's bucket is empty now: it throttled."""
        self.gauge = Gauge()

    def guess(self, rate: float) -> float:
        """What is free, when `rate` was too much and the bucket was never seen empty, or not lately."""
        if self._first is None:
            self._first = self.gauge
        self.sure = False
        guess = _BLIND * rate
        if self.gauge.accepted < _SURE or not self.gauge.seconds:
            return guess
        return min(guess, self.gauge.accepted / self.gauge.seconds)

    def measure(self, rate: float) -> float:
        """What is free, from what was accepted since the bucket was empty, `rate` being too much now."""
        gauge = self.gauge
        self.sure = gauge.accepted >= _SURE
        if not gauge.seconds:
            return _GUESS * rate
        weight = gauge.seconds * rate
        estimate = (gauge.rate(self.burst) * weight + _GUESS * rate * _WEIGHT) / (weight + _WEIGHT)
        if self.sure:
            self._learn(estimate)
        return estimate

    def surplus(self, estimate: float) -> float:
        """How much more was accepted than `estimate` gives out, as a multiple of what may be chance."""
        gauge = self.gauge
        return gauge.surplus(estimate) / (_SURPLUS + _SURPLUS_PART * gauge.accepted)

    def lost(self, pause: float, estimate: float) -> float:
        """Seconds of the quota that a pause wastes: what fits into the service's bucket meanwhile is not lost."""
        if math.isinf(self.burst):
            return _LOST_UNKNOWN * pause
        return max(0.0, pause - self.burst / estimate)

    def _learn(self, estimate: float) -> None:
        """What a sure estimate says beyond itself."""
        self.best = max(self.best, estimate)
        if self._first is not None:
            self.burst, self._first = self._first.burst(estimate), None
        elif math.isfinite(self.burst):
            self.burst = max(self.burst, self.gauge.burst(estimate))
