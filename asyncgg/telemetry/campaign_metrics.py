"""Metrics of all targets of a campaign in one place; requires prometheus-client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from asyncgg.events import Event, Listener, Progress, RunEnded, listens_to
from asyncgg.models import RunState
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.metrics import MetricsCollector


class CampaignMetrics(Collector):
    """A collector that returns each metric once, with a sample of each target.

    `read_progress` returns the progress of the targets that run, by name.
    """

    def __init__(self, read_progress: Callable[[], Mapping[str, Progress]]) -> None:
        self._read_progress = read_progress
        self._targets: dict[str, MetricsCollector] = {}
        self.has_failed_exports = False
        """Whether an export has failed, which is reported once."""

    def record_end(self, labels: TelemetryLabels, state: RunState) -> None:
        """Note how a target ended, which may not have started."""
        self._targets.setdefault(labels.target, MetricsCollector(labels))(RunEnded(state, ""))

    def load(self, labels: TelemetryLabels, **counts: Any) -> None:
        """Take over what another process has counted, as `MetricsCollector.load`."""
        self._begin(labels).load(**counts)
        self.update(self._read_progress())

    def _begin(self, labels: TelemetryLabels) -> MetricsCollector:
        collector = self._targets.setdefault(labels.target, MetricsCollector(labels))
        collector.begin(labels)
        return collector

    def target(self, labels: TelemetryLabels) -> Listener:
        """The listener of a target, which starts to run."""
        collector = self._begin(labels)

        @listens_to(*collector.event_types)
        def listen(event: Event) -> None:
            collector(event)
            if isinstance(event, RunEnded):  # later the target has no progress
                self.update(self._read_progress())

        return listen

    def update(self, progress: Mapping[str, Progress]) -> None:
        """Note the progress of the targets that run."""
        for name, value in progress.items():
            if name in self._targets:
                self._targets[name].update(value)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics. Called by the exporters, also in the thread of a scrape."""
        metrics: dict[str, Metric] = {}
        for collector in list(self._targets.values()):
            for metric in collector.collect():
                metrics.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                metrics[metric.name].samples += metric.samples
        yield from metrics.values()
