"""The progress of the lookups in AWS IoT while a policy decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.engine import StopReason


@dataclass(frozen=True, slots=True)
class LookupProgress:
    """The lookups of a policy so far."""

    things: int
    """Things looked up."""
    associations: int
    """All associations: at most so many things are looked up."""
    failed: int
    sent: int
    """Lookups of both kinds."""
    seconds: float
    """Seconds since the first lookup could start."""
    rate: float
    """Maximum lookups of things per second."""


class RegistryLookups:
    """Shows the lookups of `cache` as work that reports its progress; `clock` in seconds."""

    def __init__(self, cache: RegistryCache, associations: int, rate: float, clock: Callable[[], float]) -> None:
        self._cache = cache
        self._associations = associations
        self._rate = rate
        self._clock = clock
        self._started = clock()

    def stop(self, stop: StopReason) -> None:
        """Do nothing: the task of the lookups is cancelled."""

    def progress(self) -> LookupProgress:
        """The progress now."""
        done = self._cache.statistics()
        seconds = self._clock() - self._started
        return LookupProgress(
            done.things, self._associations, done.failed, done.things + done.sets, seconds, self._rate
        )
