"""The status of a run at one moment, from its journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from asyncgg.formatting import format_count, format_duration
from asyncgg.journal import JournalReader, RetryWait
from asyncgg.journal.activity import RunActivity, read_activity
from asyncgg.models import Summary
from asyncgg.ratelimit import expected_rate

_MIN_REQUESTS: Final = 10
"""Requests from which on a measured rate says how long the rest takes."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A journal at `now`, a Unix time."""

    now: float
    summary: Summary
    running: bool
    reason: str
    """Why the run ended; empty while it runs."""
    activity: RunActivity
    quota: float
    """Requests per second that the settings of the run allow."""
    requests_left: int
    retry_wait: RetryWait | None
    copy: str = ""
    """How old the copy of a state is, for people; empty for a local journal."""

    @property
    def rate(self) -> float:
        """Requests per second in the last few seconds; 0 without a running process."""
        return self.activity.rate(self.now)[0] if self.running else 0.0

    @property
    def future_rate(self) -> float:
        """The rate at which the rest is probably sent."""
        rate, seconds = self.activity.rate(self.now)
        if self.running and rate * seconds >= _MIN_REQUESTS:
            return rate
        return self.limit if self.running else self.quota

    @property
    def limit(self) -> float:
        """The limit of the rate, in requests per second."""
        return self.activity.limit.rate if self.activity.limit else self.quota

    @property
    def seconds_left(self) -> float:
        """The time that the rest takes at least, pauses before retries included."""
        seconds = self.requests_left / self.future_rate
        return seconds if self.retry_wait is None else max(seconds, self.retry_wait.seconds_left(self.now))

    def format_rate(self) -> str:
        """The rate of the last few seconds."""
        rate, seconds = self.activity.rate(self.now)
        return f"{rate:.1f} requests/s in the last {seconds:.0f} s"

    def format_limit(self) -> str:
        """The limit, since when it is this one, and why; empty if it is unknown."""
        limit = self.activity.limit
        if limit is None:
            return ""
        ago = format_duration(max(0.0, self.now - limit.at), whole=True)
        return f"{limit.rate:.1f} requests/s for {ago} ({limit.reason})"

    def format_left(self) -> str:
        """How much is left, and how long it takes; empty if nothing is."""
        if not self.requests_left:
            return ""
        time_left = f"{format_duration(self.seconds_left)} {'left' if self.running else 'needed'}"
        rate = "" if self.retry_wait is not None else f" at {self.future_rate:.1f} requests/s"
        return f"at least {format_count(self.requests_left, 'request')}, {time_left}{rate}"

    def to_dict(self) -> dict[str, Any]:
        """The members that a status has in addition to a summary."""
        limit, wait = self.activity.limit if self.running else None, self.retry_wait
        return {
            "running": self.running,
            "rate": round(self.rate, 2),
            "limit": limit and round(limit.rate, 2),
            "limit_reason": limit and limit.reason,
            "requests_left": self.requests_left,
            "seconds_left": round(self.seconds_left, 1),
            "waiting": wait and wait.describe(self.now),
        }


def read_status(reader: JournalReader, now: float, *, seconds: float = 10.0) -> RunStatus:
    """The status at `now`, with the requests of the last `seconds`. Raises `JournalError`."""
    running, meta, settings = reader.is_running(), reader.meta(), reader.settings()
    share = settings.get("quota_share", 1.0)
    return RunStatus(
        now=now,
        summary=reader.summary(),
        running=running,
        reason="" if running else meta.get("reason", ""),
        activity=read_activity(reader, now, seconds),
        quota=expected_rate(settings.get("rate"), settings.get("quota"), share, meta.get("region", "")),
        requests_left=reader.remaining()[1],
        retry_wait=reader.retry_wait(),
    )
