"""Rule: which rate is right is decided here, from what the service answered; times are arguments, no clock is read."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Final

from asyncgg.ratelimit.estimator import Estimator
from asyncgg.ratelimit.policy import RateStatistics, require_positive
from asyncgg.ratelimit.quota import DOCUMENTED_QUOTA, default_burst

__all__ = ["AdaptiveRate"]

# Chosen on the grid of benchmarks/adaptive_grid.py. Slopes are fractions of a common measure (see `_reference_rate`) a second.
_RAMP_GROWTH, _RAMP_GROWTH_CONFIGURED = 0.3, 0.95  # growth a second, exponential; where a user vouches for the ceiling
_VERIFY_FACTOR: Final = 0.9  # of the rate before; cheap if it was an accident, and still too fast if it was not
_VERIFY_REPLIES: Final = 10  # a service that has nothing saved up shows an excess of a tenth within ten requests
_REVERIFY_REPLIES: Final = (
    20  # replies before another doubt, for each one before: a steady excess is not doubted for ever
)
_VERIFY_MAX_MULTIPLE: Final = (
    1.7  # times the documented quota: above it a throttle that brings a pause is dear to doubt
)
_HOLD_FRACTION, _BACKOFF_FRACTION = (
    0.94,
    0.9,
)  # of the estimate: where the hold begins, and where the very first moment does
_RECOVERY_SLOPE, _HOLD_SLOPE, _PROBE_SLOPE, _EXCESS_SLOPE = 0.06, 0.009, 0.03, 0.12  # slopes
_MAX_EXCESS: Final = 2.0  # times that slope, where the evidence is strong
_MIN_HOLD: Final = 3.5  # seconds, at least
_HOLD_AFTER_FALLBACK: Final = 2.0  # seconds, where the estimate is a guess and waiting would only add to a pause
_HOLD_REQUESTS, _MAX_HOLD_SLOW_RATE = 60.0, 8.0  # slow rates hold for so many requests, or seconds at most
_MAX_HOLD: Final = 60.0  # seconds, where nothing is to be gained: an estimate near the best, found again and again
_HOLD_PER_LOST_SECOND: Final = 20.0  # times what a pause wastes: then that is about 5 % of the time
_MAX_HOLD_BELOW_BEST: Final = 7.0  # seconds at most, whatever a pause wastes, where others may leave and give more
_SHARE_HOLD: Final = 60.0  # seconds, doubled each time, up to:
_MAX_SHARE_HOLD: Final = 900.0
_NEAR_BEST, _STABLE_TOLERANCE = 0.9, 0.06
_STABLE_FRACTION: Final = 0.99  # of the estimate, held for long
_EARLY_THROTTLE_REPLIES: Final = 15  # accepted requests before which a throttle says that the cut was not enough
_MIN_RATE_TO_ESTIMATE: Final = 0.8  # part of the estimate that the rate may be, after several cuts
_BACKOFF_FACTORS: Final = (0.95, 0.85, 0.75)  # the first only if the estimate was sure
_EARLY_THROTTLE_FACTOR: Final = 0.95  # of the rate, at most, where a throttle comes before the estimate was reached
_MAX_REFERENCE_MULTIPLE: Final = 5.0  # the common measure is at most so many times the estimate
_REFERENCE_LATENCY, _LATENCY_EXPONENT = 0.13, 0.6  # seconds of a round trip; slopes fall with this power of longer ones
_BURST_DELAY: Final = 2.5  # seconds after a cut


class _Phase(Enum):
    """What the rate does, and why."""

    RAMPING = auto()
    """It grows towards a ceiling that nobody has contradicted yet."""
    CEILING = auto()
    """It is the ceiling."""
    VERIFYING = auto()
    """It waits a little lower for a second throttle, before it believes the first."""
    TRACKING = auto()
    """It follows an estimate: a little below it, then slowly above, until the service says no."""


class AdaptiveRate:
    """Follows a quota it can only feel: never above `ceiling`, lowered by throttles, raised again carefully.

    - **Opening.** It starts at the documented quota (or the ceiling, if lower). A higher ceiling is tried after
      `patience` seconds (none: it is the user's word against the documentation's), by growth. With a `patience`, the
      documented quota is the ceiling as soon as the service has shown that it gives no more.
    - **Doubt.** One throttle amid accepted requests can be an accident. As long as nothing was cut since the start (or
      the ceiling), the rate goes down by a tenth for ten replies. A second throttle is believed; otherwise all goes on.
    - **Estimate.** A believed throttle means that the service's bucket is empty. What was accepted since it was empty
      before is what it gives (`RefillMeter`): the estimate. Requests sent before a cut say nothing about the rate after it.
    - **Riding.** A little below the estimate for a hold, so that the service recovers some requests, then slowly above
      it: where nothing changed a throttle or two say so. More accepted than the estimate explains, and it rises fast.
      Slopes are absolute, cuts relative: so those who share a quota come to equal parts.
    - A throttle right after a cut means that much less is free now: cut deeper each time, until it stops.
    - Where the estimate is the best ever seen the holds grow to a minute. So they do with the pauses that are lost.
    - **Share.** With a `share` below 1 the ceiling is that part of an expected quota, and a believed throttle says that
      the quota is lower: the share of the estimate is the most for a minute, then two, up to a quarter of an hour.
    - Time counts only while requests are accepted: idling and pauses are no evidence.
    - **Burst.** 1 where unsure, in doubt and after a cut; `default_burst` otherwise. A `burst` given holds from the
      beginning, until the first throttle.

    `ceiling` and `floor` (requests a second) bound the rate; it does not fall below a fiftieth of the documented quota
    either. Deterministic. Raises `UsageError` for impossible numbers.
    """

    __slots__ = (
        "_accepted_since_throttle",
        "_backed_off_at",
        "_burst",
        "_ceiling",
        "_counted_until",
        "_documented",
        "_early_throttles",
        "_estimate",
        "_estimator",
        "_evidence_seconds",
        "_floor",
        "_hold",
        "_phase",
        "_probe_after",
        "_rate",
        "_round_trip",
        "_saved_state",
        "_share",
        "_share_overruns",
        "_stable_estimates",
        "_throttle_events",
        "_verifications",
    )

    def __init__(
        self,
        ceiling: float,
        *,
        documented: float = DOCUMENTED_QUOTA,
        floor: float = 0.2,
        burst: float | None = None,
        probe_after: float = 0.0,
        share: float = 1.0,
    ) -> None:
        self._ceiling = require_positive("ceiling", ceiling)
        self._documented = min(require_positive("documented quota", documented), ceiling)
        self._floor = min(max(require_positive("floor", floor), self._documented / 50), self._documented)
        self._share = min(1.0, require_positive("share", share))
        self._burst = burst
        self._probe_after = probe_after
        self._rate = self._estimate = self._documented
        self._phase = _Phase.RAMPING if self._rate < ceiling else _Phase.CEILING
        self._saved_state = (self._phase, 0.0, self._rate)  # phase, age and rate to go on with when a doubt is over
        self._verifications = 0  # since the start, or since the ceiling was reached after a cut
        self._estimator = Estimator(self._documented)
        self._early_throttles = 0  # throttles in a row that came right after a cut
        self._stable_estimates = 0  # estimates in a row that were alike
        self._share_overruns = 0  # times a share's estimate was overstepped again
        self._hold = 0.0
        self._evidence_seconds = 0.0  # seconds of evidence since the start or the last throttle that was news
        self._accepted_since_throttle = 0  # accepted since then
        self._counted_until: float | None = None  # up to when time has been counted
        self._round_trip = 0.0
        self._backed_off_at = -math.inf
        self._throttle_events = 0

    @property
    def rate(self) -> float:
        """The rate to use now."""
        return self._rate

    @property
    def burst(self) -> float:
        """The burst to use now, in requests."""
        cautious = self._phase in (_Phase.RAMPING, _Phase.VERIFYING)
        cautious = cautious or (self._phase is _Phase.TRACKING and self._evidence_seconds < _BURST_DELAY)
        if cautious and (self._burst is None or self._throttle_events):
            return 1.0
        return default_burst(self._rate) if self._burst is None else self._burst

    def statistics(self) -> RateStatistics:
        """The policy as it stands now."""
        return RateStatistics(self._rate, self.burst, self._ceiling, self._throttle_events)

    def on_accepted(self, started: float, now: float) -> float:
        """Count the evidence and move. Returns the rate to use from now on."""
        seconds = self._elapsed(now)
        self._estimator.meter.advance(seconds)
        self._estimator.meter.record_accepted()
        self._round_trip += (0.05 if self._round_trip else 1.0) * (now - started - self._round_trip)
        if started < self._backed_off_at:
            return self._rate
        self._evidence_seconds += seconds
        self._accepted_since_throttle += 1
        if self._phase is _Phase.VERIFYING:
            if self._accepted_since_throttle < _VERIFY_REPLIES:
                return self._rate
            self._phase, self._evidence_seconds, self._rate = self._saved_state
        self._advance(seconds)
        if self._rate == self._ceiling:
            self._on_ceiling_reached()
        return self._rate

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Lower the rate if this throttle is news. Returns the rate to use from now on."""
        pause = max(0.0, retry_after or 0.0)
        self._estimator.meter.advance(self._elapsed(now))
        if started >= self._backed_off_at:
            if self._may_be_spurious(pause):
                self._probe_down()
            elif self._phase is _Phase.TRACKING and self._accepted_since_throttle <= _EARLY_THROTTLE_REPLIES:
                self._back_off_further(pause)
            else:
                self._back_off(pause)
            self._backed_off_at = now
            self._evidence_seconds = 0.0
            self._accepted_since_throttle = 0
            self._throttle_events += 1
        self._estimator.on_throttle()
        self._counted_until = max(now + pause, self._counted_until or now)
        return self._rate

    def _elapsed(self, now: float) -> float:
        """Seconds of sending since the reply before; a gap is no evidence."""
        previous = self._counted_until if self._counted_until is not None else now
        self._counted_until = max(now, previous)
        return min(self._counted_until - previous, max(0.25, 2 / self._rate))

    def _advance(self, seconds: float) -> None:
        """Go on for so long, within the bounds."""
        rate = self._rate
        seconds /= self._latency_factor()
        if self._phase is _Phase.RAMPING:
            if self._evidence_seconds > self._probe_after:
                rate *= math.exp((_RAMP_GROWTH if self._probe_after else _RAMP_GROWTH_CONFIGURED) * seconds)
        elif self._phase is _Phase.TRACKING:
            rate += self._slope() * self._reference_rate() * seconds
        self._rate = max(self._floor, min(self._ceiling, rate))

    def _slope(self) -> float:
        """How fast to ride, in the common measure."""
        if self._share < 1:
            return 0.0 if self._evidence_seconds < self._hold else _PROBE_SLOPE
        excess = self._estimator.excess(self._estimate)
        if excess > 1 and self._evidence_seconds > 1:
            distance_factor = max(1.0, self._documented / self._reference_rate())  # it was starved: come back at once
            return _EXCESS_SLOPE * min(_MAX_EXCESS, excess) * distance_factor
        if self._evidence_seconds >= self._hold:
            return _PROBE_SLOPE
        if self._rate < _HOLD_FRACTION * self._estimate:
            return _RECOVERY_SLOPE + _HOLD_SLOPE
        return 0.0 if self._stable_estimates > 1 and self._rate > _STABLE_FRACTION * self._estimate else _HOLD_SLOPE

    def _reference_rate(self) -> float:
        """What slopes are fractions of: the same for all who share a quota, as far as they can know."""
        return min(max(self._documented, self._estimate), _MAX_REFERENCE_MULTIPLE * self._estimate)

    def _on_ceiling_reached(self) -> None:
        """The ceiling holds; what was refused on the way to it is forgotten."""
        if self._phase is _Phase.TRACKING:
            self._verifications = 0
        self._stable_estimates = self._share_overruns = 0
        self._phase = _Phase.CEILING

    def _may_be_spurious(self, pause: float) -> bool:
        """Whether this throttle may be an accident, and it pays to find out."""
        if self._accepted_since_throttle < max(1, _REVERIFY_REPLIES * self._verifications) or (
            pause and self._verifications
        ):
            return False
        if self._phase is _Phase.RAMPING:
            return not pause or self._rate <= _VERIFY_MAX_MULTIPLE * self._documented
        return self._phase is _Phase.CEILING

    def _probe_down(self) -> None:
        """Go a little slower until it is clear whether the throttle meant anything."""
        self._saved_state = (self._phase, self._evidence_seconds, self._rate)
        self._verifications += 1
        self._phase = _Phase.VERIFYING
        self._rate = max(self._floor, self._rate * _VERIFY_FACTOR)

    def _back_off(self, pause: float) -> None:
        """Believe it: estimate what is free, and go below that."""
        estimator, tracking = self._estimator, self._phase is _Phase.TRACKING
        estimate = estimator.estimate_rate(self._rate) if tracking else estimator.fallback_rate(self._rate)
        if tracking and self._evidence_seconds < self._hold:
            estimate = min(estimate, _EARLY_THROTTLE_FACTOR * self._rate)
        estimate = max(self._floor, min(estimate, self._rate))
        if estimator.confident and self._probe_after and estimator.best <= self._documented / _NEAR_BEST:
            self._ceiling = self._documented
        stable = tracking and abs(estimate - self._estimate) < _STABLE_TOLERANCE * self._estimate
        self._stable_estimates = self._stable_estimates + 1 if stable else 0
        self._early_throttles = 0
        self._phase = _Phase.TRACKING
        self._estimate = estimate
        if self._share < 1:
            self._hold = min(_SHARE_HOLD * 2.0**self._share_overruns, _MAX_SHARE_HOLD)
            self._share_overruns = min(self._share_overruns + 1, 10)
            self._rate = max(self._floor, self._share * estimate)
        else:
            self._hold = self._hold_seconds(pause)
            self._rate = max(self._floor, _BACKOFF_FRACTION * estimate)

    def _back_off_further(self, pause: float) -> None:
        """The cut before was not enough."""
        factor = _BACKOFF_FACTORS[
            min(self._early_throttles + (not self._estimator.confident), len(_BACKOFF_FACTORS) - 1)
        ]
        self._early_throttles += 1
        self._stable_estimates = 0
        self._estimate = max(self._floor, min(factor * self._estimate, self._rate / _MIN_RATE_TO_ESTIMATE))
        self._hold = max(self._hold, _HOLD_PER_LOST_SECOND * self._estimator.lost_seconds(pause, self._estimate))
        self._rate = max(self._floor, min(factor * self._rate, _BACKOFF_FRACTION * self._estimate))

    def _hold_seconds(self, pause: float) -> float:
        """Seconds to hold below the estimate before it is tried again."""
        estimate, estimator = self._estimate, self._estimator
        if pause and not estimator.confident:
            return _HOLD_AFTER_FALLBACK
        hold = max(_MIN_HOLD * self._latency_factor(), min(_MAX_HOLD_SLOW_RATE, _HOLD_REQUESTS / estimate))
        near_best = estimate >= _NEAR_BEST * estimator.best
        if near_best and self._stable_estimates > 1:
            hold = min(_MAX_HOLD, hold * 2.0 ** min(self._stable_estimates - 1, 6))
        return max(
            hold,
            min(
                _MAX_HOLD if near_best else _MAX_HOLD_BELOW_BEST,
                _HOLD_PER_LOST_SECOND * estimator.lost_seconds(pause, estimate),
            ),
        )

    def _latency_factor(self) -> float:
        """How much slower to move because answers take so long."""
        return math.pow(max(1.0, self._round_trip / _REFERENCE_LATENCY), _LATENCY_EXPONENT)
