"""The interface of rate policies, and a token bucket whose rate and burst follow one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from asyncgg.errors import UsageError
from asyncgg.events import Event, RateChanged, RateReason, SendingPaused
from asyncgg.ratelimit.bucket import TokenBucket


@dataclass(frozen=True, slots=True)
class RateStatistics:
    """The state of a policy; rates in requests per second."""

    rate: float
    burst: float
    ceiling: float
    throttle_events: int
    """How often throttles lowered the rate; those of requests in flight together count once."""
    reason: RateReason = RateReason.STARTED
    """Why the rate changed last."""


class RatePolicy(Protocol):
    """Chooses rate (requests per second) and burst. Times are seconds of one clock."""

    @property
    def rate(self) -> float:
        """The current rate."""

    @property
    def burst(self) -> float:
        """The current burst in requests."""

    def on_accepted(self, started: float, now: float, *, limited: bool = True) -> float:
        """A request sent at `started` was accepted at `now`. Returns the new rate.

        `limited`: whether the limiter, and not a lack of work, holds the requests back.
        """

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """A request sent at `started` was throttled at `now`. Returns the new rate.

        The caller pauses the lane for `retry_after` seconds.
        """

    def statistics(self) -> RateStatistics:
        """The current state."""


def require_positive(name: str, value: float) -> float:
    """`value` if it is positive. Raises `UsageError` otherwise."""
    if not value > 0:  # also True for NaN
        raise UsageError(f"{name} must be greater than 0 requests/s, not {value}")
    return value


_RATE_REPORT_THRESHOLD: Final = 0.02
"""Relative change, at once or since the last `RateChanged`, that causes the next one."""


class Limiter:
    """Grants requests at the rate of `policy`. `max_pause`: maximum pause in seconds."""

    def __init__(self, policy: RatePolicy, *, max_pause: float = 300.0) -> None:
        self.policy = policy
        self.ceiling = policy.statistics().ceiling
        self.bucket = TokenBucket(policy.rate, policy.burst)
        self.emit: Callable[[Event], None] = lambda event: None
        self._max_pause = max_pause
        self._clock = asyncio.get_running_loop().time
        self.last_change = RateChanged(policy.rate, policy.rate, RateReason.STARTED)
        """The last one emitted; before that the initial rate."""

    def on_accepted(self, started: float) -> None:
        """A request sent at `started` was answered and not throttled."""
        self.policy.on_accepted(started, self._clock(), limited=self.bucket.is_limiting)
        self._apply_rate()

    def on_throttled(self, started: float, retry_after: float | None) -> None:
        """A request sent at `started` was throttled."""
        self.policy.on_throttled(started, self._clock(), retry_after)
        self._apply_rate()
        if retry_after:
            self.pause("throttled, Retry-After received", min(retry_after, self._max_pause))

    def pause(self, reason: str, seconds: float) -> None:
        """Grant nothing for `seconds`."""
        was_paused = self.bucket.statistics().paused_until is not None
        self.bucket.pause_until(self._clock() + seconds)
        if not was_paused:
            self.emit(SendingPaused(reason, seconds))

    def _apply_rate(self) -> None:
        rate, burst, previous = self.policy.rate, self.policy.burst, self.bucket.rate
        if rate != previous or burst != self.bucket.burst:
            self.bucket.set_rate(rate, burst)
        for old in (previous, self.last_change.new):
            if abs(rate - old) >= _RATE_REPORT_THRESHOLD * old:
                self.last_change = RateChanged(old, rate, self.policy.statistics().reason)
                self.emit(self.last_change)
                break
