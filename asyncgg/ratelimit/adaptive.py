"""Rule: which rate is right is decided here, from what the service answered; times are arguments, no clock is read."""

from __future__ import annotations

import math
from enum import Enum, auto

from asyncgg.ratelimit.policy import RateStatistics, positive
from asyncgg.ratelimit.quota import DOCUMENTED_QUOTA, default_burst

__all__ = ["AdaptiveRate"]

# Shapes of the curves. Chosen on the simulated lane of the tests, which holds them to account.
_OPEN_LINEAR, _OPEN_SQUARE = 0.9, 0.7  # growth of the opening, per second and per squared second
_OPEN_CUT, _OPEN_LOW = 0.83, 0.72  # of the rate that ended the opening: plateau and low
_DOUBT_RATE = 0.9  # of the rate before; cheap if it was an accident, and still too fast if it was not
_DOUBT_REPLIES = 10  # a service that has nothing saved up shows an excess of a tenth within ten requests
_DOUBT_AGAIN = 20  # replies before another doubt, for each one before: a steady excess must not be doubted for ever
_DOUBT_KNOWN = 1.7  # times the documented quota: above it a throttle that brings a pause is likely, and dear to doubt
_HIDDEN = 8  # requests of excess that the service's burst is taken to hide before it throttles
_CUT_LEAST, _CUT_MOST = 0.04, 0.2  # bounds of one cut of the plateau, as fractions of the rate
_LOW = 1.3  # the low lies this many times deeper than the plateau: the service's bucket is empty and has to recover
_RISE = 2.5  # seconds from the low to the plateau
_CREEP = 0.004  # growth per second while the plateau is held
_PROBE = 0.0011  # growth per cubed second after the hold: +3 % after 3 s, +38 % after 7 s
_HOLD_FIRST = 2.0  # seconds, doubled by each probe that fails
_HOLD_BELOW = 7.0  # seconds at most, when most of the documented quota is missing
_MOST = 0.9  # of the documented quota
_HOLD_MOST = 60.0  # seconds, otherwise
_HOLD_PER_PAUSE = 20.0  # a probe that costs a pause comes so rarely that pauses take about 5 % of the time


class _Phase(Enum):
    """What the rate does, and why."""

    OPENING = auto()
    """It grows towards a ceiling that nobody has contradicted yet."""
    CEILING = auto()
    """It is the ceiling."""
    DOUBT = auto()
    """It waits a little lower for a second throttle, before it believes the first."""
    CUT = auto()
    """It was too much: rise to a plateau, hold, probe."""


class AdaptiveRate:
    """Follows a quota it can only feel: never above `ceiling`, lowered by throttles, raised again carefully.

    - **Opening.** It starts at the documented quota (or the ceiling, if lower) and, while requests are accepted, grows
      ever faster up to the ceiling: a higher ceiling is the user's word against the documentation's.
    - **Doubt.** One throttle amid accepted requests can be an accident: cold connections make the first requests
      arrive in a bunch. As long as nothing was cut since the start (or the ceiling), the rate goes down by a tenth and
      waits for ten replies. A second throttle brings the cut; otherwise all goes on as if nothing had been. Not
      doubted is what would cost little to believe, and what would cost a pause far above the documented quota.
    - **Cut.** A throttle lowers the rate once for all requests that were under way: those started before the cut say
      nothing about the new rate. How deep depends on how much was accepted since the throttle before: after n requests
      a service's burst of b can hide an excess of b / n, so a throttle right after a cut means far too fast, one after
      a long quiet time means a little.
    - **Recovery.** From a low below the new plateau up to it, then a hold in which the rate only creeps, then a probe
      that grows with the cube of time. Each probe that fails makes the next hold twice as long. When most of the
      documented quota is missing, others use it and may leave: the probe comes soon whatever failed. Otherwise it is
      the rarer the longer the pause is that a throttle brings.
    - Time counts only while requests are accepted: idling and pauses are no evidence.
    - **Burst.** 1 at the beginning, in doubt and after a cut, until the plateau: a service that has just throttled has
      nothing saved up. `default_burst` otherwise. A `burst` given holds from the beginning, until the first throttle.

    `ceiling` and `floor` (requests a second) bound the rate. Deterministic. Raises `UsageError` for impossible numbers.
    """

    __slots__ = (
        "_accepted",
        "_age",
        "_burst",
        "_ceiling",
        "_cut_at",
        "_documented",
        "_doubts",
        "_episodes",
        "_failed",
        "_floor",
        "_hold",
        "_low",
        "_phase",
        "_plateau",
        "_rate",
        "_resume",
        "_seen",
    )

    def __init__(
        self, ceiling: float, *, documented: float = DOCUMENTED_QUOTA, floor: float = 0.2, burst: float | None = None
    ) -> None:
        self._ceiling = positive("ceiling", ceiling)
        self._documented = min(positive("documented quota", documented), ceiling)
        self._floor = min(positive("floor", floor), self._documented)
        self._burst = burst
        self._rate = self._low = self._plateau = self._documented
        self._phase = _Phase.OPENING if self._rate < ceiling else _Phase.CEILING
        self._resume = (self._phase, 0.0)  # phase and age to go on with when a doubt is over
        self._doubts = 0  # since the start, or since the ceiling was reached after a cut
        self._hold = 0.0
        self._failed = 0  # probes since the ceiling was left
        self._age = 0.0  # seconds of evidence since the start or the last throttle that was news
        self._seen: float | None = None  # up to when time has been counted
        self._accepted = 0  # since the start or the last throttle that was news
        self._cut_at = -math.inf
        self._episodes = 0

    @property
    def rate(self) -> float:
        """The rate to use now."""
        return self._rate

    @property
    def burst(self) -> float:
        """The burst to use now, in requests."""
        unsure = self._phase in (_Phase.OPENING, _Phase.DOUBT) or self._age < _RISE
        if unsure and (self._burst is None or self._episodes):
            return 1.0
        return default_burst(self._rate) if self._burst is None else self._burst

    def statistics(self) -> RateStatistics:
        """The policy as it stands now."""
        return RateStatistics(self._rate, self.burst, self._ceiling, self._episodes)

    def on_accepted(self, started: float, now: float) -> float:
        """Count the evidence and move along the curve. Returns the rate to use from now on."""
        if started < self._cut_at:
            return self._rate
        self._accepted += 1
        if self._seen is None:
            self._seen = now
        if now > self._seen:
            self._age += min(now - self._seen, max(0.25, 2 / self._rate))
            self._seen = now
        if self._phase is _Phase.DOUBT:
            if self._accepted < _DOUBT_REPLIES:
                return self._rate
            self._phase, self._age = self._resume
        self._rate = max(self._floor, min(self._ceiling, self._curve()))
        if self._rate == self._ceiling:
            self._reach()
        return self._rate

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Lower the rate if this throttle is news. Returns the rate to use from now on."""
        pause = max(0.0, retry_after or 0.0)
        if started >= self._cut_at:
            if self._dubious(pause):
                self._doubt()
            else:
                self._cut(pause)
            self._cut_at = now
            self._age = 0.0
            self._accepted = 0
            self._episodes += 1
        self._seen = max(now + pause, self._seen or now)
        return self._rate

    def _reach(self) -> None:
        """The ceiling holds; what was refused on the way to it is forgotten."""
        if self._phase is _Phase.CUT:
            self._doubts = 0
        self._failed = 0
        self._phase = _Phase.CEILING

    def _dubious(self, pause: float) -> bool:
        """Whether this throttle may be an accident, and it pays to find out."""
        if self._accepted < max(1, _DOUBT_AGAIN * self._doubts) or (pause and self._doubts):
            return False
        if self._phase is _Phase.OPENING:
            return not pause or self._rate <= _DOUBT_KNOWN * self._documented
        return self._phase is _Phase.CEILING and self._depth()[0] < _DOUBT_RATE

    def _doubt(self) -> None:
        """Go a little slower until it is clear whether the throttle meant anything."""
        self._resume = (self._phase, self._age)
        self._doubts += 1
        self._phase = _Phase.DOUBT
        self._rate = max(self._floor, self._rate * _DOUBT_RATE)

    def _cut(self, pause: float) -> None:
        """Believe it: leave the rate for a plateau below."""
        plateau, low = self._depth()
        if self._phase is _Phase.CUT and self._age > self._hold:
            self._failed = min(self._failed + 1, 10)
        self._plateau = max(self._floor, self._rate * plateau)
        self._low = self._rate = max(self._floor, self._rate * low)
        hold = min(_HOLD_MOST, _HOLD_FIRST * 2.0**self._failed)
        if self._plateau < _MOST * self._documented:
            self._hold = _HOLD_BELOW if pause else min(_HOLD_BELOW, hold)
        else:
            self._hold = min(_HOLD_MOST, max(hold, _HOLD_PER_PAUSE * pause))
        self._phase = _Phase.CUT

    def _depth(self) -> tuple[float, float]:
        """The new plateau and the new low, as fractions of the rate."""
        phase = self._resume[0] if self._phase is _Phase.DOUBT else self._phase
        if phase is _Phase.OPENING:
            return _OPEN_CUT, _OPEN_LOW
        cut = min(_CUT_MOST, max(_CUT_LEAST, _HIDDEN / max(1, self._accepted)))
        return 1 - cut, 1 - _LOW * cut

    def _curve(self) -> float:
        """The rate at this age, before the bounds."""
        age = self._age
        if self._phase is _Phase.CEILING:
            return self._ceiling
        if self._phase is _Phase.OPENING:
            return self._documented * (1 + _OPEN_LINEAR * age + _OPEN_SQUARE * age**2)
        if age < _RISE:
            return self._plateau - (self._plateau - self._low) * (1 - age / _RISE) ** 3
        held = self._plateau * (1 + _CREEP * (age - _RISE))
        return held * (1 + _PROBE * max(0.0, age - self._hold) ** 3)
