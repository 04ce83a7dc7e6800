"""What the lanes of a worker process report to the main process: their progress, and the counts of their metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from asyncgg.events import Event, Listener, Progress, RunEnded, listens_to
from asyncgg.telemetry.labels import TelemetryLabels

if TYPE_CHECKING:
    from asyncgg.telemetry.metrics import MetricsCollector

REPORT_INTERVAL: Final = 1.0
"""Seconds between two reports of a worker."""


class LaneReports:
    """Writes {"progress", "counts"} and {"message"}; `has_metrics`: whether the main process has metrics."""

    def __init__(
        self,
        write: Callable[[Mapping[str, Any]], object],
        read_progress: Callable[[], Mapping[str, Progress]],
        *,
        has_metrics: bool,
    ) -> None:
        self._write = write
        self._read_progress = read_progress
        self._has_metrics = has_metrics
        self._collectors: dict[str, tuple[TelemetryLabels, MetricsCollector]] = {}

    def message(self, name: str, line: str) -> None:
        """Report a line of a lane for people."""
        self._write({"message": [name, line]})

    def listeners_for(self, labels: TelemetryLabels) -> Sequence[Listener]:
        """The listeners of a lane that starts to run."""

        @listens_to(RunEnded)
        def report_end(event: Event) -> None:
            self.report()

        if not self._has_metrics:
            return [report_end]
        from asyncgg.telemetry.metrics import MetricsCollector  # the main process has checked that this is installed

        _, collector = self._collectors[labels.target] = labels, MetricsCollector(labels)
        collector.begin(labels)
        return [collector, report_end]

    def report(self) -> None:
        """Report the lanes that run."""
        progress = {name: asdict(progress) for name, progress in self._read_progress().items()}
        counts = [
            {"labels": asdict(labels), **collector.dump()}
            for name, (labels, collector) in self._collectors.items()
            if name in progress
        ]
        self._write({"progress": progress, "counts": counts})


class ReportHandler(logging.Handler):
    """Writes {"log"}: records that the main process shows. `is_own`: whether the lane that logs is one of its lanes."""

    def __init__(self, write: Callable[[Mapping[str, Any]], object], is_own: Callable[[], bool] = lambda: True) -> None:
        super().__init__()
        self._write = write
        self._is_own = is_own

    def emit(self, record: logging.LogRecord) -> None:
        """Report the record, with its message complete."""
        if self._is_own():
            fields = vars(record) | {"msg": record.getMessage(), "args": None, "exc_info": None}
            self._write({"log": json.loads(json.dumps(fields, default=str))})
