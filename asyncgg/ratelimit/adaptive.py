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
    """The constants of `AdaptiveRate`. Requests are accepted requests, unless they are throttled."""

    throttled_share: float = 0.014
    """Share of the requests that throttle events cost in the long run. A service that throttles at
    random is used fully only if some requests are throttled."""
    trust: float = 80.0
    """Requests that speak for the rate when it is throttled: a single throttle lowers it by 1/81."""
    few_requests: int = 5
    """Requests that end a throttle event, and the least number that is evidence of anything."""
    start_margin: float = 1.0
    """Requests per second below the quota at the start. A service that counts in windows of a second
    admits as many evenly spaced requests without a throttle."""
    quiet_gaps: float = 3.0
    """Mean gaps between two events, without an event, after which their cause has ended."""
    search_requests: float = 14.0
    """Requests of the whole quota between two searches far below the best known rate, and requests
    in which a search reaches that rate."""
    fairness: float = 0.4
    """Part of the way to half of the best known rate that a search without success moves a rate near
    zero, and others in proportion: runs that share a quota become equal."""
    exploration: float = 0.3
    """Growth per second above the best known rate."""


_START_SECONDS: Final = 5.0
"""Seconds in which the rate rises from the start to the quota."""
_FAR_BELOW: Final = 0.8
"""The part of the best known rate below which the rate is far below it."""
_RECENT_EVENTS: Final = 4
"""Events whose requests are the trust in a rate. Throttles at random are seldom four at once."""
_SEARCH_ROUND_TRIPS: Final = 3
"""Round trips between two searches, and of a search, at least: a throttle is known one too late."""
_OVERLOADED: Final = 0.7
"""The part of the highest trust below which events follow each other at once."""
_OUTAGE_REQUESTS: Final = 3.0
"""Requests, while none is accepted, in as many seconds as that has lasted."""
_MAX_COUNTER_DELAY: Final = 2.0
"""Seconds by which the counter of a service can be late."""
_SHORT_ROUND_TRIP: Final = 0.2
"""Seconds of a round trip above which growth is slower."""
_ROUND_TRIP_WEIGHT: Final = 0.1
"""Weight of the last round trip in the mean."""
_LATE_TIMERS: Final = 0.005
"""Seconds by which timers can be late without a loss of throughput, below the ceiling."""
_SHARE_HOLD, _MAX_SHARE_HOLD = 60.0, 900.0
"""Seconds for which a lowered share holds: doubled each time, up to the maximum."""
_SHARE_FALLBACK: Final = 0.8
"""The quota as a part of the rate, if a share of an assumed quota is throttled."""


class AdaptiveRate:
    """Uses as much of an unknown quota as the service accepts, and never more than `ceiling`.

    - **Start.** At the documented quota, or at a ceiling below it. If they are equal, the rate starts
      one request per second lower and reaches them within seconds. It grows to a higher ceiling
      while nothing is throttled, after `explore_after` seconds' worth of requests.
    - **Throttle event.** Throttles that belong together are one event: those of requests in flight,
      and those within the delay of the service's counter, which is the longest time without an
      accepted request so far. While nothing is accepted, the rate falls with the time that lasts.
    - **Down.** An event lowers the rate to the accepted share of its requests. Requests accepted
      since the last few events count too, so a single throttle lowers it by one or two percent, and
      throttles that follow each other at once lower it to what is accepted.
    - **Up.** Accepted requests raise the rate as much as keeps the cost of events at a target. An
      event costs its throttles and the requests that could have been sent meanwhile, so a service
      with pauses or a late counter is probed less.
    - **Search.** After a long time without an event the rate rises to the best known rate, and then
      above it; far below the best known rate it rises soon. An event undoes that, and moves the rate
      towards half of the best one, since others use the quota too.
    - Only requests that had to wait for the limiter raise the rate.
    - **Share.** With `share` below 1 the ceiling is that part of an assumed quota. Three events that
      follow each other at once mean that the quota is lower: its share is the limit for a minute,
      doubled up to 15 minutes.
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
            margin = min(self._parameters.start_margin, documented / 5)
            self._start_margin = max(0.0, ceiling - (documented - margin))
            self._rate -= self._start_margin
        self.reason = RateReason.STARTED
        """Why the rate changed last."""
        self._throttle_events = 0
        self._accepted = 0  # since the last event, without those that ended it
        self._trust_gained = [self._parameters.trust / _RECENT_EVENTS] * _RECENT_EVENTS  # before each recent event
        self._quiet_after = math.inf  # accepted requests after which the absence of events is evidence
        self._rate_before_search = self._rate
        self._round_trip = 0.0
        # The current or last event.
        self._event_open = self._undone_search = False
        self._event_at = self._lowered_at = -math.inf
        self._event_throttled = self._event_accepted = 0  # accepted: of requests sent since the rate was lowered
        self._event_rate = self._rate  # that the evidence lowers
        self._trust = 0.0
        self._evidence_against = self._evidence_for = 0
        self._outage_rate = math.inf
        # Events so far.
        self._cost = 1.0  # requests lost per event
        self._counter_delay = 0.0
        # A lowered share.
        self._share_overruns = 0
        self._limit_until = -math.inf

    @property
    def rate(self) -> float:
        """The current rate."""
        return max(self._floor, min(self._rate, self._outage_rate))

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
        in_flight = started < self._lowered_at  # when the event began
        if self._event_open:
            self._evidence_for += 1
            self._weigh_evidence()
            if not in_flight:
                self._event_accepted += 1
                if self._outage_rate < math.inf:
                    self._outage_rate, self.reason = math.inf, RateReason.ACCEPTED
            if self._event_accepted < self._parameters.few_requests:
                return self.rate
            self._end_event(now)
        if in_flight:
            return self.rate
        self._round_trip += (_ROUND_TRIP_WEIGHT if self._round_trip else 1.0) * (now - started - self._round_trip)
        if now >= self._limit_until:
            self._limit = self._ceiling
        if limited:
            self._accepted += 1
            self._raise_rate()
        return self.rate

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Lower the rate; return it."""
        if not self._event_open:
            if now < self._event_at + self._counter_delay:
                self._resume_event()
            else:
                self._begin_event(now)
            self._lowered_at = now
        elif started < self._lowered_at or self._event_accepted:
            self._evidence_against += 1
            self._weigh_evidence()
        else:
            lasted = max(now - self._event_at, _OUTAGE_REQUESTS / self._rate)
            self._outage_rate, self.reason = min(self._outage_rate, _OUTAGE_REQUESTS / lasted), RateReason.BLOCKED
            self._lowered_at = now
        self._event_throttled += 1
        return self.rate

    def _begin_event(self, now: float) -> None:
        parameters, rate = self._parameters, self._rate
        self._throttle_events += 1
        self.reason = RateReason.THROTTLED
        if self._accepted >= parameters.trust:
            self._best = max(self._best, self._rate_before_search)
        gained = min(self._accepted, parameters.trust / _RECENT_EVENTS)
        self._trust_gained = [*self._trust_gained[1:], gained]
        trust = sum(self._trust_gained)
        unproven = rate > self._best * (1 + 1 / parameters.trust)
        self._undone_search = not unproven and self._accepted > self._quiet_after and trust > parameters.few_requests
        if self._undone_search:
            before = max(self._rate_before_search, rate / 2)
            missing = max(0.0, 1 - before / self._best)
            rate = min(rate, before + parameters.fairness * missing * (self._best / 2 - before))
        elif trust < _OVERLOADED * parameters.trust:
            self.reason = RateReason.OVERLOADED
            if self._share < 1:
                rate = self._limit_share(now)
        self._trust = max(parameters.few_requests, 0.0 if unproven else trust)
        self._evidence_against, self._evidence_for = 0 if self._undone_search else 1, 0
        self._event_rate = rate
        self._weigh_evidence()
        self._accepted = 0
        self._event_open, self._event_at = True, now
        self._event_throttled = self._event_accepted = 0

    def _resume_event(self) -> None:
        """Continue the last event: the counter of the service is still late."""
        self._event_open, self._event_accepted = True, 0
        self._event_rate, self._evidence_against, self._evidence_for = self._rate, 0, 0

    def _weigh_evidence(self) -> None:
        """Lower the rate of the event to the share of requests that the service accepts."""
        accepted = self._trust + self._evidence_for
        self._rate = max(self._floor, self._event_rate * accepted / (accepted + self._evidence_against))

    def _end_event(self, now: float) -> None:
        parameters = self._parameters
        self._event_open = False
        ending = (parameters.few_requests - 1) / self._rate
        lost_seconds = max(0.0, now - self._event_at - self._round_trip - ending)
        if not self._undone_search:
            self._cost = (self._cost + self._event_throttled + self._rate * lost_seconds) / 2
        self._counter_delay = max(self._counter_delay, min(_MAX_COUNTER_DELAY, lost_seconds - self._round_trip))
        self._rate_before_search = self._rate
        self._quiet_after = parameters.quiet_gaps * self._cost / parameters.throttled_share
        if self._rate < _FAR_BELOW * self._best:
            search = self._search_requests(self._best) * self._rate / self._best
            self._quiet_after = min(self._quiet_after, max(parameters.few_requests, search))

    def _raise_rate(self) -> None:
        """Raise the rate for one accepted request."""
        parameters, rate = self._parameters, self._rate
        new_rate = rate * (1 + parameters.throttled_share / (parameters.trust * self._cost))
        slowness = max(1.0, self._round_trip / _SHORT_ROUND_TRIP)
        searching = self._accepted > (self._quiet_after if self._throttle_events else self._explore_after)
        self.reason = RateReason.QUIET if searching and self._throttle_events else RateReason.ACCEPTED
        if searching:
            self._best = max(self._best, self._rate_before_search)  # was not throttled for long enough
        else:
            self._rate_before_search = new_rate
        if rate < self._best and not self._throttle_events:
            new_rate = rate + self._start_margin / _START_SECONDS / rate
        elif rate < self._best and searching:
            step = (self._best - self._rate_before_search) / self._search_requests(rate)
            new_rate = min(self._best, rate + step)
        elif searching:
            new_rate += parameters.exploration / slowness
        self._rate = max(self._floor, min(self._limit, new_rate))

    def _search_requests(self, rate: float) -> float:
        """Requests of a search at this rate."""
        return max(self._parameters.search_requests, _SEARCH_ROUND_TRIPS * self._round_trip * rate)

    def _limit_share(self, now: float) -> float:
        """Take `share` of a lower quota; return the new rate."""
        self._limit = max(self._floor, self._share * _SHARE_FALLBACK * self._rate)
        self._limit_until = now + min(_SHARE_HOLD * 2.0**self._share_overruns, _MAX_SHARE_HOLD)
        self._share_overruns = min(self._share_overruns + 1, 10)
        self.reason = RateReason.SHARE
        return self._limit
