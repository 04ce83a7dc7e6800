"""Rule: which rate is right is decided here, from what the service answered; times are arguments, no clock is read."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Final

from asyncgg.ratelimit.estimate import Estimator
from asyncgg.ratelimit.policy import RateStatistics, positive
from asyncgg.ratelimit.quota import DOCUMENTED_QUOTA, default_burst

__all__ = ["AdaptiveRate"]

# Chosen on the grid of benchmarks/adaptive_grid.py. Slopes are fractions of a common measure (see `_unit`) a second.
_OPENING, _OPENING_TOLD = 0.3, 0.95  # growth a second, exponential; where a user vouches for the ceiling
_DOUBT: Final = 0.9  # of the rate before; cheap if it was an accident, and still too fast if it was not
_DOUBT_REPLIES: Final = 10  # a service that has nothing saved up shows an excess of a tenth within ten requests
_DOUBT_AGAIN: Final = 20  # replies before another doubt, for each one before: a steady excess is not doubted for ever
_DOUBT_KNOWN: Final = 1.7  # times the documented quota: above it a throttle that brings a pause is dear to doubt
_BELOW, _DIP = 0.94, 0.9  # of the estimate: where the hold begins, and where the very first moment does
_OUT_OF_DIP, _CREEP, _CLIMB, _JUMP = 0.06, 0.009, 0.03, 0.12  # slopes
_JUMP_MOST: Final = 2.0  # times that slope, where the evidence is strong
_HOLD: Final = 3.5  # seconds, at least
_HOLD_GUESSED: Final = 2.0  # seconds, where the estimate is a guess and waiting would only add to a pause
_HOLD_REQUESTS, _HOLD_SLOW = 60.0, 8.0  # slow rates hold for so many requests, or seconds at most
_HOLD_MOST: Final = 60.0  # seconds, where nothing is to be gained: an estimate near the best, found again and again
_HOLD_PER_LOSS: Final = 20.0  # times what a pause wastes: then that is about 5 % of the time
_HOLD_BELOW: Final = 7.0  # seconds at most, whatever a pause wastes, where others may leave and give more
_HOLD_SHARED: Final = 60.0  # seconds, doubled each time, up to:
_HOLD_SHARED_MOST: Final = 900.0
_NEAR, _SAME = 0.9, 0.06
_CALM: Final = 0.99  # of the estimate, held for long
_SOON: Final = 15  # accepted requests before which a throttle says that the cut was not enough
_ABOVE: Final = 0.8  # part of the estimate that the rate may be, after several cuts
_DEEPER: Final = (0.95, 0.85, 0.75)  # the first only if the estimate was sure
_UNEXPECTED: Final = 0.95  # of the rate, at most, where a throttle comes before the estimate was reached
_COMMON: Final = 5.0  # the common measure is at most so many times the estimate
_QUICK, _SLOWER = 0.13, 0.6  # seconds of a round trip; slopes fall with this power of longer ones
_BURST_AGAIN: Final = 2.5  # seconds after a cut


class _Phase(Enum):
    """What the rate does, and why."""

    OPENING = auto()
    """It grows towards a ceiling that nobody has contradicted yet."""
    CEILING = auto()
    """It is the ceiling."""
    DOUBT = auto()
    """It waits a little lower for a second throttle, before it believes the first."""
    RIDING = auto()
    """It follows an estimate: a little below it, then slowly above, until the service says no."""


class AdaptiveRate:
    """Follows a quota it can only feel: never above `ceiling`, lowered by throttles, raised again carefully.

    - **Opening.** It starts at the documented quota (or the ceiling, if lower). A higher ceiling is tried after
      `patience` seconds (none: it is the user's word against the documentation's), by growth. With a `patience`, the
      documented quota is the ceiling as soon as the service has shown that it gives no more.
    - **Doubt.** One throttle amid accepted requests can be an accident. As long as nothing was cut since the start (or
      the ceiling), the rate goes down by a tenth for ten replies. A second throttle is believed; otherwise all goes on.
    - **Estimate.** A believed throttle means that the service's bucket is empty. What was accepted since it was empty
      before is what it gives (`Gauge`): the estimate. Requests sent before a cut say nothing about the rate after it.
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
        "_age",
        "_burst",
        "_ceiling",
        "_cut_at",
        "_documented",
        "_doubts",
        "_episodes",
        "_estimate",
        "_estimator",
        "_failed",
        "_floor",
        "_hold",
        "_news",
        "_patience",
        "_phase",
        "_rate",
        "_resume",
        "_round_trip",
        "_same",
        "_seen",
        "_share",
        "_soon",
    )

    def __init__(
        self,
        ceiling: float,
        *,
        documented: float = DOCUMENTED_QUOTA,
        floor: float = 0.2,
        burst: float | None = None,
        patience: float = 0.0,
        share: float = 1.0,
    ) -> None:
        self._ceiling = positive("ceiling", ceiling)
        self._documented = min(positive("documented quota", documented), ceiling)
        self._floor = min(max(positive("floor", floor), self._documented / 50), self._documented)
        self._share = min(1.0, positive("share", share))
        self._burst = burst
        self._patience = patience
        self._rate = self._estimate = self._documented
        self._phase = _Phase.OPENING if self._rate < ceiling else _Phase.CEILING
        self._resume = (self._phase, 0.0, self._rate)  # phase, age and rate to go on with when a doubt is over
        self._doubts = 0  # since the start, or since the ceiling was reached after a cut
        self._estimator = Estimator(self._documented)
        self._soon = 0  # throttles in a row that came right after a cut
        self._same = 0  # estimates in a row that were alike
        self._failed = 0  # times a share's estimate was overstepped again
        self._hold = 0.0
        self._age = 0.0  # seconds of evidence since the start or the last throttle that was news
        self._news = 0  # accepted since then
        self._seen: float | None = None  # up to when time has been counted
        self._round_trip = 0.0
        self._cut_at = -math.inf
        self._episodes = 0

    @property
    def rate(self) -> float:
        """The rate to use now."""
        return self._rate

    @property
    def burst(self) -> float:
        """The burst to use now, in requests."""
        unsure = self._phase in (_Phase.OPENING, _Phase.DOUBT)
        unsure = unsure or (self._phase is _Phase.RIDING and self._age < _BURST_AGAIN)
        if unsure and (self._burst is None or self._episodes):
            return 1.0
        return default_burst(self._rate) if self._burst is None else self._burst

    def statistics(self) -> RateStatistics:
        """The policy as it stands now."""
        return RateStatistics(self._rate, self.burst, self._ceiling, self._episodes)

    def on_accepted(self, started: float, now: float) -> float:
        """Count the evidence and move. Returns the rate to use from now on."""
        seconds = self._elapsed(now)
        self._estimator.gauge.pass_time(seconds)
        self._estimator.gauge.accept()
        self._round_trip += (0.05 if self._round_trip else 1.0) * (now - started - self._round_trip)
        if started < self._cut_at:
            return self._rate
        self._age += seconds
        self._news += 1
        if self._phase is _Phase.DOUBT:
            if self._news < _DOUBT_REPLIES:
                return self._rate
            self._phase, self._age, self._rate = self._resume
        self._move(seconds)
        if self._rate == self._ceiling:
            self._reach()
        return self._rate

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Lower the rate if this throttle is news. Returns the rate to use from now on."""
        pause = max(0.0, retry_after or 0.0)
        self._estimator.gauge.pass_time(self._elapsed(now))
        if started >= self._cut_at:
            if self._dubious(pause):
                self._doubt()
            elif self._phase is _Phase.RIDING and self._news <= _SOON:
                self._cut_deeper(pause)
            else:
                self._cut(pause)
            self._cut_at = now
            self._age = 0.0
            self._news = 0
            self._episodes += 1
        self._estimator.empty()
        self._seen = max(now + pause, self._seen or now)
        return self._rate

    def _elapsed(self, now: float) -> float:
        """Seconds of sending since the reply before; a gap is no evidence."""
        before = self._seen if self._seen is not None else now
        self._seen = max(now, before)
        return min(self._seen - before, max(0.25, 2 / self._rate))

    def _move(self, seconds: float) -> None:
        """Go on for so long, within the bounds."""
        rate = self._rate
        seconds /= self._late()
        if self._phase is _Phase.OPENING:
            if self._age > self._patience:
                rate *= math.exp((_OPENING if self._patience else _OPENING_TOLD) * seconds)
        elif self._phase is _Phase.RIDING:
            rate += self._slope() * self._unit() * seconds
        self._rate = max(self._floor, min(self._ceiling, rate))

    def _slope(self) -> float:
        """How fast to ride, in the common measure."""
        if self._share < 1:
            return 0.0 if self._age < self._hold else _CLIMB
        surplus = self._estimator.surplus(self._estimate)
        if surplus > 1 and self._age > 1:
            far = max(1.0, self._documented / self._unit())  # it was starved: come back at once
            return _JUMP * min(_JUMP_MOST, surplus) * far
        if self._age >= self._hold:
            return _CLIMB
        if self._rate < _BELOW * self._estimate:
            return _OUT_OF_DIP + _CREEP
        return 0.0 if self._same > 1 and self._rate > _CALM * self._estimate else _CREEP

    def _unit(self) -> float:
        """What slopes are fractions of: the same for all who share a quota, as far as they can know."""
        return min(max(self._documented, self._estimate), _COMMON * self._estimate)

    def _reach(self) -> None:
        """The ceiling holds; what was refused on the way to it is forgotten."""
        if self._phase is _Phase.RIDING:
            self._doubts = 0
        self._same = self._failed = 0
        self._phase = _Phase.CEILING

    def _dubious(self, pause: float) -> bool:
        """Whether this throttle may be an accident, and it pays to find out."""
        if self._news < max(1, _DOUBT_AGAIN * self._doubts) or (pause and self._doubts):
            return False
        if self._phase is _Phase.OPENING:
            return not pause or self._rate <= _DOUBT_KNOWN * self._documented
        return self._phase is _Phase.CEILING

    def _doubt(self) -> None:
        """Go a little slower until it is clear whether the throttle meant anything."""
        self._resume = (self._phase, self._age, self._rate)
        self._doubts += 1
        self._phase = _Phase.DOUBT
        self._rate = max(self._floor, self._rate * _DOUBT)

    def _cut(self, pause: float) -> None:
        """Believe it: estimate what is free, and go below that."""
        estimator, riding = self._estimator, self._phase is _Phase.RIDING
        estimate = estimator.measure(self._rate) if riding else estimator.guess(self._rate)
        if riding and self._age < self._hold:
            estimate = min(estimate, _UNEXPECTED * self._rate)
        estimate = max(self._floor, min(estimate, self._rate))
        if estimator.sure and self._patience and estimator.best <= self._documented / _NEAR:
            self._ceiling = self._documented
        alike = riding and abs(estimate - self._estimate) < _SAME * self._estimate
        self._same = self._same + 1 if alike else 0
        self._soon = 0
        self._phase = _Phase.RIDING
        self._estimate = estimate
        if self._share < 1:
            self._hold = min(_HOLD_SHARED * 2.0**self._failed, _HOLD_SHARED_MOST)
            self._failed = min(self._failed + 1, 10)
            self._rate = max(self._floor, self._share * estimate)
        else:
            self._hold = self._patient(pause)
            self._rate = max(self._floor, _DIP * estimate)

    def _cut_deeper(self, pause: float) -> None:
        """The cut before was not enough."""
        part = _DEEPER[min(self._soon + (not self._estimator.sure), len(_DEEPER) - 1)]
        self._soon += 1
        self._same = 0
        self._estimate = max(self._floor, min(part * self._estimate, self._rate / _ABOVE))
        self._hold = max(self._hold, _HOLD_PER_LOSS * self._estimator.lost(pause, self._estimate))
        self._rate = max(self._floor, min(part * self._rate, _DIP * self._estimate))

    def _patient(self, pause: float) -> float:
        """Seconds to hold below the estimate before it is tried again."""
        estimate, estimator = self._estimate, self._estimator
        if pause and not estimator.sure:
            return _HOLD_GUESSED
        hold = max(_HOLD * self._late(), min(_HOLD_SLOW, _HOLD_REQUESTS / estimate))
        best = estimate >= _NEAR * estimator.best
        if best and self._same > 1:
            hold = min(_HOLD_MOST, hold * 2.0 ** min(self._same - 1, 6))
        return max(hold, min(_HOLD_MOST if best else _HOLD_BELOW, _HOLD_PER_LOSS * estimator.lost(pause, estimate)))

    def _late(self) -> float:
        """How much slower to move because answers take so long."""
        return math.pow(max(1.0, self._round_trip / _QUICK), _SLOWER)
