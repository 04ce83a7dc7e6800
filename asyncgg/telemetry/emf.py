"""Writes metrics to `logging` in the embedded metric format of CloudWatch."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from asyncgg.events import Event, Progress, RequestFinished, RunEnded, RunStarted
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.log_records import METRICS

_NAMESPACE: Final = "asyncgg"
_MAX_VALUES: Final = 100
"""Maximum values of one metric in a line [CloudWatch: embedded metric format specification]."""
_INTERVAL: Final = 10.0
"""Seconds after which a line is written although it has room for more requests."""
_RESULTS: Final = {"accepted": "RequestsAccepted", "throttled": "RequestsThrottled", "failed": "RequestsFailed"}
_THINGS: Final = {"disassociated": "ThingsChanged", "already": "ThingsAlready", "failed": "ThingsFailed"}
"""Metrics by the member of `Progress`."""


class EmbeddedMetrics(AbstractContextManager["EmbeddedMetrics"]):
    """A listener that logs a line for at most 100 requests; counts are those since the last line.

    CloudWatch adds them up. `read_progress` returns the current progress, None before the start.
    """

    event_types = frozenset({RequestFinished, RunStarted, RunEnded})

    def __init__(self, labels: TelemetryLabels, read_progress: Callable[[], Any]) -> None:
        known = {name.capitalize(): value for name, value in labels.known().items()}
        self._dimensions = {"Operation": labels.work, **known}
        self._read_progress = read_progress
        self._run = ""
        self._counts: Counter[str] = Counter()
        self._durations: list[float] = []
        self._things = dict.fromkeys(_THINGS, 0)
        """The counts of the last line."""
        self._written_at = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._write()

    def __call__(self, event: Event) -> None:
        """Count the event, and write a line if it is full or late."""
        if isinstance(event, RequestFinished):
            self._counts[_RESULTS[event.result]] += 1
            self._durations.append(round(event.seconds, 6))
            if len(self._durations) >= _MAX_VALUES or time.monotonic() - self._written_at >= _INTERVAL:
                self._write()
        elif isinstance(event, RunStarted):
            self._run = event.run
            self._read_things(self._read_progress())
        elif isinstance(event, RunEnded):
            self._write()

    def _write(self) -> None:
        progress = self._read_progress()
        values: dict[str, Any] = {name: self._counts[name] for name in _RESULTS.values()} | self._read_things(progress)
        if not any(values.values()):
            return
        units = dict.fromkeys(values, "Count")
        if self._durations:
            values["RequestDuration"], units["RequestDuration"] = self._durations, "Seconds"
        if progress is not None:
            values["Rate"], units["Rate"] = round(progress.rate, 3), "Count/Second"
            values["RequestsInFlight"], units["RequestsInFlight"] = progress.in_flight, "Count"
        definition = {
            "Namespace": _NAMESPACE,
            "Dimensions": [list(self._dimensions)],
            "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
        }
        metadata = {"Timestamp": round(time.time() * 1000), "CloudWatchMetrics": [definition]}
        members = {"_aws": metadata, "event": "metrics", "run": self._run, **self._dimensions, **values}
        self._counts, self._durations, self._written_at = Counter(), [], time.monotonic()
        METRICS.log(logging.INFO, "metrics of %d requests", len(values.get("RequestDuration", ())), extra=members)

    def _read_things(self, progress: Any) -> dict[str, int]:
        """The things by metric since the last call; empty for a scan."""
        if not isinstance(progress, Progress):
            return {}
        before, self._things = self._things, {member: getattr(progress, member) for member in _THINGS}
        return {name: self._things[member] - before[member] for member, name in _THINGS.items()}
