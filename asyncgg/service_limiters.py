"""Limiters of simulated services: how a service counts requests against its quota."""

# They share no code with asyncgg.ratelimit, so that an error there is not repeated here.

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, Protocol

from asyncgg.errors import UsageError

_TOLERANCE: Final = 1e-9
"""Tolerance for rounding errors in sums of times, tokens or seconds."""


class ServiceLimiter(Protocol):
    """Admits requests up to a rate (per second; infinity: all); times are in seconds."""

    rate: float
    burst: float

    def try_acquire(self, now: float) -> bool:
        """Count a request at `now`; False if it is throttled."""

    def seconds_until_admitted(self, now: float) -> float:
        """Get the seconds from `now` until a request like the last one is admitted."""

    def set_limits(self, rate: float, burst: float, now: float) -> None:
        """Change rate and burst at `now`."""


class QuotaBucket:
    """A bucket that is full at the start; `burst` is the maximum number of requests at once."""

    def __init__(self, rate: float, burst: float, now: float = 0.0) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._updated_at = now

    def try_acquire(self, now: float) -> bool:
        """See `ServiceLimiter`."""
        self._refill(now)
        if self._tokens < 1.0 - _TOLERANCE:
            return False
        self._tokens -= 1.0
        return True

    def seconds_until_admitted(self, now: float) -> float:
        """See `ServiceLimiter`."""
        self._refill(now)
        missing = max(0.0, 1.0 - self._tokens)
        return missing / self.rate if missing and self.rate else missing and math.inf

    def set_limits(self, rate: float, burst: float, now: float) -> None:
        """See `ServiceLimiter`; tokens above the new burst are lost."""
        self._refill(now)
        self.rate, self.burst = rate, burst
        self._tokens = min(self._tokens, burst)

    def _refill(self, now: float) -> None:
        elapsed = now - self._updated_at
        if elapsed > 0:
            self._updated_at = now
            self._tokens = min(self.burst, self._tokens + elapsed * self.rate)
        if math.isinf(self.rate):  # always full, even without elapsed time
            self._tokens = self.burst


class FixedWindow:
    """Counts from zero in each window of the clock; it has no burst."""

    def __init__(self, rate: float, burst: float, window: float) -> None:
        self.rate, self.burst = rate, burst
        self._window = window
        self._number, self._admitted = -math.inf, 0

    def try_acquire(self, now: float) -> bool:
        """See `ServiceLimiter`."""
        number = math.floor(now / self._window + _TOLERANCE)
        if number > self._number:
            self._number, self._admitted = number, 0
        admitted = self._admitted + 1 <= self.rate * self._window + _TOLERANCE
        self._admitted += admitted
        return admitted

    def seconds_until_admitted(self, now: float) -> float:
        """See `ServiceLimiter`."""
        return max(0.0, (self._number + 1) * self._window - now)

    def set_limits(self, rate: float, burst: float, now: float) -> None:
        """See `ServiceLimiter`."""
        self.rate, self.burst = rate, burst


class SlidingWindow:
    """Counts the requests admitted in the last window, which it knows `delay` seconds late."""

    def __init__(self, rate: float, burst: float, window: float, delay: float = 0.0) -> None:
        self.rate, self.burst = rate, burst
        self._window, self._delay = window, delay
        self._admitted: list[float] = []

    def try_acquire(self, now: float) -> bool:
        """See `ServiceLimiter`."""
        if math.isinf(self.rate):
            return True
        del self._admitted[: bisect_right(self._admitted, now - self._delay - self._window + _TOLERANCE)]
        if not self._has_room(now):
            return False
        self._admitted.append(now)
        return True

    def seconds_until_admitted(self, now: float) -> float:
        """See `ServiceLimiter`."""
        ends = (at + self._window + self._delay for at in self._admitted)
        return next((end - now for end in ends if end >= now and self._has_room(end)), 0.0)

    def set_limits(self, rate: float, burst: float, now: float) -> None:
        """See `ServiceLimiter`."""
        self.rate, self.burst = rate, burst

    def _has_room(self, now: float) -> bool:
        known_until = now - self._delay + _TOLERANCE
        counted = bisect_right(self._admitted, known_until) - bisect_right(self._admitted, known_until - self._window)
        return counted + 1 <= self.rate * self._window + _TOLERANCE


class PartitionedBuckets:
    """Token buckets that share rate and burst; each request meets one of them at random."""

    def __init__(self, rate: float, burst: float, count: int, rng: Random, now: float = 0.0) -> None:
        self.rate, self.burst = rate, burst
        self._rng = rng
        self._buckets = [QuotaBucket(*self._shares(rate, burst, count), now) for _ in range(count)]
        self._last = self._buckets[0]

    def try_acquire(self, now: float) -> bool:
        """See `ServiceLimiter`."""
        self._last = self._rng.choice(self._buckets)
        return self._last.try_acquire(now)

    def seconds_until_admitted(self, now: float) -> float:
        """See `ServiceLimiter`; it knows only the bucket that the last request met."""
        return self._last.seconds_until_admitted(now)

    def set_limits(self, rate: float, burst: float, now: float) -> None:
        """See `ServiceLimiter`."""
        self.rate, self.burst = rate, burst
        for bucket in self._buckets:
            bucket.set_limits(*self._shares(rate, burst, len(self._buckets)), now)

    @staticmethod
    def _shares(rate: float, burst: float, count: int) -> tuple[float, float]:
        return rate / count, max(1.0, burst / count)  # a smaller bucket would admit nothing


class LimiterKind(StrEnum):
    """The limiters that a simulated service can have."""

    TOKEN_BUCKET = "token-bucket"  # noqa: S105 - not a password
    FIXED_WINDOW = "fixed-window"
    SLIDING_WINDOW = "sliding-window"
    PARTITIONED = "partitioned"
    DELAYED = "delayed"


WINDOWS: Final = (LimiterKind.FIXED_WINDOW, LimiterKind.SLIDING_WINDOW, LimiterKind.DELAYED)


@dataclass(frozen=True, slots=True)
class LimiterSpec:
    """A limiter and its parameters; raises `UsageError` for an invalid one."""

    kind: LimiterKind = LimiterKind.TOKEN_BUCKET
    partitions: int = 8
    """Buckets of `PARTITIONED`."""
    window: float = 1.0
    """Seconds of the windows."""
    delay: float = 0.5
    """Seconds until `DELAYED` counts a request."""

    def __post_init__(self) -> None:
        if self.partitions < 1:
            raise UsageError(f"partitions {self.partitions}: must be 1 or more")
        if not 0 < self.window < math.inf:
            raise UsageError(f"window {self.window:g}: must be above 0 seconds")
        if not 0 <= self.delay < math.inf:
            raise UsageError(f"delay {self.delay:g}: must be 0 seconds or more")

    def create(self, rate: float, burst: float, rng: Random, now: float = 0.0) -> ServiceLimiter:
        """Make a limiter that has admitted nothing yet; `rng` chooses partitions."""
        match self.kind:
            case LimiterKind.TOKEN_BUCKET:
                return QuotaBucket(rate, burst, now)
            case LimiterKind.FIXED_WINDOW:
                return FixedWindow(rate, burst, self.window)
            case LimiterKind.SLIDING_WINDOW:
                return SlidingWindow(rate, burst, self.window)
            case LimiterKind.DELAYED:
                return SlidingWindow(rate, burst, self.window, self.delay)
            case LimiterKind.PARTITIONED:
                return PartitionedBuckets(rate, burst, self.partitions, rng, now)

    def check_quota(self, rate: float, burst: float) -> None:
        """Raise `UsageError` unless the limiter can admit requests at this rate with this burst."""
        if not rate > 0:
            raise UsageError(f"rate {rate}: must be above 0 requests per second (inf: no quota)")
        if not 1 <= burst < math.inf:
            raise UsageError(f"burst {burst}: must be a finite number of at least 1")
        if self.kind in WINDOWS and rate * self.window < 1 - _TOLERANCE:
            raise UsageError(f"rate {rate:g}: a window of {self.window:g} s admits no request; choose a longer window")

    def describe(self, rate: float, burst: float) -> str:
        """Get the quota in words."""
        counted = {
            LimiterKind.TOKEN_BUCKET: f"with a burst of {burst:g}",
            LimiterKind.FIXED_WINDOW: f"in fixed windows of {self.window:g} s",
            LimiterKind.SLIDING_WINDOW: f"in a sliding window of {self.window:g} s",
            LimiterKind.PARTITIONED: f"in {self.partitions} partitions with a burst of {burst:g} in all",
            LimiterKind.DELAYED: f"in a sliding window of {self.window:g} s, counted {self.delay:g} s late",
        }
        return f"{rate:g} requests/s {counted[self.kind]}"
