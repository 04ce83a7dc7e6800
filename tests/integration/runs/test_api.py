"""Tests of the library: asyncgg.Run, disassociate, disassociate_sync, resume and retry."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import asyncgg
from asyncgg import ManifestError, Run, RunState, ThingState
from asyncgg.manifest import Row
from asyncgg.simulator import Service, Simulator, SimulatorConfig
from tests.support.in_process import InProcessTransport
from tests.support.journal_queries import CLAIMED, DONE, PENDING, pairs_in_state
from tests.support.simulator import threaded_simulator

Pair = tuple[str, str]
DISASSOCIATED = ThingState.DISASSOCIATED


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Test credentials and an empty working directory."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDTEST",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def make_service(**settings: Any) -> Service:
    """A fleet of 12 cores of 50 things, by default without latency and quota."""
    return Service(SimulatorConfig(**{"cores": 12, "things": 50, "latency_ms": 0.0, "rate": float("inf"), **settings}))


def associations(service: Service) -> set[Pair]:
    """The present associations."""
    return {(core, thing) for core, things in service.fleet.things.items() for thing in things}


async def stream_pairs(service: Service) -> AsyncIterator[Pair]:
    """The associations of the fleet as an asynchronous iterable."""
    for pair in service.fleet_spec.pairs():
        yield pair.core, pair.thing
        await asyncio.sleep(0)


async def test_run_yields_each_outcome_once() -> None:
    """Each pair of an async iterable is one outcome, and the summary counts them."""
    config = SimulatorConfig(cores=5, things=30, latency_ms=5, rate=1000, missing_things=3)
    async with Simulator(config) as simulator:
        pairs = {tuple(pair) for pair in simulator.service.fleet_spec.pairs()}
        async with Run(
            stream_pairs(simulator.service), endpoint_url=simulator.url, rate=200, journal=Path("run.journal")
        ) as run:
            assert run.plan is not None
            assert (run.plan.things, run.plan.cores) == (153, 5)
            outcomes = [outcome async for outcome in run.outcomes()]
        assert associations(simulator.service) == set()
    assert len(outcomes) == 153
    assert {(outcome.core, outcome.thing) for outcome in outcomes} == pairs
    absent = [outcome for outcome in outcomes if outcome.state is ThingState.ALREADY]
    assert {outcome.thing for outcome in absent} == {"ghost-000001", "ghost-000002", "ghost-000003"}
    assert {outcome.code for outcome in absent} == {"ResourceNotFoundException"}
    assert all(outcome.ok for outcome in outcomes)
    assert run.summary is not None
    assert run.summary.state is RunState.COMPLETE
    assert (run.summary.disassociated, run.summary.already, run.summary.failed) == (150, 3, 0)
    assert run.summary.sent == run.summary.minimum == 5


def test_disassociate_sync_accepts_any_iterable() -> None:
    """No event loop and no journal path are needed."""
    with threaded_simulator(SimulatorConfig(latency_ms=0, rate=float("inf"))) as simulator:
        rows: list[Row] = [{"core": "core-1", "thing": "a"}, ("core-1", "b"), asyncgg.Association("core-2", "d")]
        summary = asyncgg.disassociate_sync(rows, endpoint_url=simulator.url)
        assert associations(simulator.service) == {("core-1", "c")}
    assert (summary.state, summary.total) == (RunState.COMPLETE, 3)
    assert Path(summary.journal).exists()


async def test_run_completes_after_break_from_outcomes() -> None:
    """Leaving the stream and then the block completes the run."""
    service = make_service()
    async with Run(service.fleet_spec.pairs(), transport=InProcessTransport(service)) as run:
        async for outcome in run.outcomes():
            assert outcome.ok
            break
    assert run.summary is not None
    assert run.summary.state is RunState.COMPLETE
    assert associations(service) == set()


async def test_run_stop_is_resumable() -> None:
    """stop() waits for requests in flight; resume sends only the remaining things."""
    service = make_service(latency_ms=20)
    transport = InProcessTransport(service)
    async with Run(
        service.fleet_spec.pairs(), transport=transport, rate=50, burst=1, journal=Path("run.journal")
    ) as run:
        async for _ in run.outcomes():
            run.stop("enough")
            break
    assert run.result is not None
    assert (run.result.state, run.result.reason) == (RunState.INTERRUPTED, "enough")
    assert 0 < len(associations(service)) < 600
    summary = await asyncgg.resume("run.journal", transport=transport, rate=500)
    assert (summary.state, summary.disassociated) == (RunState.COMPLETE, 600)
    assert not service.counters.resent
    assert associations(service) == set()


async def test_retry_sends_only_failed_things() -> None:
    """retry sends the failed things again and nothing else."""
    service = make_service(fault=("entry:ValidationException@device-00001?",))
    transport = InProcessTransport(service)
    first = await asyncgg.disassociate(service.fleet_spec.pairs(), transport=transport, journal=Path("run.journal"))
    assert (first.state, first.failed, first.failures) == (RunState.PARTIAL, 10, {"ValidationException": 10})
    service.set_faults(())
    second = await asyncgg.retry("run.journal", transport=transport)
    assert (second.state, second.failed, second.disassociated) == (RunState.COMPLETE, 0, 600)
    assert second.sent == first.sent + 1
    assert not service.counters.resent


async def test_run_exception_in_the_block_is_resumable() -> None:
    """An exception of the caller is raised unchanged, and the journal can be resumed."""
    service = make_service(latency_ms=20)
    transport = InProcessTransport(service)

    async def work() -> None:
        async with Run(
            service.fleet_spec.pairs(), transport=transport, rate=50, burst=1, journal=Path("run.journal")
        ) as run:
            async for _ in run.outcomes():
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert not pairs_in_state(Path("run.journal"), CLAIMED)
    assert 0 < len(pairs_in_state(Path("run.journal"), PENDING)) < 600
    summary = await asyncgg.resume("run.journal", transport=transport, rate=500)
    assert (summary.state, summary.disassociated) == (RunState.COMPLETE, 600)


async def test_run_cancelled_is_resumable() -> None:
    """A cancelled run raises CancelledError and releases a correct journal."""
    service = make_service(latency_ms=20)
    transport = InProcessTransport(service)
    started = asyncio.Event()

    async def work() -> None:
        async with Run(
            service.fleet_spec.pairs(), transport=transport, rate=50, burst=1, journal=Path("run.journal")
        ) as run:
            async for _ in run.outcomes():
                started.set()

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    done = pairs_in_state(Path("run.journal"), DONE)
    assert done
    assert not done & associations(service)
    assert not pairs_in_state(Path("run.journal"), CLAIMED)
    summary = await asyncgg.resume("run.journal", transport=transport, rate=500)
    # What was in flight at the cancellation may be applied: then it is already disassociated.
    assert (summary.state, summary.disassociated + summary.already) == (RunState.COMPLETE, 600)
    assert not associations(service)


async def test_run_slow_consumer_pauses_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffer of outcomes is bounded: sending pauses and resumes with the consumer."""
    monkeypatch.setattr("asyncgg.runs.run._MAX_BUFFERED_OUTCOMES", 200)
    service = make_service(cores=60)
    async with Run(service.fleet_spec.pairs(), transport=InProcessTransport(service), rate=5000, concurrency=2) as run:
        stream = run.outcomes()
        fetched = [await anext(stream)]
        received = 0
        while received != (received := service.counters.disassociated):  # noqa: ASYNC110 - no event for no progress
            await asyncio.sleep(0.1)
        assert 200 < received <= 200 + 50 * 8, "sending did not pause near the limit"
        fetched += [outcome async for outcome in stream]
    assert len(fetched) == len({(outcome.core, outcome.thing) for outcome in fetched}) == 3000
    assert associations(service) == set()


async def test_disassociate_invalid_source_sends_nothing() -> None:
    """Bad rows, no rows and a failing iterable are errors before the first request."""
    service = make_service()
    transport = InProcessTransport(service)

    def failing() -> Iterator[Pair]:
        yield ("core-00001", "device-000001")
        raise ZeroDivisionError

    for rows, error in (
        ([("core-00001", "device-000001"), ("core-00001", "not/a/name")], ManifestError),
        ([], ManifestError),
        (failing(), ZeroDivisionError),
    ):
        with pytest.raises(error):
            await asyncgg.disassociate(rows, transport=transport, journal=Path("run.journal"))
    assert service.counters.summary()["total"] == 0
    assert os.listdir() == []  # noqa: PTH208 - a blocking call, which a method of Path must not be in a coroutine
