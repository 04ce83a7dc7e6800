"""Opens the logs, metrics and traces that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, TypeVar

from asyncgg.events import Listener
from asyncgg.settings import Settings
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
        yield telemetry
