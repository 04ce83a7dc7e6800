"""Values of the trials of a parameter sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncgg.errors import UsageError

_MAX_BATCHES: Final = 10_000_000
"""Per trial: 1,000 million things. A larger trial would run for days."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The four settings that decide how a quota is used, named as in `asyncgg.settings`."""

    rate: float
    """Maximum requests per second."""
    burst: float | None
    """Requests that can start at once; None: automatic, follows the rate."""
    concurrency: int
    per_core: int


@dataclass(frozen=True, slots=True)
class Workload:
    """The work of one trial: `batches` full requests, spread evenly over `cores` core devices."""

    batches: int
    cores: int

    def __post_init__(self) -> None:
        if self.batches < 1 or self.cores < 1:
            raise UsageError(f"a trial needs at least 1 batch and 1 core, not {self.batches} and {self.cores}")
        if self.batches > _MAX_BATCHES:
            raise UsageError(f"a trial has at most {_MAX_BATCHES:,} batches, not {self.batches:,}")

    def batches_for_core(self, number: int) -> int:
        """Return the batches of core `number`, counted from 0."""
        return self.batches // self.cores + (number < self.batches % self.cores)


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of one configuration."""

    config: Configuration
    seconds: float
    """Makespan of the run, in the time of its service."""
    sent: int
    throttled: int
    max_in_flight: int
    complete: bool
    """Whether every batch was done; otherwise the run aborted because of throttling."""

    @property
    def throttled_share(self) -> float:
        """Share of the requests sent, from 0 to 1."""
        return self.throttled / self.sent if self.sent else 0.0
