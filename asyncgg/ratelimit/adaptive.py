"""The adaptive rate policy: finds the rate that the service accepts."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Final

from asyncgg.ratelimit.estimator import Estimator
from asyncgg.ratelimit.limiter import RateStatistics, require_positive
from asyncgg.ratelimit.quota import DOCUMENTED_QUOTA, default_burst

# Chosen with benchmarks/policy_grid.py. A slope is a fraction of `_reference_rate` per second.

# Exponential growth per second while ramping; the second value if the user configured the ceiling.
_RAMP_GROWTH, _RAMP_GROWTH_CONFIGURED = 0.3, 0.95
# Verification of a first throttle: slow down to this part of the rate for so many replies. A
# service without saved tokens throttles again within ten requests if the rate is a tenth too high.
_VERIFY_FACTOR, _VERIFY_REPLIES = 0.9, 10
# Replies needed before another verification, for each earlier one.
_REVERIFY_REPLIES: Final = 20
# Above this multiple of the documented quota, throttles that bring a pause are not verified.
_VERIFY_MAX_MULTIPLE: Final = 1.7
# Parts of the estimate: the rate during a hold, and the rate right after a throttle.
_HOLD_FRACTION, _BACKOFF_FRACTION = 0.94, 0.9
# Slopes: up to the hold, during the hold, above the estimate, and with excess acceptance.
_RECOVERY_SLOPE, _HOLD_SLOPE, _PROBE_SLOPE, _EXCESS_SLOPE = 0.06, 0.009, 0.03, 0.12
# Maximum multiple of `_EXCESS_SLOPE`.
_MAX_EXCESS: Final = 2.0
# Seconds of a hold: at least, and after a pause with an estimate that was not measured.
_MIN_HOLD, _HOLD_AFTER_FALLBACK = 3.5, 2.0
# Slow rates hold for so many requests, but at most for so many seconds.
_HOLD_REQUESTS, _MAX_HOLD_SLOW_RATE = 60.0, 8.0
# Maximum seconds of a hold near the best estimate, and below it, where other clients may leave.
_MAX_HOLD, _MAX_HOLD_BELOW_BEST = 60.0, 7.0
# Seconds of hold per second that a pause wastes: about 5 % of the time is lost then.
_HOLD_PER_LOST_SECOND: Final = 20.0
# Seconds of a hold with a share: doubled for each overrun, up to the maximum.
_SHARE_HOLD, _MAX_SHARE_HOLD = 60.0, 900.0
# The part of the best estimate that is near it; the relative difference of stable estimates.
_NEAR_BEST, _STABLE_TOLERANCE = 0.9, 0.06
# The part of a stable estimate that is held.
_STABLE_FRACTION: Final = 0.99
# A throttle within so many replies after a back-off means that the back-off was too small.
_EARLY_THROTTLE_REPLIES: Final = 15
# The rate as a part of the estimate is at least this after several back-offs.
_MIN_RATE_TO_ESTIMATE: Final = 0.8
# Factors of consecutive back-offs; the first one only if the estimate was measured.
_BACKOFF_FACTORS: Final = (0.95, 0.85, 0.75)
# Maximum estimate, as a part of the rate, if a throttle comes before the hold has ended.
_EARLY_THROTTLE_FACTOR: Final = 0.95
# Maximum reference rate as a multiple of the estimate.
_MAX_REFERENCE_MULTIPLE: Final = 5.0
# Slopes fall with this power of the round-trip time above this value in seconds.
_REFERENCE_LATENCY, _LATENCY_EXPONENT = 0.13, 0.6
# Seconds after a back-off with a burst of 1.
_BURST_DELAY: Final = 2.5


class _Phase(Enum):
    RAMPING = auto()
    """It grows to the ceiling; no throttle has limited it yet."""
    CEILING = auto()
    """It is at the ceiling."""
    VERIFYING = auto()
    """It is slightly lower, to see whether a second throttle confirms the first one."""
    TRACKING = auto()
    """It follows an estimate: below it for a hold, then slowly above it until a throttle."""


class AdaptiveRate:
    """Follows an unknown quota: throttles lower the rate, accepted requests raise it.

    - **Ramping.** The rate starts at the documented quota, or at the ceiling if that is lower. It
      grows to a higher ceiling after `probe_after` seconds; 0 means that the user configured the
      ceiling. With `probe_after`, the documented quota becomes the ceiling once the service has
      shown no more.
    - **Verifying.** A single throttle can be spurious. Before the first back-off, and again at the
      ceiling, the rate falls by a tenth for ten replies. Only a second throttle causes a back-off.
    - **Estimate.** A confirmed throttle means that the service's bucket is empty. The requests
      accepted since it was last empty give the estimate (`RefillMeter`). Replies to requests that
      were sent before a back-off do not count.
    - **Tracking.** The rate stays below the estimate for a hold, then rises slowly above it. It
      rises fast when the service accepts more than the estimate explains. Slopes are absolute and
      back-offs relative, so clients that share a quota converge to equal rates.
    - A throttle right after a back-off causes further back-offs with increasing factors.
    - Holds grow up to a minute while the estimate stays near the best one, and with lost pauses.
    - **Share.** With `share` below 1 the ceiling is that part of an assumed quota. A confirmed
      throttle limits the rate to the share of the estimate for one minute, doubled up to 15
      minutes.
    - Only time in which requests are accepted counts; idle time and pauses are ignored.
    - **Burst.** 1 while ramping or verifying and after a back-off, else `default_burst`. A given
      `burst` is used from the start until the first throttle.

    `ceiling` and `floor` (requests per second) bound the rate; the floor is at least a fiftieth of
    the documented quota. Deterministic; times are arguments.

    Raises:
        UsageError: a number is not positive.
    """

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
        self._saved_state = (self._phase, 0.0, self._rate)  # phase, evidence and rate to restore after verifying
        self._verifications = 0  # since the start, or since the ceiling was reached after a back-off
        self._estimator = Estimator(self._documented)
        self._early_throttles = 0  # consecutive throttles right after a back-off
        self._stable_estimates = 0  # consecutive similar estimates
        self._share_overruns = 0  # throttles with a share
        self._hold = 0.0
        self._evidence_seconds = 0.0  # since the start or the last back-off
        self._accepted_since_throttle = 0  # replies since then
        self._counted_until: float | None = None  # time up to which evidence was counted
        self._round_trip = 0.0
        self._backed_off_at = -math.inf
        self._throttle_events = 0

    @property
    def rate(self) -> float:
        """The current rate."""
        return self._rate

    @property
    def burst(self) -> float:
        """The current burst in requests."""
        cautious = self._phase in (_Phase.RAMPING, _Phase.VERIFYING)
        cautious = cautious or (self._phase is _Phase.TRACKING and self._evidence_seconds < _BURST_DELAY)
        if cautious and (self._burst is None or self._throttle_events):
            return 1.0
        return default_burst(self._rate) if self._burst is None else self._burst

    def statistics(self) -> RateStatistics:
        """The current state."""
        return RateStatistics(self._rate, self.burst, self._ceiling, self._throttle_events)

    def on_accepted(self, started: float, now: float) -> float:
        """Count an accepted request; return the new rate."""
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
        """Lower the rate unless the request is older than the last back-off; return the rate."""
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
        """Seconds of sending since the last reply; gaps do not count."""
        previous = self._counted_until if self._counted_until is not None else now
        self._counted_until = max(now, previous)
        return min(self._counted_until - previous, max(0.25, 2 / self._rate))

    def _advance(self, seconds: float) -> None:
        rate = self._rate
        seconds /= self._latency_factor()
        if self._phase is _Phase.RAMPING:
            if self._evidence_seconds > self._probe_after:
                rate *= math.exp((_RAMP_GROWTH if self._probe_after else _RAMP_GROWTH_CONFIGURED) * seconds)
        elif self._phase is _Phase.TRACKING:
            rate += self._slope() * self._reference_rate() * seconds
        self._rate = max(self._floor, min(self._ceiling, rate))

    def _slope(self) -> float:
        if self._share < 1:
            return 0.0 if self._evidence_seconds < self._hold else _PROBE_SLOPE
        excess = self._estimator.excess(self._estimate)
        if excess > 1 and self._evidence_seconds > 1:
            distance_factor = max(1.0, self._documented / self._reference_rate())  # was starved: recover fast
            return _EXCESS_SLOPE * min(_MAX_EXCESS, excess) * distance_factor
        if self._evidence_seconds >= self._hold:
            return _PROBE_SLOPE
        if self._rate < _HOLD_FRACTION * self._estimate:
            return _RECOVERY_SLOPE + _HOLD_SLOPE
        return 0.0 if self._stable_estimates > 1 and self._rate > _STABLE_FRACTION * self._estimate else _HOLD_SLOPE

    def _reference_rate(self) -> float:
        """The unit of slopes: as far as possible the same for all clients of a quota."""
        return min(max(self._documented, self._estimate), _MAX_REFERENCE_MULTIPLE * self._estimate)

    def _on_ceiling_reached(self) -> None:
        """Enter the phase `CEILING` and forget earlier throttles."""
        if self._phase is _Phase.TRACKING:
            self._verifications = 0
        self._stable_estimates = self._share_overruns = 0
        self._phase = _Phase.CEILING

    def _may_be_spurious(self, pause: float) -> bool:
        """Whether the throttle may be spurious and is worth a verification."""
        if self._accepted_since_throttle < max(1, _REVERIFY_REPLIES * self._verifications) or (
            pause and self._verifications
        ):
            return False
        if self._phase is _Phase.RAMPING:
            return not pause or self._rate <= _VERIFY_MAX_MULTIPLE * self._documented
        return self._phase is _Phase.CEILING

    def _probe_down(self) -> None:
        """Slow down until the throttle is confirmed or not."""
        self._saved_state = (self._phase, self._evidence_seconds, self._rate)
        self._verifications += 1
        self._phase = _Phase.VERIFYING
        self._rate = max(self._floor, self._rate * _VERIFY_FACTOR)

    def _back_off(self, pause: float) -> None:
        """Estimate the free rate and go below it."""
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
        """Lower rate and estimate again after a back-off that was too small."""
        factor = _BACKOFF_FACTORS[
            min(self._early_throttles + (not self._estimator.confident), len(_BACKOFF_FACTORS) - 1)
        ]
        self._early_throttles += 1
        self._stable_estimates = 0
        self._estimate = max(self._floor, min(factor * self._estimate, self._rate / _MIN_RATE_TO_ESTIMATE))
        self._hold = max(self._hold, _HOLD_PER_LOST_SECOND * self._estimator.lost_seconds(pause, self._estimate))
        self._rate = max(self._floor, min(factor * self._rate, _BACKOFF_FRACTION * self._estimate))

    def _hold_seconds(self, pause: float) -> float:
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
        """The factor by which high latency slows changes down."""
        return math.pow(max(1.0, self._round_trip / _REFERENCE_LATENCY), _LATENCY_EXPONENT)
