"""The adaptive rate policy: finds the rate that the service accepts, however the service counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from asyncgg.events import RateReason
from asyncgg.ratelimit.limiter import RateStatistics, require_positive
from asyncgg.ratelimit.quota import DOCUMENTED_QUOTA, default_burst


@dataclass(frozen=True, slots=True)
class AdaptiveParameters:
    """The constants of `AdaptiveRate`, chosen with benchmarks/policy_grid.py."""

    backoff: float = 0.02
    """Part of the rate that a throttle event takes away."""
    unproven_backoff: float = 0.1
    """The same above the best known rate."""
    throttled_share: float = 0.014
    """Throttle events per request at which the rate settles. A service that throttles at random is
    used fully only if some requests are throttled."""
    searching_share: float = 0.08
    """The same far below the best known rate, where the cause may end at any time."""
    start_margin: float = 1.0
    """Requests per second below the quota at the start. A service that counts in windows of a
    second admits as many evenly spaced requests without a throttle."""
    start_seconds: float = 5.0
    """Seconds in which the rate rises from there to the ceiling."""
    overload_ratio: float = 6.0
    """Events relative to the expected number that are not yet overload."""
    overload_events: float = 1.95
    """Events in excess of that number that mean overload."""
    evidence: float = 60.0
    """Requests that count for the current rate when a lower one is measured."""
    event_requests: int = 5
    """Accepted requests that end a throttle event."""
    quiet_gaps: float = 3.0
    """Expected gaps between two events, without an event, after which the rate grows fast."""
    recovery: float = 5.0
    """Growth per second then, times the missing part of the best known rate."""
    exploration: float = 0.3
    """Growth per second above the best known rate."""
    search_seconds: float = 1.0
    """Seconds without an event, far below the best known rate, after which the rate grows fast."""
    search_requests: float = 30.0
    """Accepted requests that must have passed then too: each search costs other clients a throttle."""
    fairness: float = 0.2
    """Part of the way to half of the best known rate that a search without success moves the rate:
    runs that share a quota become equal."""
    memory: float = 600.0
    """Seconds in which the best known rate falls to a third if it is not reached."""


_LARGE_GROWTH: Final = 0.9
"""Growth that a throttle undoes starts below this part of the rate."""
_MAX_COUNTER_DELAY: Final = 2.0
"""Seconds by which the counter of a service can be late."""
_SAVED_FRACTION: Final = 0.5
"""The part of the tokens of a pause that the service may have saved."""
_FAR_BELOW: Final = 0.82
"""The part of the best known rate that is far below it."""
_MAX_START_MARGIN: Final = 0.2
"""The part of the quota that the start margin may be."""
_SEARCH_ROUND_TRIPS: Final = 5
"""Minimum round trips of a search, which overshoots for one."""
_SHORT_ROUND_TRIP: Final = 0.2
"""Seconds of a round trip above which growth is slower."""
_ROUND_TRIP_WEIGHT: Final = 0.1
"""Weight of the last round trip in the mean."""
_LATE_TIMERS: Final = 0.005
"""Seconds by which timers can be late without a loss of throughput, below the ceiling."""
_MIN_IN_FLIGHT: Final = 20
"""Requests in flight whose throttled share is a measurement."""
_OVERLOAD_WEIGHT: Final = 10.0
"""How much a high share of throttles reduces `AdaptiveParameters.evidence`."""
_SHARE_HOLD, _MAX_SHARE_HOLD = 60.0, 900.0
"""Seconds for which a lowered share holds: doubled each time, up to the maximum."""
_SHARE_FALLBACK: Final = 0.8
"""The quota as a part of the rate, if a share of an assumed quota is throttled."""


class AdaptiveRate:
    """Uses as much of an unknown quota as the service accepts, and never more than `ceiling`.

    - **Start.** At the documented quota, or at a ceiling below it. If they are equal, the rate starts
      one request per second lower and reaches them within seconds. It grows to a higher ceiling while nothing is
      throttled, after `explore_after` seconds' worth of requests.
    - **Throttle event.** Throttles that belong together are one event: those of requests in flight,
      and those within the delay of the service's counter, which is the longest time without an
      accepted request so far. While nothing is accepted the rate is halved, twice at first and then every 2 s.
    - **Down.** An event lowers the rate by a small part. Events far more often than expected mean
      overload: the rate accepted since the first of them is then a measurement.
    - **Up.** Accepted requests raise the rate as much as keeps the share of events at a target. An
      event costs its throttles and the requests that could have been sent meanwhile, so a service
      with pauses or a late counter is probed less.
    - **Search.** After a long time without an event the rate grows fast to the best known rate; far
      below it, after a second. An event undoes such growth; far below the best known rate it means
      that others use the quota too, and moves the rate towards half of it.
    - Only requests that had to wait for the limiter raise the rate.
    - **Share.** With `share` below 1 the ceiling is that part of an assumed quota. Overload means
      that the quota is lower: its share is the limit for a minute, doubled up to 15 minutes.
    - **Burst.** Without throttles `burst`, by default `default_burst`; below the ceiling
      just enough for late timers, and 1 during an event.

    The floor is a fiftieth of the documented quota. Deterministic; times are arguments.

    Raises:
        UsageError: a number is not positive.
    """

    def __init__(
        self,
        ceiling: float,
        *,
        documented: float = DOCUMENTED_QUOTA,
        burst: float | None = None,
        explore_after: float = 0.0,
        share: float = 1.0,
        parameters: AdaptiveParameters | None = None,
    ) -> None:
        self._ceiling = self._limit = require_positive("ceiling", ceiling)
        self._rate = self._best = min(require_positive("documented quota", documented), ceiling)
        self._floor = self._rate / 50
        self._burst = burst
        self._explore_after = explore_after * self._rate  # in requests
        self._share = min(1.0, require_positive("share", share))
        self._parameters = parameters or AdaptiveParameters()
        self._start_margin = 0.0
        if self._share == 1 and ceiling <= documented:
            margin = min(self._parameters.start_margin, _MAX_START_MARGIN * documented)
            self._start_margin = max(0.0, ceiling - (documented - margin))
            self._rate -= self._start_margin
        self.reason = RateReason.STARTED
        """Why the rate changed last."""
        self._throttle_events = 0
        self._accepted = 0  # since the last event, without those that ended it
        # The current or last event.
        self._event_open = self._event_costs = False
        self._event_at = self._lowered_at = -math.inf
        self._event_throttled = self._event_accepted = 0
        self._flight_throttled = self._flight_accepted = 0  # of the requests in flight when the event began
        self._event_paused_until = -math.inf
        self._blocked_steps = 0
        # Events so far.
        self._cost = 1.0  # requests lost per event
        self._quiet_after = math.inf  # accepted requests after which the absence of events is evidence
        self._counter_delay = 0.0
        self._excess_events = 0.0  # above the number that is not yet overload
        self._streak_accepted = self._streak_throttled = 0  # since the first of them
        self._streak_seconds = 0.0
        self._rate_before_growth = self._rate
        self._round_trip = 0.0
        self._counted_until: float | None = None
        # A lowered share.
        self._share_overruns = 0
        self._limit_until = -math.inf

    @property
    def rate(self) -> float:
        """The current rate."""
        return max(self._floor, self._rate * 0.5**self._blocked_steps)

    @property
    def burst(self) -> float:
        """The current burst in requests."""
        if self._event_open:
            return 1.0
        burst = default_burst(self._rate) if self._burst is None else self._burst
        starting = self._start_margin and not self._throttle_events
        return burst if starting or self._rate >= self._ceiling else min(burst, 1 + _LATE_TIMERS * self._rate)

    def statistics(self) -> RateStatistics:
        """The current state."""
        return RateStatistics(self.rate, self.burst, self._limit, self._throttle_events, self.reason)

    def on_accepted(self, started: float, now: float, *, limited: bool = True) -> float:
        """Count an accepted request; return the new rate."""
        self._streak_seconds += self._elapsed(now)
        self._streak_accepted += 1
        if started < self._lowered_at:
            self._flight_accepted += 1
            return self.rate
        if self._event_open:
            if self._blocked_steps:
                self._blocked_steps, self.reason = 0, RateReason.ACCEPTED
            self._event_accepted += 1
            if self._event_accepted < self._parameters.event_requests:
                return self.rate
            self._end_event(now)
        self._round_trip += (_ROUND_TRIP_WEIGHT if self._round_trip else 1.0) * (now - started - self._round_trip)
        if now >= self._limit_until:
            self._limit = self._ceiling
        if limited:
            self._accepted += 1
            self._count_expected_events()
            self._raise_rate()
        return self.rate

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Lower the rate unless the throttle belongs to the current event; return the rate."""
        self._streak_seconds += self._elapsed(now)
        if not self._blocked_steps:
            self._streak_throttled += 1
        self._event_throttled += 1
        if started < self._lowered_at:
            self._flight_throttled += 1
        else:
            if not self._event_open:
                self._lowered_at = now
                if now < self._event_at + self._counter_delay:
                    self._event_open = True
                else:
                    self._begin_event(now)
            elif not self._event_accepted and self._blocked_steps < self._max_blocked_steps(now):
                self._lowered_at = now
                self._blocked_steps += 1
                self.reason = RateReason.BLOCKED
        pause = max(0.0, retry_after or 0.0)
        self._event_paused_until = max(self._event_paused_until, now + pause)
        self._counted_until = max(now + pause, self._counted_until or now)
        return self.rate

    def _elapsed(self, now: float) -> float:
        """Seconds of sending since the last reply; pauses and idle times do not count."""
        previous = now if self._counted_until is None else self._counted_until
        self._counted_until = max(now, previous)
        return min(self._counted_until - previous, max(0.25, 2 / self._rate))

    def _target(self) -> float:
        """Events per request to settle at."""
        parameters = self._parameters
        return min(parameters.searching_share, parameters.throttled_share * max(1.0, self._best / self._rate))

    def _count_expected_events(self) -> None:
        """Subtract the events that one accepted request can cause without overload."""
        parameters = self._parameters
        self._excess_events -= parameters.overload_ratio * self._target()
        if self._excess_events <= 0:
            self._excess_events = self._streak_seconds = 0.0
            self._streak_accepted = self._streak_throttled = 0

    def _max_blocked_steps(self, now: float) -> float:
        """How often the rate may be halved: twice for the delay of a counter, then every 2 s."""
        return 2 + (now - self._event_at) // _MAX_COUNTER_DELAY

    def _begin_event(self, now: float) -> None:
        parameters = self._parameters
        self._throttle_events += 1
        self.reason = RateReason.THROTTLED
        rate, backoff = self._rate, parameters.backoff
        unproven = rate > self._best * (1 + backoff)
        grown = self._rate_before_growth < _LARGE_GROWTH * rate
        self._event_costs = not (unproven or grown)
        if unproven:
            backoff = parameters.unproven_backoff
        elif grown and not self._excess_events:
            rate, backoff = max(self._rate_before_growth, rate / 2), 0.0
            if rate < _FAR_BELOW * self._best:
                rate += parameters.fairness * (self._best / 2 - rate)
        self._excess_events += 1
        if self._excess_events > parameters.overload_events:
            self._excess_events = parameters.overload_events
            rate = self._measured(rate)
            if self._share < 1:
                rate = self._limit_share(rate, now)
        else:
            rate *= 1 - backoff
        self._rate = self._rate_before_growth = max(self._floor, rate)
        self._accepted = 0
        self._event_open, self._event_at = True, now
        self._event_throttled, self._event_accepted = 1, 0
        self._flight_throttled = self._flight_accepted = 0
        self._event_paused_until = -math.inf

    def _measured(self, rate: float) -> float:
        """The rate accepted since the events became too many, at most `rate` less the back-off."""
        throttled_share = self._streak_throttled / (self._streak_throttled + self._streak_accepted)
        weight = self._parameters.evidence / (1 + _OVERLOAD_WEIGHT * throttled_share)
        measured = (self._streak_accepted + weight) / (self._streak_seconds + weight / rate)
        if measured < rate:
            self.reason = RateReason.OVERLOADED
        return min(measured, rate * (1 - self._parameters.backoff))

    def _end_event(self, now: float) -> None:
        parameters = self._parameters
        self._event_open = False
        in_flight = self._flight_throttled + self._flight_accepted
        if in_flight >= _MIN_IN_FLIGHT:
            self.reason = RateReason.THROTTLED
            self._rate = max(self._floor, self._rate * (1 - self._flight_throttled / (in_flight + parameters.evidence)))
        ending = (parameters.event_requests - 1) / self._rate
        lost_seconds = max(0.0, now - self._event_at - self._round_trip - ending)
        paused_seconds = min(lost_seconds, max(0.0, self._event_paused_until - self._event_at))
        lost_seconds -= _SAVED_FRACTION * paused_seconds
        cost = self._event_throttled + self._rate * lost_seconds
        if self._event_costs:
            self._cost = (self._cost + cost) / 2
        self._quiet_after = parameters.quiet_gaps * self._cost / self._target()
        if self._rate < _FAR_BELOW * self._best:
            seconds = max(parameters.search_seconds, _SEARCH_ROUND_TRIPS * self._round_trip)
            self._quiet_after = min(self._quiet_after, max(seconds * self._rate, parameters.search_requests))
        self._counter_delay = max(
            self._counter_delay, min(_MAX_COUNTER_DELAY, lost_seconds - paused_seconds - self._round_trip)
        )

    def _raise_rate(self) -> None:
        """Raise the rate for one accepted request."""
        parameters, rate = self._parameters, self._rate
        growth = self._target() * parameters.backoff / self._cost
        self.reason = RateReason.ACCEPTED
        if self._throttle_events:
            quiet = self._accepted / self._quiet_after - 1
            if quiet <= 0:
                self._rate_before_growth = rate
            else:
                self._best = max(self._best, self._rate_before_growth)  # was not throttled for long enough
                missing = min(1.0, max(0.0, self._best / rate - 1))
                growth += min(1.0, quiet) * self._growth(parameters.exploration + parameters.recovery * missing)
                self.reason = RateReason.QUIET
            self._best *= math.exp(-1 / (parameters.memory * rate))
        elif rate < self._best:
            growth = self._start_margin / parameters.start_seconds / rate**2
            self._rate_before_growth = rate
        elif self._accepted > self._explore_after:
            growth += self._growth(parameters.exploration)
            self._rate_before_growth = rate
        self._rate = max(self._floor, min(self._limit, rate * math.exp(growth)))

    def _growth(self, per_second: float) -> float:
        """Growth per request; slower if replies come late."""
        return per_second * min(1.0, _SHORT_ROUND_TRIP / max(self._round_trip, 1e-9)) / self._rate

    def _limit_share(self, rate: float, now: float) -> float:
        """Take `share` of a lower quota; return the new rate."""
        self._limit = max(self._floor, self._share * _SHARE_FALLBACK * rate)
        self._limit_until = now + min(_SHARE_HOLD * 2.0**self._share_overruns, _MAX_SHARE_HOLD)
        self._share_overruns = min(self._share_overruns + 1, 10)
        self.reason = RateReason.SHARE
        return self._limit
