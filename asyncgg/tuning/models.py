"""Rule: what is tried out and what came of it, as values; nothing here runs anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncgg.errors import UsageError

__all__ = ["Configuration", "Trial", "Workload"]

_MAX_BATCHES: Final = 10_000_000
"""Batches of a trial: a thousand million things; more would run for days."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings to be tried out: four that decide how a quota is used, named as in `asyncgg.settings`."""

    rate: float
    """Requests a second at most."""
    burst: float | None
    """Requests that may start at once; None: small, follows the rate."""
    concurrency: int
    per_core: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What there is to do in a trial: `batches` full requests, spread evenly over `cores` core devices."""

    batches: int
    cores: int

    def __post_init__(self) -> None:
        if self.batches < 1 or self.cores < 1:
            raise UsageError(f"a trial needs 1 batch and 1 core at least, not {self.batches} and {self.cores}")
        if self.batches > _MAX_BATCHES:
            raise UsageError(f"a trial has {_MAX_BATCHES:,} batches at most, not {self.batches:,}")

    def batches_for_core(self, number: int) -> int:
        """Batches of core `number`, counted from 0."""
        return self.batches // self.cores + (number < self.batches % self.cores)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one point."""

    config: Configuration
    seconds: float
    """The run's makespan, in the time of its service."""
    sent: int
    throttled: int
    max_in_flight: int
    complete: bool
    """Whether everything was done; else the run stopped itself, throttled without end."""

    @property
    def throttled_share(self) -> float:
        """Of the requests sent."""
        return self.throttled / self.sent if self.sent else 0.0
