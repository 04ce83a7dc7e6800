"""Describes the behaviour of a `FakeService`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from asyncgg.errors import UsageError
from asyncgg.models import ErrorResponse, Reply
from asyncgg.service_limiters import LimiterSpec


class Latency(Protocol):
    """A distribution of latencies."""

    def sample(self, rng: Random) -> float:
        """Draw the seconds from the first byte sent to the last one received."""


@dataclass(frozen=True, slots=True)
class JitteredLatency:
    """`base` seconds plus an exponentially distributed time with a mean of `jitter` seconds."""

    base: float
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("latency", self.base), ("jitter", self.jitter)):
            if not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"{name} {value}: must be 0 seconds or more")

    def sample(self, rng: Random) -> float:
        """See `Latency`."""
        return self.base + rng.expovariate(1 / self.jitter) if self.jitter else self.base


@dataclass(frozen=True, slots=True)
class RecordedLatency:
    """Random choices from measured latencies (seconds, at least one)."""

    seconds: Sequence[float]

    def __post_init__(self) -> None:
        if not self.seconds or not all(0 <= value < math.inf for value in self.seconds):
            raise UsageError("recorded latencies: give at least one, each 0 seconds or more")

    def sample(self, rng: Random) -> float:
        """See `Latency`."""
        return rng.choice(self.seconds)


@dataclass(frozen=True, slots=True)
class ScheduledChange:
    """A change `at` seconds after the first request; None keeps a value."""

    at: float
    quota: float | None = None
    burst: float | None = None
    background_rate: float | None = None
    latency: Latency | None = None


@dataclass(frozen=True, slots=True)
class ScenarioFault:
    """Some requests take their token of the quota but get `reply`.

    They are a random `share` (0 to 1) and the numbers `request_numbers`, counted from 1 in order of
    arrival.
    """

    reply: Reply = field(default_factory=lambda: ErrorResponse(500, "InternalServerException", "scripted"))
    share: float = 0.0
    request_numbers: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UsageError(f"fault share {self.share}: must be from 0 to 1")


@dataclass(frozen=True, slots=True)
class Scenario:
    """The behaviour of a service. Rates are in requests per second, times in seconds."""

    quota: float = 30.0
    """Admitted requests per second; infinity for no quota."""
    burst: float = 30.0
    """Capacity of the token bucket or of all partitions, which are full at the start."""
    latency: Latency = JitteredLatency(0.08)
    background_rate: float = 0.0
    """Evenly spaced requests per second of other clients, which use up tokens."""
    retry_after: float | None = None
    """Retry-After of throttles, seconds; None for no Retry-After."""
    faults: Sequence[ScenarioFault] = ()
    changes: Sequence[ScheduledChange] = ()
    limiter: LimiterSpec = field(default_factory=LimiterSpec)
    """How the service counts."""

    def __post_init__(self) -> None:
        for change in (ScheduledChange(0.0, self.quota, self.burst, self.background_rate), *self.changes):
            if not change.at >= 0:
                raise UsageError(f"change at {change.at}: must be 0 seconds or more")
            quota = self.quota if change.quota is None else change.quota
            self.limiter.check_quota(quota, self.burst if change.burst is None else change.burst)
            if change.background_rate is not None and not 0 <= change.background_rate < math.inf:
                raise UsageError(f"background rate {change.background_rate}: must be 0 requests per second or more")
