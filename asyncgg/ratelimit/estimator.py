"""The estimate of the free rate of a service and of its burst, from the requests it accepted."""

# The first meter starts with a full bucket and ends with the first throttle. It gives no rate, but
# once the rate is known, it gives the burst.

from __future__ import annotations

import math
from typing import Final

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


_MAX_BINS: Final = 64
"""Maximum number of bins; more are merged in pairs."""
_INITIAL_BIN_SECONDS: Final = 0.1
"""Initial seconds of a bin."""
_BISECTIONS: Final = 16
"""Bisections of the interval that contains the rate."""


# A throttle means that the bucket is empty. So the tokens granted between two throttles are those
# that were refilled: the quota, or the free part of it. Only the tokens lost while the bucket was
# full are missing, and a known burst gives their number.
class RefillMeter:
    """Requests accepted since the bucket was empty. Only time of sending counts."""

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


class Estimator:
    """Rate and burst of a service's bucket. Times are seconds in which requests were sent."""

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
