"""Counts and logs requests for tests."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

_LOG_LENGTH: Final = 200_000


@dataclass(frozen=True, slots=True)
class RequestLogEntry:
    """A request in the log."""

    time: float
    """Time of arrival, seconds."""
    operation: str
    core: str = ""
    entries: int = 0
    status: int = 0
    delivery: str = ""
    code: str = ""
    request_id: str = ""
    subject: str = ""
    """What a request to AWS IoT is about: names in its path and the principal."""


class Counters:
    """Counts since the start or the last reset."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        """All requests by operation."""
        self.statuses: Counter[int] = Counter()
        self.codes: Counter[str] = Counter()
        """Errors of whole requests by code."""
        self.entry_codes: Counter[str] = Counter()
        self.admitted = 0
        """Signed requests that got a token of the quota."""
        self.throttled = 0
        """Signed requests that got no token or a throttling fault."""
        self.unsigned = 0
        self.disassociated = 0
        """Removed associations."""
        self.associated = 0
        self.identity = 0
        """GetCallerIdentity requests, which use no quota."""
        self.log: deque[RequestLogEntry] = deque(maxlen=_LOG_LENGTH)
        self.carried: dict[str, dict[str, int]] = {}
        """Core → thing → number of admitted disassociate requests with the thing."""
        self.resent: dict[str, dict[str, int]] = {}
        """Core → thing → number of these requests after an earlier one removed the association."""
        self.in_flight = 0
        self.max_in_flight = 0
        self.max_in_flight_per_core = 0
        self._in_flight: Counter[str] = Counter()
        self._disassociated_by_core: dict[str, set[str]] = {}

    def record_batch(self, core: str, things: Iterable[str]) -> None:
        """Count the things of an admitted disassociate request."""
        carried = self.carried.setdefault(core, {})
        disassociated = self._disassociated_by_core.get(core, ())
        for thing in things:
            carried[thing] = carried.get(thing, 0) + 1
            if thing in disassociated:
                resent = self.resent.setdefault(core, {})
                resent[thing] = resent.get(thing, 0) + 1

    def record_disassociated(self, core: str, thing: str) -> None:
        """Count a removed association."""
        self.disassociated += 1
        self._disassociated_by_core.setdefault(core, set()).add(thing)

    def record_associated(self, core: str, thing: str) -> None:
        """Count an association; sending the thing again is then not a repetition."""
        self.associated += 1
        self._disassociated_by_core.get(core, set()).discard(thing)

    @contextmanager
    def track_in_flight(self, core: str) -> Iterator[None]:
        """Count a request for `core` as in flight during the block."""
        self.in_flight += 1
        self._in_flight[core] += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if core:
            self.max_in_flight_per_core = max(self.max_in_flight_per_core, self._in_flight[core])
        try:
            yield
        finally:
            self.in_flight -= 1
            self._in_flight[core] -= 1
            if not self._in_flight[core]:
                del self._in_flight[core]

    def summary(self) -> dict[str, Any]:
        """Convert all counts to a JSON object."""
        counts = [number for things in self.carried.values() for number in things.values()]
        return {
            "requests": dict(self.requests),
            "total": sum(self.requests.values()),
            "admitted": self.admitted,
            "throttled": self.throttled,
            "unsigned": self.unsigned,
            "identity": self.identity,
            "statuses": {str(status): number for status, number in sorted(self.statuses.items())},
            "codes": dict(self.codes),
            "entry_codes": dict(self.entry_codes),
            "disassociated": self.disassociated,
            "associated": self.associated,
            "max_in_flight": self.max_in_flight,
            "max_in_flight_per_core": self.max_in_flight_per_core,
            "things": {
                "carried": len(counts),
                "most_times_carried": max(counts, default=0),
                "carried_more_than_once": sum(1 for number in counts if number > 1),
                "resent_after_success": sum(map(len, self.resent.values())),
            },
        }

    def things(self) -> dict[str, Any]:
        """Get the things in several requests and the things sent again after a success."""
        repeated = {core: {t: n for t, n in things.items() if n > 1} for core, things in self.carried.items()}
        return {
            "carried_more_than_once": {core: things for core, things in repeated.items() if things},
            "resent_after_success": self.resent,
        }
