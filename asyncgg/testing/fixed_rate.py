"""A rate policy for tests and benchmarks that never changes its rate."""

from __future__ import annotations

from asyncgg.ratelimit import RateStatistics, default_burst


class FixedRate:
    """A constant rate in requests per second; infinity means no limit."""

    __slots__ = ("_burst", "_rate")

    def __init__(self, rate: float, *, burst: float | None = None) -> None:
        self._rate = rate
        self._burst = default_burst(rate) if burst is None else burst

    @property
    def rate(self) -> float:
        """The constant rate."""
        return self._rate

    @property
    def burst(self) -> float:
        """The constant burst."""
        return self._burst

    def on_accepted(self, started: float, now: float) -> float:
        """Return the constant rate."""
        return self._rate

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Return the constant rate."""
        return self._rate

    def statistics(self) -> RateStatistics:
        """The current state."""
        return RateStatistics(self._rate, self._burst, self._rate, 0)
