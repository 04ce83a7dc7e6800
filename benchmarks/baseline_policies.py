"""Rate policies to compare `AdaptiveRate` with: textbook AIMD and the adaptive retry mode of the
AWS SDKs.

`Cubic` is written from the public description of that mode. Both have the bounds of `AdaptiveRate`,
so that only their ways of choosing a rate differ.
"""

from __future__ import annotations

import math

from asyncgg.ratelimit import RateStatistics, default_burst

__all__ = ["Aimd", "Cubic"]


class _BoundedRate:
    """A rate between bounds, lowered once for all requests in flight."""

    def __init__(self, ceiling: float, *, documented: float, floor: float = 0.2) -> None:
        self._ceiling, self._documented, self._floor = ceiling, min(documented, ceiling), floor
        self._rate = self._documented
        self._cut_at = -math.inf
        self._last_reply_at: float | None = None
        self._throttle_events = 0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self._rate

    @property
    def burst(self) -> float:
        """Requests that can start at once."""
        return default_burst(self._rate)

    def statistics(self) -> RateStatistics:
        """Return the current state."""
        return RateStatistics(self._rate, self.burst, self._ceiling, self._throttle_events)

    def _elapsed(self, now: float) -> float:
        """Return the seconds since the last reply, without pauses."""
        previous, self._last_reply_at = self._last_reply_at, max(now, self._last_reply_at or now)
        return 0.0 if previous is None else min(max(0.0, now - previous), max(0.25, 2 / self._rate))

    def _is_new_event(self, started: float, now: float) -> bool:
        if started < self._cut_at:
            return False
        self._cut_at = now
        self._throttle_events += 1
        return True

    def _set_rate(self, rate: float) -> float:
        self._rate = max(self._floor, min(self._ceiling, rate))
        return self._rate


class Aimd(_BoundedRate):
    """Adds 2 % of the documented quota per second; multiplies the rate by 0.75 after a throttle."""

    def on_accepted(self, started: float, now: float, *, limited: bool = True) -> float:
        """Increase the rate."""
        return self._set_rate(self._rate + 0.02 * self._documented * self._elapsed(now))

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Decrease the rate."""
        if self._is_new_event(started, now):
            self._set_rate(0.75 * self._rate)
        self._last_reply_at = max(now + (retry_after or 0.0), self._last_reply_at or now)
        return self._rate


class Cubic(_BoundedRate):
    """Sets the rate to 0.4 (t - k)³ + r; r is the rate measured at the last throttle.

    A throttle sets the rate to 0.7 r. The rate is at most twice the measured rate, which is taken
    over half seconds and smoothed by 0.8. Each throttle counts, even if several arrive together.
    """

    def __init__(self, ceiling: float, *, documented: float, floor: float = 0.5) -> None:
        super().__init__(ceiling, documented=documented, floor=floor)
        self._rate_at_throttle, self._throttled_at = 0.0, -math.inf
        self._measured_rate, self._slot, self._count = self._rate, -math.inf, 0

    def on_accepted(self, started: float, now: float, *, limited: bool = True) -> float:
        """Follow the curve after the first throttle."""
        self._measure(now)
        if not self._throttle_events:
            return self._rate
        plateau_seconds = (self._rate_at_throttle * 0.3 / 0.4) ** (1 / 3)
        return self._set_rate(
            min(
                0.4 * (now - self._throttled_at - plateau_seconds) ** 3 + self._rate_at_throttle,
                2 * self._measured_rate,
            )
        )

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Start a new curve."""
        self._measure(now)
        self._rate_at_throttle = min(self._measured_rate, self._rate)
        self._throttled_at = now
        self._throttle_events += 1
        return self._set_rate(min(0.7 * self._rate_at_throttle, 2 * self._measured_rate))

    def _measure(self, now: float) -> None:
        slot = math.floor(2 * now) / 2
        self._count += 1
        if slot > self._slot:
            if math.isfinite(self._slot):
                self._measured_rate = 0.8 * self._count / (slot - self._slot) + 0.2 * self._measured_rate
            self._slot, self._count = slot, 0
