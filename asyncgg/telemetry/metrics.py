"""Metrics of runs and scans for Prometheus; requires prometheus-client."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from asyncgg import __version__
from asyncgg.events import Event, RequestFinished, RunEnded, RunStarted, ScanEnded
from asyncgg.models import Operation, RunState
from asyncgg.telemetry.labels import TelemetryLabels

_RESULTS: Final = ("accepted", "throttled", "failed")
_BUCKETS: Final = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60.0)
"""Upper bounds of the histogram in seconds; the last one is the default request timeout."""
_BOUNDS: Final = (*map(str, _BUCKETS), "+Inf")
_COMPLETE: Final = frozenset({RunState.COMPLETE, RunState.PARTIAL})
_RUN_STATES: Final = tuple(state for state in RunState if state is not RunState.PLANNED)


class _RequestCounts:
    """The counts of one API operation."""

    def __init__(self) -> None:
        self.results = dict.fromkeys(_RESULTS, 0)
        self.durations = [0] * len(_BOUNDS)
        """Requests by bucket of their duration."""
        self.seconds = 0.0


# Own counts instead of the instruments of prometheus-client: those take a lock for each request,
# and their gauges would ask the engine for its progress in the thread of a scrape.
class MetricsCollector(Collector):
    """A listener that counts, and a collector that returns the counts and the last progress."""

    event_types = frozenset({RequestFinished, RunStarted, RunEnded, ScanEnded})

    def __init__(self, labels: TelemetryLabels) -> None:
        self._labels = {"account": labels.account, "region": labels.region, "policy": labels.policy}
        if labels.target:
            self._labels["target"] = labels.target
        self._requests: dict[str, _RequestCounts] = {}
        self._work = labels.work
        self._run = ""
        self._state: RunState | None = None
        self._started_at = self._ended_at = 0.0
        self._progress: Any = None
        self.has_failed_exports = False
        """Whether an export has failed, which is reported once."""

    def begin(self, labels: TelemetryLabels) -> None:
        """Note that a run or a scan begins."""
        self._work = labels.work
        if labels.work != "scan":
            self._requests.setdefault(Operation(labels.work).api, _RequestCounts())

    def update(self, progress: Any) -> None:
        """Note the current `Progress` or `ScanProgress`, if there is one."""
        self._progress = progress or self._progress

    def __call__(self, event: Event) -> None:
        """Count the event."""
        if isinstance(event, RequestFinished):
            counts = self._requests.get(event.operation)
            if counts is None:
                counts = self._requests[event.operation] = _RequestCounts()
            counts.results[event.result] += 1
            counts.durations[bisect_left(_BUCKETS, event.seconds)] += 1
            counts.seconds += event.seconds
        elif isinstance(event, RunStarted):
            self._run, self._state, self._started_at, self._ended_at = event.run, RunState.RUNNING, time.time(), 0.0
        elif isinstance(event, RunEnded) or (isinstance(event, ScanEnded) and event.state not in _COMPLETE):
            self._state, self._ended_at = event.state, time.time()

    def dump(self) -> dict[str, Any]:
        """What was counted, for `load` in another process."""
        requests = {name: [counts.results, counts.durations, counts.seconds] for name, counts in self._requests.items()}
        return {"requests": requests, "run": [self._run, self._started_at]}

    def load(self, requests: Mapping[str, Any], run: tuple[str, float]) -> None:
        """Take over what `dump` returned."""
        for name, (results, durations, seconds) in requests.items():
            counts = self._requests.setdefault(name, _RequestCounts())
            counts.results, counts.durations, counts.seconds = results, durations, seconds
        self._run, self._started_at = run
        if self._run and self._state is None:
            self._state = RunState.RUNNING

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics. Called by the exporters, also in the thread of a scrape."""
        yield from self._collect_requests()
        if self._run:
            yield self._run_info()
        if self._state is not None:
            yield from self._collect_state()
        if self._progress is not None:
            yield from self._collect_progress(self._progress)

    def _collect_requests(self) -> Iterator[Metric]:
        names, values = [*self._labels, "operation"], list(self._labels.values())
        requests = CounterMetricFamily("asyncgg_requests", "Requests by result.", labels=[*names, "result"])
        durations = HistogramMetricFamily(
            "asyncgg_request_duration_seconds", "Time from sending a request to its reply or failure.", labels=names
        )
        for operation, counts in list(self._requests.items()):
            for result, count in counts.results.items():
                requests.add_metric([*values, operation, result], count)
            cumulated = zip(_BOUNDS, accumulate(counts.durations), strict=True)
            durations.add_metric([*values, operation], list(cumulated), counts.seconds)
        yield requests
        yield durations

    def _run_info(self) -> Metric:
        info = InfoMetricFamily("asyncgg_run", "The run.", labels=list(self._labels))
        members = {"run": self._run, "operation": self._work, "version": __version__}
        info.add_metric(list(self._labels.values()), members)
        return info

    def _collect_state(self) -> Iterator[Metric]:
        states = {state.value: float(state is self._state) for state in _RUN_STATES}
        yield self._gauge(
            "asyncgg_run_state", "1 for the state of the run, or of a scan that stopped early.", states, "state"
        )
        if self._started_at:
            yield self._gauge("asyncgg_run_start_time_seconds", "Unix time of the start.", self._started_at)
        if self._ended_at:
            yield self._gauge("asyncgg_run_end_time_seconds", "Unix time of the end.", self._ended_at)

    def _collect_progress(self, progress: Any) -> Iterator[Metric]:
        yield self._gauge("asyncgg_rate_requests_per_second", "Current rate of the limiter.", progress.rate)
        yield self._gauge("asyncgg_rate_ceiling_requests_per_second", "Maximum rate of the limiter.", progress.ceiling)
        yield self._gauge("asyncgg_requests_in_flight", "Requests without a reply yet.", progress.in_flight)
        if hasattr(progress, "pending"):
            changed = "associated" if self._work == Operation.ASSOCIATE else "disassociated"
            states = {changed: progress.disassociated}
            states |= {name: getattr(progress, name) for name in ("already", "failed", "pending")}
            yield self._gauge("asyncgg_things", "Things of the run by state.", states, "state")
        else:
            cores = {"listed": progress.finished, "waiting": progress.cores - progress.finished}
            yield self._gauge("asyncgg_scan_cores", "Core devices of the scan by state.", cores, "state")
            yield self._gauge(
                "asyncgg_scan_associations", "Associations that the scan has listed.", progress.associations
            )

    def _gauge(self, name: str, text: str, values: float | dict[str, float], label: str = "") -> Metric:
        """A gauge with a value for each value of `label`, or with one value."""
        names, own = [*self._labels, *([label] if label else [])], list(self._labels.values())
        family = GaugeMetricFamily(name, text, labels=names)
        for value, number in values.items() if isinstance(values, dict) else [("", values)]:
            family.add_metric([*own, *([value] if label else [])], number)
        return family
