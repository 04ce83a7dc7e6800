"""Rule: what a rate policy is, and the one that never changes; the one that learns is in `adaptive`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from asyncgg.errors import UsageError
from asyncgg.ratelimit.quota import default_burst

__all__ = ["FixedRate", "RatePolicy", "RateStatistics", "require_positive"]


@dataclass(frozen=True, slots=True)
class RateStatistics:
    """A policy at one moment; rates in requests a second."""

    rate: float
    burst: float
    ceiling: float
    throttle_events: int
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
        self._rate = require_positive("rate", rate)
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


def require_positive(name: str, value: float) -> float:
    """The value, if it can be a rate; `UsageError` otherwise, which names it."""
    if not value > 0:  # so put, it refuses NaN as well
        raise UsageError(f"the {name} must be above 0 requests a second, not {value}")
    return value
