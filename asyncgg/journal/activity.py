"""What a run did in its last seconds, read from its journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from asyncgg.events import RateReason
from asyncgg.journal.reader import JournalReader, RateDecision

_RATE_WINDOW: Final = 10.0
"""Seconds over which the rate is measured; fewer since a start or a change of the limit."""
_MIN_RATE_WINDOW: Final = 1.0
_LIMIT_TOLERANCE: Final = 0.05
"""Relative change of the limit from which on it is another one."""


class RecentRequest(NamedTuple):
    """A request of the last seconds."""

    sent_at: float
    """Seconds since 1970, UTC."""
    throttled: bool


@dataclass(frozen=True, slots=True)
class RunActivity:
    """The last requests of a run and the limit of its rate."""

    requests: tuple[RecentRequest, ...]
    """Newest first."""
    limit: RateDecision | None
    """The latest change of the rate."""
    limit_since: float
    """Unix time from which on the limit was about the same."""

    def rate(self, now: float) -> tuple[float, float]:
        """Requests per second, and the seconds before `now` over which they were counted."""
        window = min(_RATE_WINDOW, max(_MIN_RATE_WINDOW, now - self.limit_since))
        return sum(now - request.sent_at < window for request in self.requests) / window, window

    def per_second(self, now: float, seconds: int) -> list[int]:
        """The requests in each of the `seconds` before `now`, oldest first."""
        counts = [0] * seconds
        for request in self.requests:
            if 0 <= (age := int(now - request.sent_at)) < seconds:
                counts[seconds - 1 - age] += 1
        return counts


def read_activity(reader: JournalReader, now: float, seconds: float = _RATE_WINDOW) -> RunActivity:
    """The activity in the `seconds` before `now`, a Unix time. Raises `JournalError`."""
    requests = tuple(_iter_recent(reader, now - seconds))
    decisions = reader.rate_decisions()
    since = 0.0
    for decision in reversed(decisions):
        if abs(decision.rate - decisions[-1].rate) > _LIMIT_TOLERANCE * decisions[-1].rate:
            break
        since = decision.at
        if decision.reason == RateReason.STARTED.value:
            break
    return RunActivity(requests, decisions[-1] if decisions else None, since)


def failing_cores(reader: JournalReader) -> list[tuple[str, int]]:
    """The cores with failed things and how many these are, most first. Raises `JournalError`."""
    return list(
        reader._rows(
            "SELECT core.name, count(*) FROM override"
            " CROSS JOIN core ON core.first = (SELECT max(first) FROM core WHERE first <= override.id)"
            " WHERE override.state = 3 GROUP BY core.id ORDER BY 2 DESC, 1"
        )
    )


def _iter_recent(reader: JournalReader, since: float) -> Iterator[RecentRequest]:
    # Ids follow the times of the claims, so this reads no more rows than it needs.
    rows = reader._rows(
        "SELECT claimed_at, coalesce(sent_at, claimed_at), verdict = 'throttled' FROM request ORDER BY id DESC"
    )
    for claimed_at, sent_at, throttled in rows:
        if claimed_at < since:
            break
        yield RecentRequest(sent_at, bool(throttled))
