"""OpenTelemetry spans of runs, batches and requests; requires opentelemetry-sdk."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from asyncgg import __version__
from asyncgg.events import BatchFinished, Event, RequestFinished, RunEnded, RunStarted
from asyncgg.models import RunState
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.log_records import PROBLEMS

_LIBRARY_LOG: Final = logging.getLogger("opentelemetry.exporter.otlp.proto.http")
_OK_STATES: Final = frozenset({RunState.COMPLETE, RunState.PARTIAL})


@contextmanager
def record_spans(labels: TelemetryLabels) -> Iterator[SpanRecorder]:
    """A recorder whose spans are below one span for the block, itself below the current span.

    Spans go to the tracer provider of the program; without one, to the OTLP endpoint that the
    OTEL_* variables name.
    """
    with _tracer() as tracer:
        attributes = {
            "cloud.account.id": labels.account,
            "cloud.region": labels.region,
            "asyncgg.policy": labels.policy,
        }
        known = {name: value for name, value in attributes.items() if value}
        with tracer.start_as_current_span(f"asyncgg {labels.work}", attributes=known) as span:
            recorder = SpanRecorder(tracer, span)
            try:
                yield recorder
            finally:
                recorder.close()


@contextmanager
def _tracer() -> Iterator[Tracer]:
    provider = trace.get_tracer_provider()
    if not isinstance(provider, trace.ProxyTracerProvider):
        yield provider.get_tracer("asyncgg", __version__)
        return
    resource = Resource.create({"service.name": "asyncgg"}).merge(OTELResourceDetector().detect())
    own_provider = TracerProvider(resource=resource)
    own_provider.add_span_processor(BatchSpanProcessor(_ReportingExporter()))
    try:
        yield own_provider.get_tracer("asyncgg", __version__)
    finally:
        own_provider.shutdown()


class _ReportingExporter(OTLPSpanExporter):
    """Reports the first failure, in place of the log of each attempt of the library."""

    def __init__(self) -> None:
        super().__init__()
        self._reported = False
        _LIBRARY_LOG.addHandler(logging.NullHandler())
        _LIBRARY_LOG.propagate = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = super().export(spans)
        except OSError:  # of requests; older versions do not catch all of them
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS and not self._reported:
            self._reported = True
            PROBLEMS.warning("spans were not exported; check the OTEL_EXPORTER_OTLP_* variables")
        return result


class SpanRecorder:
    """A listener that records a span for each request, and for each batch one that ends at its commit."""

    event_types = frozenset({RequestFinished, BatchFinished, RunStarted, RunEnded})

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span)
        self._batches: dict[int, Span] = {}

    def __call__(self, event: Event) -> None:
        """Start and end the spans of the event."""
        if isinstance(event, RequestFinished):
            self._record_request(event)
        elif isinstance(event, BatchFinished):
            self._end_batch(event)
        elif isinstance(event, RunStarted):
            self._span.set_attribute("asyncgg.run", event.run)
        elif isinstance(event, RunEnded):
            self._span.set_attribute("asyncgg.state", event.state.value)
            if event.state not in _OK_STATES and not event.limit_reached:
                self._span.set_status(StatusCode.ERROR, event.reason)

    def close(self) -> None:
        """End the spans of batches whose results were not committed."""
        for span in self._batches.values():
            span.end()
        self._batches.clear()

    def _record_request(self, event: RequestFinished) -> None:
        ended_at = _nanoseconds(event.finished_at)
        started_at = _nanoseconds(event.finished_at - event.seconds)
        context: Context = self._context
        if event.batch:
            attributes: dict[str, Any] = {"asyncgg.core": event.core, "asyncgg.batch": event.batch}
            attributes["asyncgg.things"] = event.things
            batch = self._tracer.start_span("batch", context, attributes=attributes, start_time=started_at)
            self._batches[event.batch] = batch
            context = trace.set_span_in_context(batch)
        request = self._tracer.start_span(
            event.operation, context, SpanKind.CLIENT, _request_attributes(event), start_time=started_at
        )
        if event.result != "accepted":
            request.set_status(StatusCode.ERROR, event.message or None)
        request.end(ended_at)

    def _end_batch(self, event: BatchFinished) -> None:
        span = self._batches.pop(event.batch, None)
        if span is not None:
            span.set_attribute("asyncgg.changed", event.changed)
            span.set_attribute("asyncgg.already", event.already)
            span.set_attribute("asyncgg.failed", event.failed)
            span.set_attribute("asyncgg.requeued", event.requeued)
            span.end()


def _request_attributes(event: RequestFinished) -> dict[str, Any]:
    # Names of the semantic conventions of OpenTelemetry for AWS SDK clients.
    attributes: dict[str, Any] = {
        "rpc.system": "aws-api",
        "rpc.service": "GreengrassV2",
        "rpc.method": event.operation,
        "aws.request_id": event.request_id,
        "http.response.status_code": event.status,
        "error.type": event.code,
        "asyncgg.core": event.core,
        "asyncgg.attempt": event.attempt,
    }
    return {name: value for name, value in attributes.items() if value not in {None, ""}}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
