"""Format the measurement of a quota as text, JSON and CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from asyncgg.formatting import format_duration
from asyncgg.ratelimit import default_burst
from asyncgg.testing import LimiterKind
from asyncgg.transport import Endpoint
from asyncgg.tuning.bucket_fit import percentile
from asyncgg.tuning.grid import DEFAULT_PER_CORE
from asyncgg.tuning.models import Configuration
from asyncgg.tuning.probe import ProbeResult
from asyncgg.tuning.report import SCHEMA

_NOISE_SHARE: Final = 0.03
"""Share of the quota that measurement noise can hide."""
_PERCENTILES: Final = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """A measurement with its endpoint and the known quotas."""

    result: ProbeResult
    endpoint: Endpoint
    documented: float
    applied: float | None = None
    """The quota that Service Quotas reports."""
    applied_unknown_reason: str = ""
    """Why `applied` is None."""


def measured_settings(report: ProbeReport) -> Configuration | None:
    """The settings for the measured rate; None without one.

    As many requests are in flight as the slowest hundredth of the latencies needs. The burst is the
    default, which the measured one must allow. If the kind of limiter is not clear, the rate is one that
    all likely kinds accept.
    """
    result = report.result
    if result.rate is None:
        return None
    rate = result.rate
    if any(limiter.kind is not LimiterKind.TOKEN_BUCKET for limiter in result.limiters):
        rate = min(limiter.evenly_spaced_rate for limiter in result.limiters)
    rate = math.floor(10 * rate) / 10
    in_flight = math.ceil(1.5 * rate * percentile(result.latencies, 0.99)) if result.latencies else 0
    burst = None if result.burst is None or result.burst >= default_burst(rate) else max(1.0, result.burst)
    return Configuration(rate, burst, max(8, in_flight), DEFAULT_PER_CORE)


def other_usage(report: ProbeReport) -> float | None:
    """Return the requests per second that other clients seem to use; None if unknown."""
    rate = report.result.rate
    if rate is None:
        return None
    quota = report.applied or report.documented
    missing = quota - rate
    return missing if missing > max(_NOISE_SHARE * quota, report.result.rate_error) else 0.0


def format_probe(report: ProbeReport) -> list[str]:
    """Return the report as lines of text."""
    result = report.result
    lines = [] if result.complete else ["Stopped or out of time; results are partial"]
    if result.rate is None and not result.throttled:
        lines.append(f"rate       no throttles up to {result.max_rate_tried:.3g} requests/s; raise --max-rate")
    elif result.rate is None:
        lines.append("rate       unknown: fewer than two throttles")
    else:
        prefix = "at least " if result.is_lower_bound else ""
        lines.append(f"rate       {prefix}{result.rate:.4g} requests/s available (+/- {result.rate_error:.2g})")
    if result.burst is not None:
        lines.append(f"burst      {result.burst:.3g} requests, measured {_format_count(result.burst_samples)}")
    elif result.limiter is not None and result.limiter.burst is None:
        lines.append("burst      none: the requests of a window are counted")
    elif result.rate is not None:
        lines.append("burst      unknown: the bucket was not observed going from full to empty")
    lines += _limiter_lines(result)
    if latencies := result.latencies:
        percentiles = ", ".join(f"p{p} {1000 * percentile(latencies, p / 100):.0f} ms" for p in _PERCENTILES)
        lines.append(f"latency    {percentiles}, minimum {1000 * latencies[0]:.0f} ms")
    lines += _context_lines(report)
    if result.retry_after:
        lines.append(f"pauses     up to {result.retry_after:g} s (Retry-After on throttles)")
    lines.append(
        f"cost       {result.sent:,} ListCoreDevices, {result.throttled} throttled, {result.failed} failed,"
        f" {format_duration(result.seconds)}"
    )
    return [*lines, *_next_command(result)]


def probe_to_dict(report: ProbeReport) -> dict[str, Any]:
    """Return the report as a JSON object of schema `asyncgg.tune/1`."""
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
        "limiter": result.limiter and result.limiter.kind.value,
        "limiter_candidates": [fit.kind.value for fit in result.limiters],
        "max_rate_tried": round(result.max_rate_tried, 3),
        "latency": {
            f"p{p}": round(percentile(result.latencies, p / 100), 4) if result.latencies else None for p in _PERCENTILES
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
    """Write each request as a CSV row; times are seconds since the first request."""
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


def _limiter_lines(result: ProbeResult) -> list[str]:
    if result.rate is None:
        return []
    if not result.limiters:
        return ["limiter    unknown: no time to exceed the quota for a moment; raise --duration"]
    if result.limiter is None:
        return [f"limiter    not clear: {' or '.join(fit.kind.value.replace('-', ' ') for fit in result.limiters)}"]
    limiter = result.limiter
    rate, burst = (
        (result.rate, result.burst) if limiter.kind is LimiterKind.TOKEN_BUCKET else (limiter.rate, limiter.burst)
    )
    return [f"limiter    seems to admit {limiter.spec.describe(round(rate, 1), round(burst or rate, 1))}"]


def _context_lines(report: ProbeReport) -> list[str]:
    applied = f"{report.applied:g}/s (Service Quotas)" if report.applied is not None else ""
    unknown = f"Service Quotas unknown ({report.applied_unknown_reason})" if report.applied_unknown_reason else ""
    sources = ", ".join(filter(None, (applied, f"{report.documented:g}/s (documented)", unknown)))
    code = report.result.quota_code
    lines = [f"quota      {sources}" + (f"; quota code {code}" if code else "")]
    usage = other_usage(report)
    if usage and not report.result.is_lower_bound:
        lines.append(f"others     {usage:.3g} requests/s appear to be used by other clients (or the quota is lower)")
    elif usage == 0:
        lines.append("others     no other usage detected")
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
