"""Shows the lanes of a campaign while they run, and counts for their metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asyncgg.cli.console import Console
from asyncgg.events import Listener, Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.results import LaneResult
from asyncgg.formatting import format_count
from asyncgg.models import Operation, RunState
from asyncgg.telemetry.labels import TelemetryLabels

if TYPE_CHECKING:
    from asyncgg.telemetry.campaign_metrics import CampaignMetrics


class CampaignDisplay:
    """One display for all lanes. With `metrics`, what it shows is counted there as well."""

    def __init__(self, console: Console, lanes: Sequence[CampaignLane]) -> None:
        self._console = console
        self._lanes = {lane.name: lane for lane in lanes}
        self.metrics: CampaignMetrics | None = None

    def listeners_for(self, labels: TelemetryLabels) -> Sequence[Listener]:
        """The listeners of a lane that starts to run."""
        return [] if self.metrics is None else [self.metrics.target(labels)]

    def show_message(self, name: str, line: str) -> None:
        """Show what a lane says about its state."""
        self._console.log_event({"event": "state", "target": name, "message": line}, f"{name}: {line}")

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
        if self.metrics is not None:
            self.metrics.record_end(self._labels(self._lanes[result.name]), RunState(result.state))
        if not self._console.quiet:
            reason = f": {result.reason}" if result.reason else ""
            event = {"event": "target-ended", "target": result.name, "state": result.state, "exit": result.exit}
            self._console.log_event(event, f"{result.name}: {result.state} (exit {result.exit}){reason}")

    def show_progress(self, progress: Mapping[str, Progress]) -> None:
        """Show the progress of all lanes that run, as one line."""
        if self._console.quiet or not progress:
            return
        lanes = progress.values()
        finished, total = sum(lane.finished for lane in lanes), sum(lane.total for lane in lanes)
        sent, throttled = sum(lane.sent for lane in lanes), sum(lane.throttled for lane in lanes)
        event = {"event": "progress", "targets": len(lanes), "finished": finished, "total": total, "sent": sent}
        text = f"{format_count(len(lanes), 'target')} running, {finished:,} of their {total:,} things finished"
        self._console.log_event(
            event | {"throttled": throttled}, f"{text}, {sent:,} requests sent, {throttled:,} throttled"
        )

    def _labels(self, lane: CampaignLane) -> TelemetryLabels:
        return TelemetryLabels(Operation.DISASSOCIATE, lane.account, lane.region, target=lane.name)
