"""Shows the lanes of a campaign while they run, and counts for their metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from asyncgg.cli.console import Console
from asyncgg.cli.log_events import Notice
from asyncgg.cli.progress import ProgressDisplay, ProgressView, format_rate, progress_event
from asyncgg.events import Listener, Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.results import LaneResult
from asyncgg.formatting import format_count, format_duration
from asyncgg.models import Operation, RunState
from asyncgg.telemetry.labels import TelemetryLabels

if TYPE_CHECKING:
    from asyncgg.telemetry.campaign_metrics import CampaignMetrics


@dataclass(frozen=True, slots=True)
class CampaignProgress:
    """The progress of all targets that run or have ended; rates are those of the running ones together."""

    targets: int
    running: int
    ended: int
    total: int
    finished: int
    failed: int
    sent: int
    throttled: int
    rate: float
    ceiling: float
    seconds: float
    seconds_left: float | None
    """Of the slowest target that runs."""


def _details(progress: CampaignProgress, rate: float) -> list[str]:
    details = [
        f"{progress.running:,} of {format_count(progress.targets, 'target')} running, {progress.ended:,} ended",
        f"{progress.failed:,} failed",
    ]
    if progress.running:
        details.append(format_rate(progress, rate))
    if progress.throttled:
        details.append(f"{progress.throttled:,} throttled")
    if progress.running and progress.seconds_left is not None:
        details.append(f"{format_duration(progress.seconds_left)} left")
    return details


_VIEW: Final = ProgressView(
    lambda progress: (progress.finished, progress.total),
    lambda progress: f"{progress.finished:,}/{progress.total:,} things",
    _details,
    progress_event,
)


_NOTHING: Final = Progress(0, 0, 0, 0, 0, 0, 0, 0, 0, rate=0.0, ceiling=0.0, seconds=0.0, seconds_left=None)


class CampaignDisplay(ProgressDisplay):
    """One display for all lanes. With `metrics`, what it shows is counted there as well."""

    def __init__(self, console: Console, lanes: Sequence[CampaignLane]) -> None:
        super().__init__(console, view=_VIEW)
        self._lanes = {lane.name: lane for lane in lanes}
        self._started = time.monotonic()
        self._read_progress: Callable[[], Mapping[str, Progress]] = dict
        self._last: dict[str, Progress] = {}
        self._ended: set[str] = set()
        self.metrics: CampaignMetrics | None = None

    def watch_lanes(self, read_progress: Callable[[], Mapping[str, Progress]]) -> None:
        """Show the progress from now on; `read_progress` returns that of the lanes that run, by name."""
        self._read_progress = read_progress
        self.watch(self)

    def progress(self) -> CampaignProgress:
        """The progress of all lanes together; of those that have ended, the last one that was read."""
        running = self._read_progress()
        self._last |= running
        lanes = self._last.values()
        times = [lane.seconds_left for lane in running.values() if lane.seconds_left is not None]
        return CampaignProgress(
            targets=len(self._lanes),
            running=len(running),
            ended=len(self._ended),
            total=sum(lane.total for lane in lanes),
            finished=sum(lane.finished for lane in lanes),
            failed=sum(lane.failed for lane in lanes),
            sent=sum(lane.sent for lane in lanes),
            throttled=sum(lane.throttled for lane in lanes),
            rate=sum(lane.rate for lane in running.values()),
            ceiling=sum(lane.ceiling for lane in running.values()),
            seconds=time.monotonic() - self._started,
            seconds_left=max(times, default=None),
        )

    def listeners_for(self, labels: TelemetryLabels) -> Sequence[Listener]:
        """The listeners of a lane that starts to run."""
        return [] if self.metrics is None else [self.metrics.target(labels)]

    def show_message(self, name: str, line: str) -> None:
        """Show what a lane says about its state, also on a quiet console."""
        event = {"event": "state", "target": name, "message": line}
        if self._console.quiet:
            self._console.log_event(event, f"{name}: {line}")
        else:
            self.notice(Notice(f"{name}: {line}", event))

    def receive(self, report: Mapping[str, Any]) -> None:
        """Show what a worker process reports."""
        if "message" in report:
            self.show_message(*report["message"])
        elif "log" in report:
            record = logging.makeLogRecord(report["log"])
            logging.getLogger(record.name).handle(record)
        if self.metrics is not None:
            for counts in report.get("counts", ()):
                self.metrics.load(TelemetryLabels(**counts.pop("labels")), **counts)

    def show_result(self, result: LaneResult) -> None:
        """Show how a lane ended."""
        self._ended.add(result.name)
        if (things := result.things) or result.name in self._last:
            # The last progress that was read, if any, was before its last requests ended.
            self._last[result.name] = replace(
                self._last.get(result.name)
                or replace(
                    _NOTHING,
                    total=things.get("total", 0),
                    sent=result.requests.get("sent", 0),
                    throttled=result.requests.get("throttled", 0),
                ),
                disassociated=things.get("disassociated", 0) + things.get("associated", 0),
                already=things.get("already", 0),
                failed=things.get("failed", 0),
                pending=things.get("pending", 0),
            )
        if self.metrics is not None:
            self.metrics.record_end(self._labels(self._lanes[result.name]), RunState(result.state))
        reason = f": {result.reason}" if result.reason else ""
        event = {"event": "target-ended", "target": result.name, "state": result.state, "exit": result.exit}
        self.notice(Notice(f"{result.name}: {result.state} (exit {result.exit}){reason}", event))

    def _labels(self, lane: CampaignLane) -> TelemetryLabels:
        return TelemetryLabels(Operation.DISASSOCIATE, lane.account, lane.region, target=lane.name)
