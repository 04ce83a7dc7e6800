"""The interface of rate policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from asyncgg.errors import UsageError


@dataclass(frozen=True, slots=True)
class RateStatistics:
    """The state of a policy; rates in requests per second."""

    rate: float
    burst: float
    ceiling: float
    throttle_events: int
    """How often throttles lowered the rate; those of requests in flight together count once."""


class RatePolicy(Protocol):
    """Chooses rate (requests per second) and burst. Times are seconds of one clock."""

    @property
    def rate(self) -> float:
        """The current rate."""

    @property
    def burst(self) -> float:
        """The current burst in requests."""

    def on_accepted(self, started: float, now: float) -> float:
        """A request sent at `started` was accepted at `now`. Returns the new rate."""

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
