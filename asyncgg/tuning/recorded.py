"""Rule: what a journal recorded of the service it met becomes a script here: latencies, throttles, errors.

The quota is read off the throttles. When they all came at once, what was let in after them is taken, of which a good
policy leaves little. A run that was never throttled only shows that the quota is no lower than what it used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyncgg.classify import ReplyVerdict
from asyncgg.errors import UsageError
from asyncgg.journal import JournalReader
from asyncgg.ratelimit import documented_quota
from asyncgg.runs import quota_rate
from asyncgg.settings import build_settings
from asyncgg.testing import RecordedLatency, Scenario, ScenarioFault
from asyncgg.tuning.fit import Fit, Seen, burst_of, fit
from asyncgg.tuning.values import Point, Work

__all__ = ["Recorded", "read_recorded", "script_of"]

_LATENCIES: Final = 5000
"""Latencies kept at most, evenly spread over the run."""
_SEEN: Final = 20_000
"""Requests that the quota is read off at most: the first ones."""
_WINDOW: Final = 5.0
_LOST: Final = frozenset({ReplyVerdict.LOST.value, ReplyVerdict.NOT_SENT.value, "unknown"})
_SHARE: Final = 0.0005
"""Errors below this share are chance."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A past run."""

    journal: Path
    work: Work
    """All of it."""
    point: Point
    """The settings it was begun with."""
    documented: float
    """Of its Region."""
    seconds: float
    sent: int
    throttled: int
    latencies: Sequence[float]
    """Ascending, of answered requests."""
    errors: float
    """Share of requests that failed with a 5xx."""
    fit: Fit | None
    after: Fit | None
    """By what was accepted after the first throttle: no more than the quota."""
    highest: float
    """The most requests a second it had accepted, over five seconds."""


def read_recorded(path: Path) -> Recorded:
    """Raises `JournalError`, and `UsageError` when the journal has no answered request with its time."""
    with JournalReader(path) as reader:
        meta, summary = reader.meta(), reader.summary()
        settings = build_settings(reader.settings())
        requests = [one for one in reader.requests() if one.verdict not in _LOST]
        cores = sum(1 for _ in reader.cores())
    if not requests:
        raise UsageError(f"journal {path}: no request in it was answered, so there is nothing to replay")
    throttled = [one.verdict == ReplyVerdict.THROTTLED.value for one in requests]
    errors = sum(one.verdict == ReplyVerdict.TRANSIENT.value for one in requests) / len(requests)
    latencies = sorted(max(0.0, one.answered_at - one.sent_at) for one in requests[:: 1 + len(requests) // _LATENCIES])
    seen = [
        Seen((one.sent_at + one.answered_at) / 2, refused) for one, refused in zip(requests, throttled, strict=True)
    ]
    unsure = (latencies[int(0.9 * len(latencies))] - latencies[int(0.1 * len(latencies))]) / 4
    region = meta.get("region")
    point = Point(quota_rate(settings, region), settings.burst, settings.concurrency, settings.per_core)
    return Recorded(
        journal=path,
        work=Work(max(1, summary.minimum), max(1, cores)),
        point=point,
        documented=documented_quota(region or ""),
        seconds=summary.seconds,
        sent=summary.sent,
        throttled=sum(throttled),
        latencies=latencies,
        errors=errors,
        fit=fit(seen[:_SEEN], unsure=unsure),
        after=_after(seen),
        highest=_highest(one.at for one in seen if not one.throttled),
    )


def script_of(recorded: Recorded, *, quota: float | None = None, burst: float | None = None) -> tuple[Scenario, str]:
    """The service it met, and where its quota is known from; a `quota` or a `burst` given counts instead."""
    found = recorded.fit
    if quota is not None:
        source = "as told"
    elif found is not None and found.window >= 1:
        quota, source = found.rate, f"read off its {recorded.throttled:,} throttles"
        burst = burst if burst is not None else found.burst
    elif recorded.after is not None:
        quota, source = recorded.after.rate, "what it let in after it first throttled; it may be a little more"
        burst = burst if burst is not None else recorded.after.burst
    else:
        quota = max(recorded.documented, recorded.highest)
        source = "assumed, since nothing was throttled: the documented one, or what was used; --quota tells another"
    script = Scenario(
        quota=quota,
        burst=max(1.0, quota if burst is None else burst),
        latency=RecordedLatency(tuple(recorded.latencies)),
        faults=(ScenarioFault(share=recorded.errors),) if recorded.errors > _SHARE else (),
    )
    return script, source


def _after(seen: Sequence[Seen]) -> Fit | None:
    """The bucket if all that came in after the first throttle was used; None when too little came after it."""
    first = next((one.at for one in seen if one.throttled), None)
    if first is None:
        return None
    later = [one.at for one in seen if not one.throttled and one.at > first]
    window = max(later, default=first) - first
    if window < _WINDOW / 2:
        return None
    rate = len(later) / window
    burst, times = burst_of([one for one in seen if one.at <= first], rate)
    return Fit(rate, burst, window, times)


def _highest(times: Iterable[float]) -> float:
    ordered = sorted(times)
    first, most = 0, 0
    for number, at in enumerate(ordered):
        while ordered[first] < at - _WINDOW:
            first += 1
        most = max(most, number - first + 1)
    whole = ordered[-1] - ordered[0] if ordered else 0.0
    return most / min(_WINDOW, max(whole, 1.0))
