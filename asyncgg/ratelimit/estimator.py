"""The estimate of the free rate of a service and of its burst."""

# The first meter starts with a full bucket and ends with the first throttle. It gives no rate, but
# once the rate is known, it gives the burst.

from __future__ import annotations

import math
from typing import Final

from asyncgg.ratelimit.gauge import RefillMeter

# Accepted requests that make an estimate a measurement.
_CONFIDENT_AFTER: Final = 25
# The prior of a measurement: its weight in requests, and its value as a part of the rate.
_PRIOR_WEIGHT, _PRIOR_FACTOR = 6.0, 0.9
# The estimate, as a part of the rate, if nothing was measured.
_FALLBACK_FACTOR: Final = 0.8
# Requests, and a part of all accepted ones, that may be noise.
_NOISE_REQUESTS, _NOISE_FRACTION = 3.0, 0.03
# The part of a pause that is lost if the burst is unknown.
_LOST_FRACTION: Final = 0.4


class Estimator:
    """Rate and burst of a service's bucket. Times are seconds in which requests were sent."""

    __slots__ = ("_first_meter", "best", "burst", "confident", "meter")

    def __init__(self, expected: float) -> None:
        self.meter = RefillMeter()
        """The measurement since the last throttle."""
        self.burst = math.inf
        """The burst of the service; infinite if unknown."""
        self.confident = False
        """Whether the last estimate was measured."""
        self.best = expected
        """The highest rate measured or expected."""
        self._first_meter: RefillMeter | None = None

    def on_throttle(self) -> None:
        """Start a new measurement: the service throttled, so its bucket is empty."""
        self.meter = RefillMeter()

    def fallback_rate(self, rate: float) -> float:
        """The free rate if `rate` is too high and no measurement is available."""
        if self._first_meter is None:
            self._first_meter = self.meter
        self.confident = False
        fallback = _FALLBACK_FACTOR * rate
        if self.meter.accepted < _CONFIDENT_AFTER or not self.meter.seconds:
            return fallback
        return min(fallback, self.meter.accepted / self.meter.seconds)

    def estimate_rate(self, rate: float) -> float:
        """The free rate by the requests accepted since the bucket was empty; `rate` is too high."""
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
        """Accepted requests beyond `estimate`, as a multiple of the noise."""
        meter = self.meter
        return meter.excess(estimate) / (_NOISE_REQUESTS + _NOISE_FRACTION * meter.accepted)

    def lost_seconds(self, pause: float, estimate: float) -> float:
        """Seconds of quota that a pause wastes: its tokens that do not fit into the bucket."""
        if math.isinf(self.burst):
            return _LOST_FRACTION * pause
        return max(0.0, pause - self.burst / estimate)

    def _record_estimate(self, estimate: float) -> None:
        self.best = max(self.best, estimate)
        if self._first_meter is not None:
            self.burst, self._first_meter = self._first_meter.burst(estimate), None
        elif math.isfinite(self.burst):
            self.burst = max(self.burst, self.meter.burst(estimate))
