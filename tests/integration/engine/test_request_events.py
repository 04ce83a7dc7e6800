"""Tests of the events of requests and batches, and of listeners that want only some events."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from asyncgg.engine import Engine, EngineOptions, Lane
from asyncgg.events import BatchFinished, Event, RequestFinished, RunStarted, listens_to
from asyncgg.journal import JournalWriter
from asyncgg.models import ThingState
from asyncgg.retry_policy import RetryPolicy
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.testing import FixedRate
from tests.support.engine import EngineHarness

FAULTS = ("500=10%", "429=5%", "reset-after=5%", "entry=5%", "deny@core-00003")


@pytest.mark.virtual
async def test_each_request_and_each_batch_has_one_event(tmp_path: Path) -> None:
    """Under faults the events of requests add up to the counts, and those of batches to the outcomes."""
    config = SimulatorConfig(cores=10, things=250, rate=20.0, burst=2, fault=FAULTS)
    harness = EngineHarness(tmp_path / "j", config)
    await harness.start(rate=50.0, options=EngineOptions(retry=RetryPolicy(3, 2)))
    assert harness.engine is not None
    progress = harness.engine.progress()
    requests = [event for event in harness.events if isinstance(event, RequestFinished)]
    assert len(requests) == progress.sent
    assert sum(request.result == "throttled" for request in requests) == progress.throttled > 0
    assert {request.batch for request in requests} == set(range(1, len(requests) + 1))
    assert {request.result for request in requests} == {"accepted", "throttled", "failed"}
    ids = {entry.request_id: entry for entry in harness.service.counters.log}
    for request in requests:
        if request.status is not None:
            entry = ids[request.request_id]
            assert (request.core, request.things, request.status) == (entry.core, entry.entries, entry.status)
    batches = [event for event in harness.events if isinstance(event, BatchFinished)]
    things = {request.batch: request.things for request in requests}
    for batch in batches:
        assert things[batch.batch] == batch.changed + batch.already + batch.failed + batch.requeued
    assert len(batches) == len(requests)
    assert sum(batch.changed for batch in batches) == progress.disassociated
    assert sum(batch.already for batch in batches) == progress.already
    assert max(request.attempt for request in requests) == 3


@pytest.mark.virtual
async def test_cancelled_request_has_an_event(tmp_path: Path) -> None:
    """What is in flight when the run is aborted is reported as failed, because it was possibly applied."""
    harness = EngineHarness(tmp_path / "j", SimulatorConfig(cores=3, things=10, latency_ms=1000.0))
    run = asyncio.create_task(harness.start(rate=100.0))
    await asyncio.sleep(1.5)
    in_flight = harness.transport.in_flight
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    cancelled = [event for event in harness.events if isinstance(event, RequestFinished) and event.code == "cancelled"]
    assert len(cancelled) == in_flight > 0
    assert {(event.result, event.status) for event in cancelled} == {("failed", None)}


@pytest.mark.virtual
async def test_listener_gets_only_the_events_that_it_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decorated listener gets its types, and events that no listener wants are not created."""
    harness = EngineHarness(tmp_path / "j", SimulatorConfig(cores=2, things=10))
    received: list[Event] = []

    @listens_to(RunStarted, RequestFinished)
    def listener(event: Event) -> None:
        received.append(event)

    def fail(*_: object) -> None:
        raise AssertionError("an event without a receiver was created")

    monkeypatch.setattr("asyncgg.engine.recorder.ThingsFinished.__init__", fail)
    monkeypatch.setattr("asyncgg.engine.recorder.BatchFinished.__init__", fail)
    journal = JournalWriter(harness.path, threaded=False)
    try:
        await journal.submit(lambda store: store.begin_resume())
        lane = Lane(harness.transport, FixedRate(100.0))
        await Engine(journal, lane, listeners=[listener]).run()
    finally:
        journal.close()
    assert [type(event) for event in received] == [RunStarted, RequestFinished, RequestFinished]
    assert len(harness.outcome_rows(ThingState.DISASSOCIATED)) == 20
