"""Rule: what a measurement of the service came to, as lines for a person, as a JSON object and as CSV; pure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from asyncgg.report.summary import format_duration
from asyncgg.transport import Endpoint
from asyncgg.tuning.measure import Measured, percentile
from asyncgg.tuning.report import SCHEMA

__all__ = ["Found", "found_lines", "found_object", "others", "write_requests"]

_NOBODY: Final = 0.03
"""Part of the quota that may be missing without anybody having taken it."""
_PERCENTILES: Final = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class Found:
    """A measurement and what is known beside it."""

    measured: Measured
    target: Endpoint
    documented: float
    applied: float | None = None
    """What Service Quotas says."""
    applied_unknown: str = ""
    """Why it says nothing."""


def others(found: Found) -> float | None:
    """Requests a second that others seem to use: what is missing of the quota; None when the rate is not known."""
    rate = found.measured.rate
    if rate is None:
        return None
    quota = found.applied or found.documented
    missing = quota - rate
    return missing if missing > max(_NOBODY * quota, found.measured.rate_error) else 0.0


def found_lines(found: Found) -> list[str]:
    """For a person."""
    measured = found.measured
    lines = [] if measured.complete else ["cut short: what is told below is what was known by then"]
    if measured.rate is None and not measured.throttled:
        lines.append(f"rate       nothing was throttled up to {measured.reached:.3g} requests/s; --up-to goes higher")
    elif measured.rate is None:
        lines.append("rate       unknown: it ended before a second throttle could tell")
    else:
        least = "at least " if measured.at_least else ""
        lines.append(f"rate       {least}{measured.rate:.4g} requests/s can be used (+-{measured.rate_error:.2g})")
    if measured.burst is not None:
        lines.append(f"burst      {measured.burst:.3g} requests, seen {_times(measured.bursts_seen)}")
    elif measured.rate is not None:
        lines.append("burst      unknown: it was not seen to run out after it was full")
    if latencies := measured.latencies:
        told = ", ".join(f"p{part} {1000 * percentile(latencies, part / 100):.0f} ms" for part in _PERCENTILES)
        lines.append(f"latency    {told}, at least {1000 * latencies[0]:.0f} ms")
    lines += _beside(found)
    if measured.retry_after:
        lines.append(f"pauses     throttles ask for up to {measured.retry_after:g} s (Retry-After), which were kept")
    lines.append(
        f"cost       {measured.sent:,} ListCoreDevices, {measured.throttled} throttled, {measured.failed} failed,"
        f" {format_duration(measured.seconds)}"
    )
    return [*lines, *_next(measured)]


def found_object(found: Found) -> dict[str, Any]:
    """The same as `asyncgg.tune/1`."""
    measured, taken = found.measured, others(found)
    return {
        "schema": SCHEMA,
        "mode": "live",
        "region": found.target.region,
        "endpoint": found.target.url,
        "complete": measured.complete,
        "rate": _rounded(measured.rate),
        "rate_error": _rounded(measured.rate_error),
        "rate_is_at_least": measured.at_least,
        "burst": _rounded(measured.burst),
        "reached": round(measured.reached, 3),
        "latency": {
            f"p{part}": round(percentile(measured.latencies, part / 100), 4) if measured.latencies else None
            for part in _PERCENTILES
        },
        "quota": {
            "documented": found.documented,
            "applied": found.applied,
            "applied_unknown": found.applied_unknown,
            "code": measured.quota_code,
        },
        "others": _rounded(taken),
        "retry_after": measured.retry_after or None,
        "requests": {"sent": measured.sent, "throttled": measured.throttled, "failed": measured.failed},
        "seconds": round(measured.seconds, 3),
    }


def write_requests(file: IO[str], measured: Measured) -> None:
    """Every question as a row of CSV, by the time it was sent; times in seconds since the first."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("sent", "answered", "what"))
    log = sorted(measured.log)
    for one in log:
        writer.writerow((f"{one.sent - log[0].sent:.4f}", f"{one.answered - log[0].sent:.4f}", one.what.value))


def _beside(found: Found) -> list[str]:
    applied = f"{found.applied:g}/s by Service Quotas" if found.applied is not None else ""
    unknown = f"Service Quotas: {found.applied_unknown}" if found.applied_unknown else ""
    told = ", ".join(filter(None, (applied, f"{found.documented:g}/s as documented", unknown)))
    code = found.measured.quota_code
    lines = [f"quota      {told}" + (f"; throttles name {code}" if code else "")]
    taken = others(found)
    if taken and not found.measured.at_least:
        lines.append(f"others     seem to use {taken:.3g} requests/s, or the quota here is another one")
    elif taken == 0:
        lines.append("others     use nothing that shows")
    return lines


def _next(measured: Measured) -> Sequence[str]:
    if measured.rate is None or not measured.latencies:
        return ()
    latencies = measured.latencies
    base, mean = latencies[0], sum(latencies) / len(latencies)
    burst = f" --burst {measured.burst:.3g}" if measured.burst is not None else ""
    latency = f"--latency {1000 * base:.0f}ms --jitter {1000 * max(0.0, mean - base):.0f}ms"
    return "next:", f"  asyncgg tune --quota {measured.rate:.4g}{burst} {latency}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
