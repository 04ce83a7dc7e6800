"""Runs lanes for a main process elsewhere, and reports to it: progress, counts of metrics, messages and the log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from asyncgg.events import Event, Listener, RunEnded, listens_to
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.campaign_state import CampaignState
from asyncgg.fleet.local import LocalExecutor
from asyncgg.fleet.results import failed_result
from asyncgg.runs import RunMode
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.log_records import ROOT

if TYPE_CHECKING:
    from asyncgg.telemetry.metrics import MetricsCollector

_REPORT_INTERVAL: Final = 1.0
"""Seconds between two reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """How lanes are run for a main process."""

    mode: RunMode
    overrides: Mapping[str, Any]
    """As those of `LocalExecutor`."""
    state: CampaignState | None
    has_metrics: bool
    """Whether the main process has metrics."""
    log_level: int

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """As `to_dict` returns it."""
        state = document["state"]
        values = {"mode": RunMode(document["mode"]), "state": CampaignState(**state) if state else None}
        return cls(**{**document, **values})

    def to_dict(self) -> dict[str, Any]:
        """As JSON object."""
        return asdict(self) | {"mode": self.mode.value}


class LaneHost:
    """The lanes of this process. `write` sends a report: {"progress", "counts"}, {"message"} or {"log"}.

    `is_own_log`: whether the lane that logs a record is one of its lanes.
    """

    def __init__(
        self,
        options: HostOptions,
        write: Callable[[Mapping[str, Any]], object],
        *,
        is_own_log: Callable[[], bool] = lambda: True,
        temporary_folder: Path | None = None,
    ) -> None:
        self._write = write
        self._has_metrics = options.has_metrics and find_spec("prometheus_client") is not None
        self._log_level = options.log_level
        self._is_own_log = is_own_log
        self._collectors: dict[str, tuple[TelemetryLabels, MetricsCollector]] = {}
        self.executor = LocalExecutor(
            options.mode,
            options.overrides,
            options.state,
            on_message=lambda name, line: write({"message": [name, line]}),
            listeners_for=self._listeners_for,
            temporary_folder=temporary_folder,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the executor, and report during the block."""
        handler = _ReportHandler(self._write, self._is_own_log)
        ROOT.setLevel(self._log_level)
        ROOT.addHandler(handler)
        try:
            async with self.executor:
                reporting = asyncio.create_task(self._report_regularly(), name="asyncgg-report")
                try:
                    yield
                finally:
                    reporting.cancel()
        finally:
            ROOT.removeHandler(handler)

    async def run_lane(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Run a `CampaignLane`, given as JSON object; its result, whatever ends it, as `LaneResult.to_dict`."""
        lane = CampaignLane.from_dict(document)
        try:
            result = await self.executor.run_lane(lane)
        except Exception as error:  # noqa: BLE001 - the main process shows it as that of the lane
            result = failed_result(await asyncio.to_thread(lane.read_result), error)
        return result.to_dict()

    def _listeners_for(self, labels: TelemetryLabels) -> Sequence[Listener]:
        @listens_to(RunEnded)
        def report_end(event: Event) -> None:
            self._report()

        if not self._has_metrics:
            return [report_end]
        from asyncgg.telemetry.metrics import MetricsCollector  # requires prometheus_client

        _, collector = self._collectors[labels.target] = labels, MetricsCollector(labels)
        collector.begin(labels)
        return [collector, report_end]

    async def _report_regularly(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(_REPORT_INTERVAL)

    def _report(self) -> None:
        progress = {name: asdict(progress) for name, progress in self.executor.progress().items()}
        counts = [
            {"labels": asdict(labels), **collector.dump()}
            for name, (labels, collector) in self._collectors.items()
            if name in progress
        ]
        self._write({"progress": progress, "counts": counts})


class _ReportHandler(logging.Handler):
    """Writes records that the main process shows."""

    def __init__(self, write: Callable[[Mapping[str, Any]], object], is_own: Callable[[], bool]) -> None:
        super().__init__()
        self._write = write
        self._is_own = is_own

    def emit(self, record: logging.LogRecord) -> None:
        """Report the record, with its message complete."""
        if self._is_own():
            fields = vars(record) | {"msg": record.getMessage(), "args": None, "exc_info": None}
            self._write({"log": json.loads(json.dumps(fields, default=str))})
