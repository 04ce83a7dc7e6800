"""Build a scenario from the requests that the journal of a run recorded."""

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
from asyncgg.tuning.bucket_fit import BucketFit, Observation, estimate_burst, fit_bucket, timing_uncertainty
from asyncgg.tuning.models import Configuration, Workload

_MAX_LATENCIES: Final = 5000
"""Latencies kept, evenly spread over the run."""
_MAX_OBSERVATIONS: Final = 20_000
"""Requests used to estimate the quota: the first ones of the run."""
_PEAK_WINDOW: Final = 5.0
"""Seconds."""
_UNANSWERED_VERDICTS: Final = frozenset(
    {ReplyVerdict.LOST.value, ReplyVerdict.FOREIGN.value, ReplyVerdict.NOT_SENT.value, "unknown"}
)
_MIN_ERROR_SHARE: Final = 0.0005
"""A smaller share of errors counts as chance."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A past run and the service that it met."""

    journal: Path
    workload: Workload
    config: Configuration
    """The settings at the start of the run."""
    documented: float
    """Documented quota of its Region, in requests per second."""
    seconds: float
    sent: int
    throttled: int
    latencies: Sequence[float]
    """Seconds of the answered requests, ascending."""
    error_share: float
    """Share of requests that failed with a transient error."""
    fit: BucketFit | None
    fit_after_first_throttle: BucketFit | None
    """Fit to the requests accepted after the first throttle: a lower bound of the quota."""
    peak_rate: float
    """Highest accepted requests per second over any five seconds."""


def load_run(path: Path) -> RecordedRun:
    """Read a run. Raises `JournalError`, and `UsageError` if no request was answered."""
    with JournalReader(path) as reader:
        meta, summary = reader.meta(), reader.summary()
        settings = build_settings(reader.settings())
        requests = [request for request in reader.requests() if request.verdict not in _UNANSWERED_VERDICTS]
        cores = sum(1 for _ in reader.cores())
    if not requests:
        raise UsageError(f"{path}: nothing to replay: the journal has no answered request")
    throttled = [request.verdict == ReplyVerdict.THROTTLED.value for request in requests]
    error_share = sum(request.verdict == ReplyVerdict.TRANSIENT.value for request in requests) / len(requests)
    latencies = sorted(
        max(0.0, request.answered_at - request.sent_at) for request in requests[:: 1 + len(requests) // _MAX_LATENCIES]
    )
    observations = [
        Observation((request.sent_at + request.answered_at) / 2, is_throttled)
        for request, is_throttled in zip(requests, throttled, strict=True)
    ]
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
        fit=fit_bucket(observations[:_MAX_OBSERVATIONS], uncertainty=timing_uncertainty(latencies)),
        fit_after_first_throttle=_fit_after_first_throttle(observations),
        peak_rate=_peak_rate(request.at for request in observations if not request.throttled),
    )


def scenario_from_run(
    run: RecordedRun, *, quota: float | None = None, burst: float | None = None
) -> tuple[Scenario, str]:
    """Return the scenario and the source of its quota; `quota` and `burst` have precedence."""
    full_fit = run.fit
    if quota is not None:
        source = "configured"
    elif full_fit is not None and full_fit.window >= 1:
        quota, source = full_fit.rate, f"estimated from {run.throttled:,} throttles"
        burst = burst if burst is not None else full_fit.burst
    elif run.fit_after_first_throttle is not None:
        quota, source = (
            run.fit_after_first_throttle.rate,
            "lower bound: requests accepted after the first throttle",
        )
        burst = burst if burst is not None else run.fit_after_first_throttle.burst
    else:
        quota = max(run.documented, run.peak_rate)
        source = (
            "assumed (no throttles recorded): documented quota or highest rate used; override with --quota;"
            " the burst stays auto: tune --live measures it"
        )
    scenario = Scenario(
        quota=quota,
        burst=max(1.0, quota if burst is None else burst),
        latency=RecordedLatency(tuple(run.latencies)),
        faults=(ScenarioFault(share=run.error_share),) if run.error_share > _MIN_ERROR_SHARE else (),
    )
    return scenario, source


def is_burst_assumed(run: RecordedRun, *, quota: float | None, burst: float | None) -> bool:
    """Whether nothing in the run or in the options says what burst the service accepts."""
    is_fitted = (run.fit is not None and run.fit.window >= 1) or run.fit_after_first_throttle is not None
    return burst is None and (quota is not None or not is_fitted)


def _fit_after_first_throttle(observations: Sequence[Observation]) -> BucketFit | None:
    """Fit a bucket to the requests accepted after the first throttle; None if they are too few."""
    first_throttle_at = next((at for at, throttled in observations if throttled), None)
    if first_throttle_at is None:
        return None
    accepted_at = [at for at, throttled in observations if not throttled and at > first_throttle_at]
    window = max(accepted_at, default=first_throttle_at) - first_throttle_at
    if window < _PEAK_WINDOW / 2:
        return None
    rate = len(accepted_at) / window
    burst, samples = estimate_burst([item for item in observations if item.at <= first_throttle_at], rate)
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
