"""Tests of OpenTelemetry spans, with the in-memory exporter of the SDK."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from asyncgg.events import BatchFinished, RunEnded, RunStarted
from asyncgg.models import RunState
from asyncgg.telemetry.traces import record_spans
from tests.unit.telemetry.test_event_log import LABELS, REQUEST


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The exporter of a program's own tracer provider."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def spans_by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """The finished spans."""
    return {span.name: span for span in exporter.get_finished_spans()}


def test_request_is_below_its_batch_and_the_batch_below_the_run(exporter: InMemorySpanExporter) -> None:
    """Three spans have each other as parents; the batch ends at its commit, the request at its reply."""
    with record_spans(LABELS) as listener:
        listener(RunStarted("run-1", 100, 1))
        listener(REQUEST)
        listener(BatchFinished(7, "core-1", 98, 0, 2, 0))
        listener(RunEnded(RunState.PARTIAL, ""))
    spans = spans_by_name(exporter)
    run, batch, request = spans["asyncgg disassociate"], spans["batch"], spans[REQUEST.operation]
    assert request.parent == batch.context
    assert batch.parent == run.context
    assert request.kind is SpanKind.CLIENT
    assert (request.start_time, request.end_time) == (750_000_000, 1_000_000_000)
    assert batch.start_time == request.start_time
    assert (run.attributes or {})["asyncgg.run"] == "run-1"
    assert (run.attributes or {})["asyncgg.policy"] == "nightly"
    assert run.status.status_code is StatusCode.UNSET
    assert dict(batch.attributes or {}) == {
        "asyncgg.core": "core-1",
        "asyncgg.batch": 7,
        "asyncgg.things": 100,
        "asyncgg.changed": 98,
        "asyncgg.already": 0,
        "asyncgg.failed": 2,
        "asyncgg.requeued": 0,
    }


def test_failed_request_is_an_error(exporter: InMemorySpanExporter) -> None:
    """A failed request has status, code and request ID; an accepted one has no error."""
    with record_spans(LABELS) as listener:
        listener(REQUEST)
        listener(
            replace(REQUEST, operation="ListCoreDevices", batch=0, core="", verdict="accepted", status=200, code="")
        )
    spans = spans_by_name(exporter)
    failed, accepted = spans[REQUEST.operation], spans["ListCoreDevices"]
    attributes = failed.attributes or {}
    assert failed.status.status_code is StatusCode.ERROR
    assert attributes["error.type"] == "InternalServerException"
    assert attributes["http.response.status_code"] == 500
    assert attributes["aws.request_id"] == "id-1"
    assert accepted.status.status_code is StatusCode.UNSET
    assert "error.type" not in (accepted.attributes or {})
    assert accepted.parent == spans["asyncgg disassociate"].context


def test_batch_without_a_commit_still_ends(exporter: InMemorySpanExporter) -> None:
    """After a crash of the journal no span is lost, and the run is an error."""

    def fail_after_a_request() -> None:
        with record_spans(LABELS) as listener:
            listener(REQUEST)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_a_request()
    spans = spans_by_name(exporter)
    assert set(spans) == {REQUEST.operation, "batch", "asyncgg disassociate"}
    assert spans["asyncgg disassociate"].status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(
    ("state", "status"), [(RunState.ABORTED, StatusCode.ERROR), (RunState.COMPLETE, StatusCode.UNSET)]
)
def test_run_that_stopped_early_is_an_error(
    exporter: InMemorySpanExporter, state: RunState, status: StatusCode
) -> None:
    """An aborted run is an error with its reason."""
    with record_spans(LABELS) as listener:
        listener(RunEnded(state, "why"))
    (run,) = exporter.get_finished_spans()
    assert run.status.status_code is status
    assert (run.attributes or {})["asyncgg.state"] == state.value


def test_spans_are_below_the_span_of_the_program(exporter: InMemorySpanExporter) -> None:
    """A program that traces itself sees the run below its current span."""
    tracer = trace.get_tracer_provider().get_tracer("program")
    with tracer.start_as_current_span("program") as parent, record_spans(LABELS):
        pass
    assert spans_by_name(exporter)["asyncgg disassociate"].parent == parent.get_span_context()
