"""Exports metrics to a file, a Pushgateway and a port; requires prometheus-client."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from itertools import count
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from prometheus_client import CollectorRegistry, push_to_gateway, start_http_server, write_to_textfile
from prometheus_client.exposition import basic_auth_handler, default_handler

from asyncgg.errors import UsageError
from asyncgg.files import os_errors_as
from asyncgg.formatting import sanitize
from asyncgg.settings import Settings
from asyncgg.telemetry.campaign_metrics import CampaignMetrics
from asyncgg.telemetry.log_records import PROBLEMS
from asyncgg.telemetry.metrics import MetricsCollector

_REFRESH_INTERVAL: Final = 1.0
"""Seconds between two looks at the progress."""
_REFRESHES_PER_EXPORT: Final = 10
_PUSH_TIMEOUT: Final = 5.0
_JOB: Final = "asyncgg"


@contextlib.asynccontextmanager
async def export_metrics(
    settings: Settings,
    grouping: Mapping[str, str],
    collector: MetricsCollector | CampaignMetrics,
    read_progress: Callable[[], Any],
) -> AsyncIterator[None]:
    """Export during the block and at its end. A failed export is one warning.

    `grouping` identifies the metrics at a Pushgateway.

    Raises `UsageError` if the file cannot be written at first, or the port cannot be used.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    write = push = None
    if settings.metrics_file is not None:
        write = partial(write_to_textfile, str(settings.metrics_file), registry)
        with os_errors_as(UsageError, f"{settings.metrics_file}: cannot write the metrics"):
            write()
    if settings.metrics_push is not None:
        push = _pusher(urlsplit(settings.metrics_push), registry, grouping)

    def warn(message: str, error: Exception) -> None:
        if not collector.has_failed_exports:
            PROBLEMS.warning("%s: %s", message, sanitize(getattr(error, "reason", None) or error))
        collector.has_failed_exports = True

    async def export() -> None:
        if write is not None:
            try:
                write()
            except OSError as error:
                warn(f"{settings.metrics_file}: metrics not written", error)
        if push is not None:
            try:
                await asyncio.to_thread(push)
            except (OSError, ValueError, http.client.HTTPException) as error:
                warn(f"metrics not pushed to {urlsplit(settings.metrics_push or '').hostname}", error)

    async def refresh_and_export() -> None:
        for number in count(1):
            await asyncio.sleep(_REFRESH_INTERVAL)
            collector.update(read_progress())
            if number % _REFRESHES_PER_EXPORT == 0:
                await export()

    with _serve(settings.metrics_port, registry):
        task = asyncio.create_task(refresh_and_export(), name="asyncgg-metrics")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if isinstance(sys.exception(), asyncio.CancelledError):
                push = None  # a second signal must not wait for the network
            collector.update(read_progress())
            await export()


def _pusher(url: SplitResult, registry: CollectorRegistry, grouping: Mapping[str, str]) -> Callable[[], None]:
    """A function that replaces the metrics with this grouping key at a Pushgateway."""
    host = url.netloc.rpartition("@")[2]
    handler = default_handler
    if url.username is not None:
        handler = partial(basic_auth_handler, username=unquote(url.username), password=unquote(url.password or ""))
    return partial(
        push_to_gateway,
        url._replace(netloc=host).geturl(),
        _JOB,
        registry,
        grouping_key=dict(grouping),
        timeout=_PUSH_TIMEOUT,
        handler=handler,
    )


@contextlib.contextmanager
def _serve(listen_address: str | None, registry: CollectorRegistry) -> Any:
    """Serve the metrics at ADDRESS:PORT during the block."""
    if listen_address is None:
        yield
        return
    address, _, port = listen_address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), address.strip("[]"), registry)
    except OSError as error:
        raise UsageError(f"--metrics-port {listen_address}: {error.strerror or error}; choose another port") from None
    PROBLEMS.info("metrics at http://%s:%d/metrics", address, server.server_port)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
