"""Rule: what a measurement of the service came to, as lines for a person, as a JSON object and as CSV; pure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from asyncgg.formatting import format_duration
from asyncgg.transport import Endpoint
from asyncgg.tuning.probe import ProbeResult, percentile
from asyncgg.tuning.report import SCHEMA

__all__ = ["ProbeReport", "format_probe", "other_usage", "probe_to_dict", "write_requests"]

_NOISE_SHARE: Final = 0.03
"""Part of the quota that may be missing without anybody having taken it."""
_PERCENTILES: Final = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """A measurement and what is known beside it."""

    result: ProbeResult
    endpoint: Endpoint
    documented: float
    applied: float | None = None
    """What Service Quotas says."""
    applied_unknown_reason: str = ""
    """Why it says nothing."""


def other_usage(report: ProbeReport) -> float | None:
    """Requests a second that others seem to use: what is missing of the quota; None when the rate is not known."""
    rate = report.result.rate
    if rate is None:
        return None
    quota = report.applied or report.documented
    missing = quota - rate
    return missing if missing > max(_NOISE_SHARE * quota, report.result.rate_error) else 0.0


def format_probe(report: ProbeReport) -> list[str]:
    """For a person."""
    result = report.result
    lines = [] if result.complete else ["cut short: what is told below is what was known by then"]
    if result.rate is None and not result.throttled:
        lines.append(
            f"rate       nothing was throttled up to {result.max_rate_tried:.3g} requests/s; --max-rate goes higher"
        )
    elif result.rate is None:
        lines.append("rate       unknown: it ended before a second throttle could tell")
    else:
        prefix = "at least " if result.is_lower_bound else ""
        lines.append(f"rate       {prefix}{result.rate:.4g} requests/s can be used (+-{result.rate_error:.2g})")
    if result.burst is not None:
        lines.append(f"burst      {result.burst:.3g} requests, seen {_format_count(result.burst_samples)}")
    elif result.rate is not None:
        lines.append("burst      unknown: it was not seen to run out after it was full")
    if latencies := result.latencies:
        percentiles = ", ".join(f"p{part} {1000 * percentile(latencies, part / 100):.0f} ms" for part in _PERCENTILES)
        lines.append(f"latency    {percentiles}, at least {1000 * latencies[0]:.0f} ms")
    lines += _context_lines(report)
    if result.retry_after:
        lines.append(f"pauses     throttles ask for up to {result.retry_after:g} s (Retry-After), which were kept")
    lines.append(
        f"cost       {result.sent:,} ListCoreDevices, {result.throttled} throttled, {result.failed} failed,"
        f" {format_duration(result.seconds)}"
    )
    return [*lines, *_next_command(result)]


def probe_to_dict(report: ProbeReport) -> dict[str, Any]:
    """The same as `asyncgg.tune/1`."""
    result, usage = report.result, other_usage(report)
    return {
        "schema": SCHEMA,
        "mode": "live",
        "region": report.endpoint.region,
        "endpoint": report.endpoint.url,
        "complete": result.complete,
        "rate": _rounded(result.rate),
        "rate_error": _rounded(result.rate_error),
        "rate_is_lower_bound": result.is_lower_bound,
        "burst": _rounded(result.burst),
        "max_rate_tried": round(result.max_rate_tried, 3),
        "latency": {
            f"p{part}": round(percentile(result.latencies, part / 100), 4) if result.latencies else None
            for part in _PERCENTILES
        },
        "quota": {
            "documented": report.documented,
            "applied": report.applied,
            "applied_unknown_reason": report.applied_unknown_reason,
            "code": result.quota_code,
        },
        "background_rate": _rounded(usage),
        "retry_after": result.retry_after or None,
        "requests": {"sent": result.sent, "throttled": result.throttled, "failed": result.failed},
        "seconds": round(result.seconds, 3),
    }


def write_requests(file: IO[str], result: ProbeResult) -> None:
    """Every question as a row of CSV, by the time it was sent; times in seconds since the first."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("sent", "answered", "outcome"))
    log = sorted(result.log)
    for request in log:
        writer.writerow(
            (
                f"{request.sent_at - log[0].sent_at:.4f}",
                f"{request.answered_at - log[0].sent_at:.4f}",
                request.outcome.value,
            )
        )


def _context_lines(report: ProbeReport) -> list[str]:
    applied = f"{report.applied:g}/s by Service Quotas" if report.applied is not None else ""
    unknown = f"Service Quotas: {report.applied_unknown_reason}" if report.applied_unknown_reason else ""
    sources = ", ".join(filter(None, (applied, f"{report.documented:g}/s as documented", unknown)))
    code = report.result.quota_code
    lines = [f"quota      {sources}" + (f"; throttles name {code}" if code else "")]
    usage = other_usage(report)
    if usage and not report.result.is_lower_bound:
        lines.append(f"others     seem to use {usage:.3g} requests/s, or the quota here is another one")
    elif usage == 0:
        lines.append("others     use nothing that shows")
    return lines


def _next_command(result: ProbeResult) -> Sequence[str]:
    if result.rate is None or not result.latencies:
        return ()
    latencies = result.latencies
    base, mean = latencies[0], sum(latencies) / len(latencies)
    burst = f" --burst {result.burst:.3g}" if result.burst is not None else ""
    latency = f"--latency {1000 * base:.0f}ms --jitter {1000 * max(0.0, mean - base):.0f}ms"
    return "next:", f"  asyncgg tune --quota {result.rate:.4g}{burst} {latency}"


def _format_count(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
