"""Opens the logs, metrics and traces that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asyncgg.errors import UsageError
from asyncgg.events import Listener, Progress, RunEnded
from asyncgg.models import RunState
from asyncgg.settings import Settings
from asyncgg.sharing import share
from asyncgg.telemetry.emf import EmbeddedMetrics
from asyncgg.telemetry.event_log import EventLogger
from asyncgg.telemetry.labels import ProgressSource, TelemetryLabels
from asyncgg.telemetry.request_log import RequestLog

if TYPE_CHECKING:
    from asyncgg.telemetry.campaign_metrics import CampaignMetrics

T = TypeVar("T", bound=ProgressSource)
_METRICS_REQUIRED: Final = "metrics require prometheus-client: pip install 'asyncgg[metrics]'"


class Telemetry:
    """The listeners of one run or scan."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._work: ProgressSource | None = None

    def read_progress(self) -> Any:
        """The current `Progress` or `ScanProgress`; None before the start."""
        return None if self._work is None else self._work.progress()

    def watch(self, work: ProgressSource) -> None:
        """Read the progress of this run or scan from now on."""
        self._work = work

    def watching(self, on_start: Callable[[T], object] | None) -> Callable[[T], None]:
        """A function that watches its argument and calls `on_start` with it."""

        def start(work: T) -> None:
            self.watch(work)
            if on_start is not None:
                on_start(work)

        return start


@asynccontextmanager
async def open_telemetry(settings: Settings, labels: TelemetryLabels) -> AsyncIterator[Telemetry]:
    """The telemetry of `settings`; its files and connections are closed at the end of the block.

    Raises `UsageError` if a file or port cannot be used, or an optional package is missing.
    """
    async with AsyncExitStack() as stack:
        telemetry = Telemetry()
        telemetry.listeners.append(EventLogger(labels))
        if settings.log_format == "emf":
            metrics = EmbeddedMetrics(labels, telemetry.read_progress)
            telemetry.listeners.append(stack.enter_context(metrics))
        if settings.log_requests is not None:
            telemetry.listeners.append(stack.enter_context(RequestLog(settings.log_requests, labels)))
        if settings.metrics_file or settings.metrics_push or settings.metrics_port:
            await stack.enter_async_context(_open_metrics(settings, labels, telemetry))
        if settings.otel:
            telemetry.listeners.append(stack.enter_context(_open_traces(labels)))
        yield telemetry


async def export_state(settings: Settings, labels: TelemetryLabels, state: RunState) -> None:
    """Export the metrics once more with the final state of a command that had several runs and scans."""
    if settings.metrics_file or settings.metrics_push:
        telemetry = Telemetry()
        settings = settings.model_copy(update={"metrics_port": None})
        async with _open_metrics(settings, labels, telemetry):
            telemetry.listeners[0](RunEnded(state, ""))


def _open_metrics(
    settings: Settings, labels: TelemetryLabels, telemetry: Telemetry
) -> AbstractAsyncContextManager[None]:
    try:
        from asyncgg.telemetry.exporters import export_metrics
        from asyncgg.telemetry.metrics import MetricsCollector
    except ImportError:
        raise UsageError(_METRICS_REQUIRED) from None
    # The scan and the run of one command count together.
    collector = share((MetricsCollector, labels.account, labels.region), lambda: MetricsCollector(labels))
    collector.begin(labels)
    telemetry.listeners.append(collector)
    return export_metrics(settings, labels.known(), collector, telemetry.read_progress)


@asynccontextmanager
async def open_campaign_metrics(
    settings: Settings, campaign: str, read_progress: Callable[[], Mapping[str, Progress]]
) -> AsyncIterator[CampaignMetrics | None]:
    """The metrics of all targets of a campaign, exported during the block; None if `settings` ask for none.

    Raises as `open_telemetry`.
    """
    if not (settings.metrics_file or settings.metrics_push or settings.metrics_port):
        yield None
        return
    try:
        from asyncgg.telemetry.campaign_metrics import CampaignMetrics
        from asyncgg.telemetry.exporters import export_metrics
    except ImportError:
        raise UsageError(_METRICS_REQUIRED) from None
    metrics = CampaignMetrics(read_progress)
    async with export_metrics(settings, {"campaign": campaign}, metrics, read_progress):
        yield metrics


def _open_traces(labels: TelemetryLabels) -> AbstractContextManager[Listener]:
    try:
        from asyncgg.telemetry.traces import record_spans
    except ImportError:
        raise UsageError("traces require opentelemetry-sdk: pip install 'asyncgg[otel]'") from None
    return record_spans(labels)
