"""Opens the logs, metrics and traces that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, TypeVar

from asyncgg.errors import UsageError
from asyncgg.events import Listener
from asyncgg.settings import Settings
from asyncgg.sharing import share
from asyncgg.telemetry.emf import EmbeddedMetrics
from asyncgg.telemetry.event_log import EventLogger
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.request_log import RequestLog


class _Work(Protocol):
    def progress(self) -> Any: ...


T = TypeVar("T", bound=_Work)


class Telemetry:
    """The listeners of one run or scan."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._work: _Work | None = None

    def read_progress(self) -> Any:
        """The current `Progress` or `ScanProgress`; None before the start."""
        return None if self._work is None else self._work.progress()

    def watching(self, on_start: Callable[[T], object] | None) -> Callable[[T], None]:
        """A function that reads the progress of its argument from now on, and calls `on_start`."""

        def watch(work: T) -> None:
            self._work = work
            if on_start is not None:
                on_start(work)

        return watch


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


def _open_metrics(
    settings: Settings, labels: TelemetryLabels, telemetry: Telemetry
) -> AbstractAsyncContextManager[None]:
    try:
        from asyncgg.telemetry.exporters import export_metrics
        from asyncgg.telemetry.metrics import MetricsCollector
    except ImportError:
        raise UsageError("metrics require prometheus-client: pip install 'asyncgg[metrics]'") from None
    # The scan and the run of one command count together.
    collector = share((MetricsCollector, labels.account, labels.region), lambda: MetricsCollector(labels))
    collector.begin(labels)
    telemetry.listeners.append(collector)
    return export_metrics(settings, labels, collector, telemetry.read_progress)


def _open_traces(labels: TelemetryLabels) -> AbstractContextManager[Listener]:
    try:
        from asyncgg.telemetry.traces import record_spans
    except ImportError:
        raise UsageError("traces require opentelemetry-sdk: pip install 'asyncgg[otel]'") from None
    return record_spans(labels)
