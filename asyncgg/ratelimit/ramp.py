"""Rule: how many things a minute may go while trust grows is decided here: pure, the time is an argument.

Not a quota, which counts requests: a person's wish to begin slowly. Each success beyond so many raises the rate by a
factor, as the exponential rollout of AWS IoT Jobs does. [AWS IoT Jobs: ExponentialRolloutRate]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from asyncgg.errors import UsageError

__all__ = ["Ramp", "RampPlan"]


@dataclass(frozen=True, slots=True)
class RampPlan:
    """Things a minute to begin with, and how they grow. Raises `UsageError` for figures that mean nothing."""

    base_per_minute: float
    factor: float
    """By which the rate grows each time; 1 for never."""
    increase_after: int
    """Things done between two increases."""
    maximum_per_minute: float = math.inf

    def __post_init__(self) -> None:
        if not (self.base_per_minute > 0 and self.factor >= 1 and self.increase_after >= 1):
            raise UsageError("a ramp begins above 0 things a minute, and grows by 1 or more after 1 thing or more")

    def per_minute(self, done: int) -> float:
        """Things a minute after `done` things."""
        maximum = max(self.maximum_per_minute, self.base_per_minute)
        steps = done // self.increase_after
        if steps * math.log(self.factor) >= math.log(
            maximum / self.base_per_minute
        ):  # also when the power would overflow
            return maximum
        return self.base_per_minute * float(self.factor**steps)


class Ramp:
    """One run's way up its plan: after a batch of n things nothing goes for the time n things are allowed to take."""

    def __init__(self, plan: RampPlan) -> None:
        self.plan = plan
        self._done = 0
        self._next_send_at = -math.inf

    @property
    def per_minute(self) -> float:
        """Things a minute now."""
        return self.plan.per_minute(self._done)

    @property
    def max_batch(self) -> float:
        """Most things of one request: no more than a minute's worth at the beginning, so that this too is slow."""
        return max(1.0, self.plan.base_per_minute)

    def next_send_at(self) -> float:
        """When the next batch may go, on the clock of `sent`."""
        return self._next_send_at

    def record_sent(self, things: int, now: float) -> None:
        """A batch of `things` goes at `now` (seconds)."""
        self._next_send_at = max(self._next_send_at, now) + 60.0 * things / self.per_minute

    def record_success(self, things: int) -> None:
        """So many more things are done."""
        self._done += things
