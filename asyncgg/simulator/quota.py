"""Rule: the quota as the service counts it lives here: one token bucket, with the time as an argument.

It shares nothing with the limiter of the engine, so that a mistake there cannot hide itself here.
"""

from __future__ import annotations

import math

from asyncgg.errors import UsageError

__all__ = ["QuotaBucket"]


class QuotaBucket:
    """One token bucket for all operations together, full at the start.

    [AWS General Reference, Greengrass V2 quotas: all control-plane operations of a Region draw on one rate; the
    burst is not documented.]
    """

    def __init__(self, rate: float, burst: float, now: float = 0.0) -> None:
        check_quota(rate, burst)
        self.rate = rate
        """Requests per second; infinity for no quota at all."""
        self.burst = burst
        """Most requests in one instant."""
        self._tokens = burst
        self._updated_at = now

    def try_acquire(self, now: float) -> bool:
        """Admit one request at `now` (seconds), or refuse it; a refused one costs nothing."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def seconds_until_admitted(self, now: float) -> float:
        """Seconds from `now` until the next request would be admitted."""
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) / self.rate)

    def set_limits(self, rate: float, burst: float, now: float) -> None:
        """Use another rate and burst from `now` on; what was saved up at the old rate stays, up to the new burst.

        Raises UsageError for an impossible rate or burst.
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
        if math.isinf(self.rate):  # full again at once, also within one instant
            self._tokens = self.burst


def check_quota(rate: float, burst: float) -> None:
    """Raise UsageError unless rate (requests/s) is above 0 and burst is a finite number of at least 1."""
    if not rate > 0:
        raise UsageError(f"rate {rate}: a quota is above 0 requests per second (inf for none)")
    if not (burst >= 1 and math.isfinite(burst)):
        raise UsageError(f"burst {burst}: at least 1 request must fit into the bucket")
