"""Rule: what a scripted service is to be like lives here: values only; what it does with them is in `service`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from asyncgg.errors import UsageError
from asyncgg.models import ErrorResponse, Reply

__all__ = ["JitteredLatency", "Latency", "RecordedLatency", "Scenario", "ScenarioFault", "ScheduledChange"]


class Latency(Protocol):
    """How long requests take."""

    def sample(self, rng: Random) -> float:
        """Seconds from the first byte sent to the last one received, for one request; half of it each way."""
        ...


@dataclass(frozen=True, slots=True)
class JitteredLatency:
    """`base` seconds and an exponential time of `jitter` seconds on average on top: most are quick, a few are late."""

    base: float
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("latency", self.base), ("jitter", self.jitter)):
            if not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"a {name} must be 0 seconds or more, not {value}")

    def sample(self, rng: Random) -> float:
        """See `Latency`."""
        return self.base + rng.expovariate(1 / self.jitter) if self.jitter else self.base


@dataclass(frozen=True, slots=True)
class RecordedLatency:
    """As it was seen: each request takes one of these times (seconds), drawn at random. At least one is needed."""

    seconds: Sequence[float]

    def __post_init__(self) -> None:
        if not self.seconds or not all(0 <= one < math.inf for one in self.seconds):
            raise UsageError("recorded latencies must be one or more times of 0 seconds or more")

    def sample(self, rng: Random) -> float:
        """See `Latency`."""
        return rng.choice(self.seconds)


@dataclass(frozen=True, slots=True)
class ScheduledChange:
    """A change `at` so many seconds after the first request; what is None stays as it is."""

    at: float
    quota: float | None = None
    burst: float | None = None
    background_rate: float | None = None
    latency: Latency | None = None


@dataclass(frozen=True, slots=True)
class ScenarioFault:
    """Some requests get `reply`, whatever they ask, though they took their token of the quota.

    A part of them, `share` (0 to 1), by the dice; and those numbered in `arrivals`, counted from 1 as they arrive.
    """

    reply: Reply = field(default_factory=lambda: ErrorResponse(500, "InternalServerException", "scripted"))
    share: float = 0.0
    request_numbers: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UsageError(f"the share of a fault is from 0 to 1, not {self.share}")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A service to be played. Rates in requests a second, times in seconds."""

    quota: float = 30.0
    """Tokens that come in a second; infinity for no quota."""
    burst: float = 30.0
    """Tokens that can be saved up; the bucket is full at first."""
    latency: Latency = JitteredLatency(0.08)
    background_rate: float = 0.0
    """Requests a second that somebody else sends, evenly: their tokens never get to us."""
    retry_after: float | None = None
    """What throttles say of when to come again; None: nothing."""
    faults: Sequence[ScenarioFault] = ()
    changes: Sequence[ScheduledChange] = ()

    def __post_init__(self) -> None:
        for change in (ScheduledChange(0.0, self.quota, self.burst, self.background_rate), *self.changes):
            if not change.at >= 0:
                raise UsageError(f"a step is 0 seconds or more after the first request, not {change.at}")
            if change.quota is not None and not change.quota > 0:
                raise UsageError(f"a quota must be above 0 requests a second, not {change.quota}")
            if change.burst is not None and not 1 <= change.burst < math.inf:
                raise UsageError(f"a burst must be 1 request or more, not {change.burst}")
            if change.background_rate is not None and not 0 <= change.background_rate < math.inf:
                raise UsageError(f"others send 0 requests a second or more, not {change.background_rate}")
