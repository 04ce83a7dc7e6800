"""The quota of the simulated service as a token bucket."""

# It shares no code with asyncgg.ratelimit, so that an error there is not repeated here.

from __future__ import annotations

import math

from asyncgg.errors import UsageError


class QuotaBucket:
    """A token bucket for all operations, full at the start.

    [AWS General Reference, Greengrass V2 quotas: all control-plane operations of a Region share one
    rate; the burst is not documented]
    """

    def __init__(self, rate: float, burst: float, now: float = 0.0) -> None:
        check_quota(rate, burst)
        self.rate = rate
        """Requests per second; infinity for no quota."""
        self.burst = burst
        """Maximum number of requests at once."""
        self._tokens = burst
        self._updated_at = now

    def try_acquire(self, now: float) -> bool:
        """Take a token at `now` (seconds); False without one."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def seconds_until_admitted(self, now: float) -> float:
        """Get the seconds from `now` to the next token."""
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) / self.rate)

    def set_limits(self, rate: float, burst: float, now: float) -> None:
        """Change rate and burst at `now`; tokens above the new burst are lost.

        Raises `UsageError`.
        """
        check_quota(rate, burst)
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


def check_quota(rate: float, burst: float) -> None:
    """Raise `UsageError` unless `rate` is above 0 and `burst` is finite and at least 1."""
    if not rate > 0:
        raise UsageError(f"rate {rate}: must be above 0 requests per second (inf: no quota)")
    if not (burst >= 1 and math.isfinite(burst)):
        raise UsageError(f"burst {burst}: must be a finite number of at least 1")
