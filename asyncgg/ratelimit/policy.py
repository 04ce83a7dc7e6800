"""Rule: which rate is right is decided here, from what the service answered; times are arguments, no clock is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from asyncgg.errors import UsageError
from asyncgg.ratelimit.quota import DOCUMENTED_QUOTA, default_burst

__all__ = ["AdaptiveRate", "FixedRate", "RatePolicy", "RateStatistics"]

# Shapes of the curves. Chosen on the simulated lane of the tests, which holds them to account.
_OPEN_LINEAR, _OPEN_SQUARE = 0.9, 0.7  # growth of the opening, per second and per squared second
_OPEN_CUT, _OPEN_LOW = 0.83, 0.72  # of the rate that ended the opening: plateau and low
_HIDDEN = 8  # requests of excess that the service's burst is taken to hide before it throttles
_CUT_LEAST, _CUT_MOST = 0.04, 0.2  # bounds of one cut of the plateau, as fractions of the rate
_LOW = 1.3  # the low lies this many times deeper than the plateau: the service's bucket is empty and has to recover
_RISE = 2.5  # seconds from the low to the plateau
_CREEP = 0.004  # growth per second while the plateau is held
_PROBE = 0.0011  # growth per cubed second after the hold: +3 % after 3 s, +38 % after 7 s
_HOLD_BELOW = 8.0  # seconds, when most of the documented quota is missing
_MOST = 0.9  # of the documented quota
_HOLD_LEAST, _HOLD_MOST = 5.0, 60.0  # seconds, otherwise
_HOLD_PER_PAUSE = 20.0  # a probe that costs a pause comes so rarely that pauses take about 5 % of the time


@dataclass(frozen=True, slots=True)
class RateStatistics:
    """A policy at one moment; rates in requests a second."""

    rate: float
    burst: float
    ceiling: float
    episodes: int
    """How often throttles lowered the rate; those of requests already under way at that time count once together."""


class RatePolicy(Protocol):
    """Chooses rate and burst of one lane. Times are seconds on one clock of the caller's, rates requests a second."""

    @property
    def rate(self) -> float:
        """The rate to use now."""

    @property
    def burst(self) -> float:
        """The burst to use now, in requests."""

    def on_accepted(self, started: float, now: float) -> float:
        """A request sent at `started` was answered at `now` and not throttled. Returns the rate to use from now on."""

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """A request sent at `started` was throttled at `now`; whoever calls pauses the lane for `retry_after` seconds.

        Returns the rate to use from now on.
        """

    def statistics(self) -> RateStatistics:
        """The policy as it stands now."""


class FixedRate:
    """Always the same rate, whatever the service says. `burst` is `default_burst(rate)` unless given.

    Raises `UsageError` for a rate of nothing or less; infinity means no limit.
    """

    __slots__ = ("_burst", "_rate")

    def __init__(self, rate: float, *, burst: float | None = None) -> None:
        self._rate = _positive("rate", rate)
        self._burst = default_burst(rate) if burst is None else burst

    @property
    def rate(self) -> float:
        """The rate given."""
        return self._rate

    @property
    def burst(self) -> float:
        """The burst given."""
        return self._burst

    def on_accepted(self, started: float, now: float) -> float:
        """Nothing changes."""
        return self._rate

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Nothing changes."""
        return self._rate

    def statistics(self) -> RateStatistics:
        """The policy as it stands now."""
        return RateStatistics(self._rate, self._burst, self._rate, 0)


class AdaptiveRate:
    """Follows a quota it can only feel: never above `ceiling`, lowered by throttles, raised again carefully.

    - **Opening.** It starts at the documented quota (or the ceiling, if lower) and, while requests are accepted, grows
      ever faster up to the ceiling: a higher ceiling is the user's word against the documentation's.
    - **Cut.** A throttle lowers the rate once for all requests that were under way: those started before the cut say
      nothing about the new rate. How deep depends on how much was accepted since the cut before: after n requests a
      service's burst of b can hide an excess of b / n, so a throttle right after a cut means far too fast, one after
      a long quiet time means a little.
    - **Recovery.** From a low below the new plateau up to it, then a hold in which the rate only creeps, then a probe
      that grows with the cube of time. When most of the documented quota is missing, others use it and may leave:
      the probe comes soon. Otherwise it is the rarer the longer the pause is that a throttle brings.
    - Time counts only while requests are accepted: idling and pauses are no evidence.
    - **Burst.** 1 at the beginning and after a cut, until the plateau: a service that has just throttled has nothing
      saved up. `default_burst` otherwise. A `burst` given holds from the beginning, until the first cut.

    `ceiling` and `floor` (requests a second) bound the rate. Deterministic. Raises `UsageError` for impossible numbers.
    """

    __slots__ = (
        "_accepted",
        "_age",
        "_burst",
        "_ceiling",
        "_cut_at",
        "_documented",
        "_episodes",
        "_floor",
        "_hold",
        "_low",
        "_opening",
        "_plateau",
        "_rate",
        "_seen",
    )

    def __init__(
        self, ceiling: float, *, documented: float = DOCUMENTED_QUOTA, floor: float = 0.2, burst: float | None = None
    ) -> None:
        self._ceiling = _positive("ceiling", ceiling)
        self._documented = min(_positive("documented quota", documented), ceiling)
        self._floor = min(_positive("floor", floor), self._documented)
        self._burst = burst
        self._rate = self._low = self._plateau = self._documented
        self._opening = self._rate < ceiling
        self._hold = 0.0
        self._age = 0.0  # seconds of evidence since the start or the last cut
        self._seen: float | None = None  # up to when time has been counted
        self._accepted = 0  # since the start or the last cut
        self._cut_at = -math.inf
        self._episodes = 0

    @property
    def rate(self) -> float:
        """The rate to use now."""
        return self._rate

    @property
    def burst(self) -> float:
        """The burst to use now, in requests."""
        unsure = self._opening or self._age < _RISE
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
        self._rate = max(self._floor, min(self._ceiling, self._curve()))
        if self._opening and self._rate == self._ceiling:
            self._opening = False
            self._low = self._plateau = self._ceiling
        return self._rate

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Lower the rate if this throttle is news. Returns the rate to use from now on."""
        pause = max(0.0, retry_after or 0.0)
        if started >= self._cut_at:
            self._cut(now, pause)
        self._seen = max(now + pause, self._seen or now)
        return self._rate

    def _cut(self, now: float, pause: float) -> None:
        """Begin a new episode."""
        plateau, low = self._depth()
        self._plateau = max(self._floor, self._rate * plateau)
        self._low = self._rate = max(self._floor, self._rate * low)
        if self._plateau < _MOST * self._documented:
            self._hold = _HOLD_BELOW
        else:
            self._hold = min(_HOLD_MOST, max(_HOLD_LEAST, _HOLD_PER_PAUSE * pause))
        self._opening = False
        self._cut_at = now
        self._age = 0.0
        self._accepted = 0
        self._episodes += 1

    def _depth(self) -> tuple[float, float]:
        """The new plateau and the new low, as fractions of the rate."""
        if self._opening:
            return _OPEN_CUT, _OPEN_LOW
        cut = min(_CUT_MOST, max(_CUT_LEAST, _HIDDEN / max(1, self._accepted)))
        return 1 - cut, 1 - _LOW * cut

    def _curve(self) -> float:
        """The rate at this age, before the bounds."""
        age = self._age
        if self._opening:
            return self._documented * (1 + _OPEN_LINEAR * age + _OPEN_SQUARE * age**2)
        if age < _RISE:
            return self._plateau - (self._plateau - self._low) * (1 - age / _RISE) ** 3
        held = self._plateau * (1 + _CREEP * (age - _RISE))
        return held * (1 + _PROBE * max(0.0, age - self._hold) ** 3)


def _positive(name: str, value: float) -> float:
    """The value, if it can be a rate."""
    if not value > 0:  # so put, it refuses NaN as well
        raise UsageError(f"the {name} must be above 0 requests a second, not {value}")
    return value
