"""Rule: how much of the quota is free is estimated here, from one gauge after the other; what to do about it, not.

The first gauge ends with the first throttle. It began with a full bucket, so it says nothing of the rate, but once
the rate is known, it tells the burst.
"""

from __future__ import annotations

import math
from typing import Final

from asyncgg.ratelimit.gauge import RefillMeter

__all__ = ["Estimator"]

_CONFIDENT_AFTER: Final = 25  # accepted requests that make an estimate one
_PRIOR_WEIGHT, _PRIOR_FACTOR = (
    6.0,
    0.9,
)  # requests that a guess weighs beside what was measured, and the guess as part of the rate
_FALLBACK_FACTOR: Final = 0.8  # the guess where nothing was measured
_NOISE_REQUESTS, _NOISE_FRACTION = 3.0, 0.03  # requests, and part of all accepted, that may be chance
_LOST_FRACTION: Final = 0.4  # of a pause, where the service's burst is not known


class Estimator:
    """What is known of the service's bucket. Rates are requests a second, times seconds in which requests were sent."""

    __slots__ = ("_first_meter", "best", "burst", "confident", "meter")

    def __init__(self, expected: float) -> None:
        self.meter = RefillMeter()
        """Since the last throttle."""
        self.burst = math.inf
        """The service's, as far as known."""
        self.confident = False
        """Whether the last estimate was measured, and not guessed."""
        self.best = expected
        """The highest that was measured, or expected."""
        self._first_meter: RefillMeter | None = None

    def on_throttle(self) -> None:
        """The service's bucket is empty now: it throttled."""
        self.meter = RefillMeter()

    def fallback_rate(self, rate: float) -> float:
        """What is free, when `rate` was too much and the bucket was never seen empty, or not lately."""
        if self._first_meter is None:
            self._first_meter = self.meter
        self.confident = False
        fallback = _FALLBACK_FACTOR * rate
        if self.meter.accepted < _CONFIDENT_AFTER or not self.meter.seconds:
            return fallback
        return min(fallback, self.meter.accepted / self.meter.seconds)

    def estimate_rate(self, rate: float) -> float:
        """What is free, from what was accepted since the bucket was empty, `rate` being too much now."""
        meter = self.meter
        self.confident = meter.accepted >= _CONFIDENT_AFTER
        if not meter.seconds:
            return _PRIOR_FACTOR * rate
        weight = meter.seconds * rate
        estimate = (meter.rate(self.burst) * weight + _PRIOR_FACTOR * rate * _PRIOR_WEIGHT) / (weight + _PRIOR_WEIGHT)
        if self.confident:
            self._record_estimate(estimate)
        return estimate

    def excess(self, estimate: float) -> float:
        """How much more was accepted than `estimate` gives out, as a multiple of what may be chance."""
        meter = self.meter
        return meter.excess(estimate) / (_NOISE_REQUESTS + _NOISE_FRACTION * meter.accepted)

    def lost_seconds(self, pause: float, estimate: float) -> float:
        """Seconds of the quota that a pause wastes: what fits into the service's bucket meanwhile is not lost."""
        if math.isinf(self.burst):
            return _LOST_FRACTION * pause
        return max(0.0, pause - self.burst / estimate)

    def _record_estimate(self, estimate: float) -> None:
        """What a sure estimate says beyond itself."""
        self.best = max(self.best, estimate)
        if self._first_meter is not None:
            self.burst, self._first_meter = self._first_meter.burst(estimate), None
        elif math.isfinite(self.burst):
            self.burst = max(self.burst, self.meter.burst(estimate))
