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
from asyncgg.tuning.bucket_fit import BucketFit, Observation, estimate_burst, fit_bucket
from asyncgg.tuning.models import Configuration, Workload

__all__ = ["RecordedRun", "load_run", "scenario_from_run"]

_MAX_LATENCIES: Final = 5000
"""Latencies kept at most, evenly spread over the run."""
_MAX_OBSERVATIONS: Final = 20_000
"""Requests that the quota is read off at most: the first ones."""
_PEAK_WINDOW: Final = 5.0
_UNANSWERED_VERDICTS: Final = frozenset({ReplyVerdict.LOST.value, ReplyVerdict.NOT_SENT.value, "unknown"})
_MIN_ERROR_SHARE: Final = 0.0005
"""Errors below this share are chance."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A past run."""

    journal: Path
    workload: Workload
    """All of it."""
    config: Configuration
    """The settings it was begun with."""
    documented: float
    """Of its Region."""
    seconds: float
    sent: int
    throttled: int
    latencies: Sequence[float]
    """Ascending, of answered requests."""
    error_share: float
    """Share of requests that failed with a 5xx."""
    fit: BucketFit | None
    fit_after_first_throttle: BucketFit | None
    """By what was accepted after the first throttle: no more than the quota."""
    peak_rate: float
    """The most requests a second it had accepted, over five seconds."""


def load_run(path: Path) -> RecordedRun:
    """Raises `JournalError`, and `UsageError` when the journal has no answered request with its time."""
    with JournalReader(path) as reader:
        meta, summary = reader.meta(), reader.summary()
        settings = build_settings(reader.settings())
        requests = [one for one in reader.requests() if one.verdict not in _UNANSWERED_VERDICTS]
        cores = sum(1 for _ in reader.cores())
    if not requests:
        raise UsageError(f"journal {path}: no request in it was answered, so there is nothing to replay")
    throttled = [one.verdict == ReplyVerdict.THROTTLED.value for one in requests]
    error_share = sum(one.verdict == ReplyVerdict.TRANSIENT.value for one in requests) / len(requests)
    latencies = sorted(
        max(0.0, one.answered_at - one.sent_at) for one in requests[:: 1 + len(requests) // _MAX_LATENCIES]
    )
    observations = [
        Observation((one.sent_at + one.answered_at) / 2, is_throttled)
        for one, is_throttled in zip(requests, throttled, strict=True)
    ]
    uncertainty = (latencies[int(0.9 * len(latencies))] - latencies[int(0.1 * len(latencies))]) / 4
    region = meta.get("region")
    config = Configuration(quota_rate(settings, region), settings.burst, settings.concurrency, settings.per_core)
    return RecordedRun(
        journal=path,
        workload=Workload(max(1, summary.minimum), max(1, cores)),
        config=config,
        documented=documented_quota(region or ""),
        seconds=summary.seconds,
        sent=summary.sent,
        throttled=sum(throttled),
        latencies=latencies,
        error_share=error_share,
        fit=fit_bucket(observations[:_MAX_OBSERVATIONS], uncertainty=uncertainty),
        fit_after_first_throttle=_fit_after_first_throttle(observations),
        peak_rate=_peak_rate(one.at for one in observations if not one.throttled),
    )


def scenario_from_run(
    run: RecordedRun, *, quota: float | None = None, burst: float | None = None
) -> tuple[Scenario, str]:
    """The service it met, and where its quota is known from; a `quota` or a `burst` given counts instead."""
    full_fit = run.fit
    if quota is not None:
        source = "as told"
    elif full_fit is not None and full_fit.window >= 1:
        quota, source = full_fit.rate, f"read off its {run.throttled:,} throttles"
        burst = burst if burst is not None else full_fit.burst
    elif run.fit_after_first_throttle is not None:
        quota, source = (
            run.fit_after_first_throttle.rate,
            "what it let in after it first throttled; it may be a little more",
        )
        burst = burst if burst is not None else run.fit_after_first_throttle.burst
    else:
        quota = max(run.documented, run.peak_rate)
        source = "assumed, since nothing was throttled: the documented one, or what was used; --quota tells another"
    scenario = Scenario(
        quota=quota,
        burst=max(1.0, quota if burst is None else burst),
        latency=RecordedLatency(tuple(run.latencies)),
        faults=(ScenarioFault(share=run.error_share),) if run.error_share > _MIN_ERROR_SHARE else (),
    )
    return scenario, source


def _fit_after_first_throttle(observations: Sequence[Observation]) -> BucketFit | None:
    """The bucket if all that came in after the first throttle was used; None when too little came after it."""
    first_throttle_at = next((one.at for one in observations if one.throttled), None)
    if first_throttle_at is None:
        return None
    accepted_at = [one.at for one in observations if not one.throttled and one.at > first_throttle_at]
    window = max(accepted_at, default=first_throttle_at) - first_throttle_at
    if window < _PEAK_WINDOW / 2:
        return None
    rate = len(accepted_at) / window
    burst, samples = estimate_burst([one for one in observations if one.at <= first_throttle_at], rate)
    return BucketFit(rate, burst, window, samples)


def _peak_rate(times: Iterable[float]) -> float:
    ordered = sorted(times)
    first, peak = 0, 0
    for number, at in enumerate(ordered):
        while ordered[first] < at - _PEAK_WINDOW:
            first += 1
        peak = max(peak, number - first + 1)
    span = ordered[-1] - ordered[0] if ordered else 0.0
    return peak / min(_PEAK_WINDOW, max(span, 1.0))
