"""The ramp of a run: how many things per minute are sent, growing with success."""

# Not a quota, which counts requests. The growth is that of AWS IoT Jobs [ExponentialRolloutRate].

from __future__ import annotations

import math
from dataclasses import dataclass

from asyncgg.errors import UsageError


@dataclass(frozen=True, slots=True)
class RampPlan:
    """The initial things per minute and their growth. Raises `UsageError`."""

    base_per_minute: float
    factor: float
    """Factor of each increase; 1 means constant."""
    increase_after: int
    """Successful things between two increases."""
    maximum_per_minute: float = math.inf

    def __post_init__(self) -> None:
        if not (self.base_per_minute > 0 and self.factor >= 1 and self.increase_after >= 1):
            raise UsageError(
                "ramp: base_per_minute must be greater than 0; factor and increase_after must be at least 1"
            )

    def per_minute(self, done: int) -> float:
        """Things per minute after `done` successful things."""
        maximum = max(self.maximum_per_minute, self.base_per_minute)
        steps = done // self.increase_after
        if steps * math.log(self.factor) >= math.log(maximum / self.base_per_minute):  # the power could overflow
            return maximum
        return self.base_per_minute * float(self.factor**steps)


class Ramp:
    """A ramp in progress: after a batch of n things, nothing is sent for the time of n things."""

    def __init__(self, plan: RampPlan) -> None:
        self.plan = plan
        self._done = 0
        self._next_send_at = -math.inf

    @property
    def per_minute(self) -> float:
        """Current things per minute."""
        return self.plan.per_minute(self._done)

    @property
    def max_batch(self) -> float:
        """Maximum things per request: an initial minute's worth."""
        return max(1.0, self.plan.base_per_minute)

    def next_send_at(self) -> float:
        """Time at which the next batch can be sent, on the clock of `record_sent`."""
        return self._next_send_at

    def record_sent(self, things: int, now: float) -> None:
        """Record a batch of `things`, sent at `now` (seconds)."""
        self._next_send_at = max(self._next_send_at, now) + 60.0 * things / self.per_minute

    def record_success(self, things: int) -> None:
        """Record successful things."""
        self._done += things
