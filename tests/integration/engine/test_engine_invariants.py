"""Invariants of every run, with any fault and any interruption, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncgg.engine import EngineOptions, StopReason
from asyncgg.errors import CredentialsUnreachableError
from asyncgg.models import RunState, ThingState
from asyncgg.retry_policy import RetryPolicy
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.testing import VirtualLoop, run_virtual
from tests.support.engine import EngineHarness

FINAL = {ThingState.DISASSOCIATED, ThingState.ALREADY, ThingState.FAILED}

shares = st.integers(0, 12)


@st.composite
def services(draw: st.DrawFn) -> SimulatorConfig:
    """A fleet and a service with every kind of fault."""
    kinds = ("500", "500-after", "reset-before", "reset-after", "hang", "hang-after", "garbage", "half-before", "429")
    faults = [f"{kind}={draw(shares)}%" for kind in draw(st.sets(st.sampled_from(kinds), max_size=5))]
    entry = draw(st.sampled_from(["", "InternalServerException", "ConflictException", "Whatever"]))
    if entry:
        faults.append(f"entry:{entry}={draw(shares)}%")
    return SimulatorConfig(
        cores=draw(st.integers(1, 6)),
        things=draw(st.integers(1, 260)),
        size_skew=draw(st.sampled_from([0.0, 1.0])),
        seed=draw(st.integers(0, 1000)),
        missing_things=draw(st.integers(0, 4)),
        missing_cores=draw(st.integers(0, 2)),
        rate=draw(st.sampled_from([5.0, 50.0, 1000.0])),
        burst=draw(st.sampled_from([1.0, 5.0, 100.0])),
        latency_ms=draw(st.sampled_from([0.0, 60.0])),
        jitter_ms=draw(st.sampled_from([0.0, 40.0])),
        retry_after=draw(st.sampled_from(["none", "auto", "1"])),
        fault=tuple(faults),
    )


@given(
    config=services(),
    rate=st.sampled_from([10.0, 50.0, 400.0]),
    burst=st.sampled_from([1.0, 2.0, 9.0]),
    concurrency=st.integers(1, 40),
    per_core=st.integers(1, 5),
    attempts=st.integers(1, 12),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_run_any_faults_gives_every_thing_one_outcome(
    config: SimulatorConfig, rate: float, burst: float, concurrency: int, per_core: int, attempts: int
) -> None:
    """With any faults each thing has one outcome, reported once; batch size, bounds and rate are
    kept."""

    async def scenario(folder: Path) -> None:
        harness = EngineHarness(folder / "j", config)
        options = EngineOptions(concurrency, per_core, RetryPolicy(max_attempts=attempts))
        result = await harness.start(rate=rate, burst=burst, adaptive=False, options=options)
        assert result.state in {RunState.COMPLETE, RunState.PARTIAL}
        harness.check_consistent()
        harness.check_reported_outcomes()
        assert all(row.state in FINAL for row in harness.outcome_rows())
        assert harness.transport.max_in_flight <= concurrency
        assert harness.service.counters.max_in_flight_per_core <= per_core
        times = [time for time, _, _ in harness.transport.starts]
        for first, last in itertools.combinations(range(0, len(times), max(1, len(times) // 30)), 2):
            assert last - first + 1 <= rate * (times[last] - times[first]) + burst + 1e-6

    with tempfile.TemporaryDirectory() as folder:
        run_virtual(scenario(Path(folder)))


FAULTY_CONFIG = SimulatorConfig(
    cores=3,
    things=150,
    missing_cores=1,
    missing_things=1,
    rate=1000.0,
    burst=2.0,
    latency_ms=20.0,
    fault=("500#2", "reset-after#3", "expired-token#5", "entry:InternalServerException=10%"),
)


def moments() -> list[tuple[float, int]]:
    """Moments of a run of `FAULTY_CONFIG`: milliseconds from the start and loop rounds after
    that."""
    return [
        (millis / 1000, rounds) for millis in (0, 1, 10, 20, 21, 40, 60, 80, 300, 600, 1000) for rounds in range(12)
    ]


async def run_and_interrupt(
    harness: EngineHarness, moment: tuple[float, int], action: Callable[[asyncio.Task[object]], object]
) -> None:
    """Start the run and call `act` on it at `moment`."""
    task: asyncio.Task[object] = asyncio.ensure_future(harness.start(rate=100.0, burst=3.0))
    loop = asyncio.get_running_loop()

    def run_after_rounds(rounds: int) -> None:
        if task.done():
            return
        if rounds:
            loop.call_soon(run_after_rounds, rounds - 1)
        else:
            action(task)

    loop.call_later(moment[0], run_after_rounds, moment[1])
    with contextlib.suppress(asyncio.CancelledError):
        await task


def run_scenario(scenario: Callable[[EngineHarness], object]) -> None:
    """Run a scenario with a new harness of `FAULTY_CONFIG`."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            await scenario(EngineHarness(Path(folder) / "j", FAULTY_CONFIG))  # type: ignore[misc]  # scenarios are coroutines

    run_virtual(main())


def assert_completed(harness: EngineHarness) -> None:
    """After the last start every outcome is final and correct."""
    harness.check_consistent()
    rows = harness.outcome_rows()
    assert all(row.state in FINAL for row in rows)
    assert {(row.core, row.thing) for row in rows if row.state is ThingState.FAILED} <= nonexistent_pairs(harness)
    assert not harness.associations()


def nonexistent_pairs(harness: EngineHarness) -> set[tuple[str, str]]:
    """Pairs of the manifest that never existed."""
    existing = {(core, thing) for core, things in harness.service.fleet_spec.things.items() for thing in things}
    return set(harness.pairs) - existing


class _SteppedLoop(VirtualLoop):
    """Virtual time that calls an action before one of its rounds."""

    rounds = 0
    action_round = -1
    action: Callable[[], object]

    def _run_once(self) -> None:
        self.rounds += 1
        if self.rounds == self.action_round:
            self.action()
        super()._run_once()  # type: ignore[misc]  # asyncio's own, not in its typing


SMALL_CONFIG = SimulatorConfig(
    cores=2,
    things=4,
    missing_cores=1,
    rate=1000.0,
    latency_ms=5.0,
    fault=("500#2", "reset-after#3", "expired-token#4", "entry:InternalServerException=20%"),
)


def test_run_cancelled_in_any_loop_round_is_resumable() -> None:
    """Cancelled before any round of the event loop, the journal is consistent at once.

    The next start completes the run.
    """

    async def scenario(folder: Path, number: int) -> bool:
        harness = EngineHarness(folder / "j", SMALL_CONFIG)
        task = asyncio.ensure_future(harness.start(rate=100.0, burst=3.0))
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _SteppedLoop)
        loop.action, loop.action_round = task.cancel, loop.rounds + number
        with contextlib.suppress(asyncio.CancelledError):
            await task
        loop.action_round = -1
        was_cancelled = task.cancelled()
        harness.check_consistent()
        await harness.start(rate=100.0, burst=3.0)
        assert_completed(harness)
        return was_cancelled

    number = 0
    missed = 0
    while missed < 3:  # beyond the end of the run
        number += 1
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=_SteppedLoop) as runner:
            missed = 0 if runner.run(scenario(Path(folder), number)) else missed + 1
    assert number > 40


@pytest.mark.parametrize("millis", sorted({m for m, _ in moments()}))
def test_run_stopped_at_any_moment_is_resumable(millis: float) -> None:
    """Nothing more is sent, requests in flight end with their outcome, and a resume completes."""
    for rounds in range(6):

        async def scenario(harness: EngineHarness, rounds: int = rounds) -> None:
            def stop(_: asyncio.Task[object]) -> None:
                assert harness.engine is not None
                harness.engine.stop(StopReason(RunState.INTERRUPTED, "test"))
                sent_counts.append(len(harness.transport.starts))

            sent_counts: list[int] = []
            await run_and_interrupt(harness, (millis, rounds), stop)
            if sent_counts:
                assert len(harness.transport.starts) == sent_counts[0], "something was sent after the stop"
            harness.check_consistent()
            await harness.start(rate=100.0, burst=3.0)
            assert_completed(harness)

        run_scenario(scenario)


@pytest.mark.parametrize("millis", sorted({m for m, _ in moments()}))
def test_run_killed_at_any_moment_is_resumable(millis: float) -> None:
    """From a journal as a kill leaves it, a resume loses nothing.

    Only requests in flight are sent again.
    """
    for rounds in range(6):

        async def scenario(harness: EngineHarness, rounds: int = rounds) -> None:
            image = harness.path.with_name("image")
            in_flight: set[tuple[str, str]] = set()

            def kill(task: asyncio.Task[object]) -> None:
                for ending in ("", "-wal"):
                    source = harness.path.with_name(harness.path.name + ending)
                    if source.exists():
                        shutil.copy(source, image.with_name(image.name + ending))
                assert harness.engine is not None
                for batch in harness.engine._in_flight.values():
                    in_flight.update((batch.core, thing) for thing in batch.things)
                task.cancel()

            await run_and_interrupt(harness, (millis, rounds), kill)
            if image.exists():
                for ending in ("", "-wal", "-shm"):
                    harness.path.with_name(harness.path.name + ending).unlink(missing_ok=True)
                    if (copy := image.with_name(image.name + ending)).exists():
                        copy.rename(harness.path.with_name(harness.path.name + ending))
            done = {(row.core, row.thing) for row in harness.outcome_rows(ThingState.DISASSOCIATED)}
            sent_before = len(harness.transport.starts)
            await harness.start(rate=100.0, burst=3.0)
            resent = {(core, thing) for _, core, things in harness.transport.starts[sent_before:] for thing in things}
            assert not resent & done, "a success was sent a second time"
            assert_completed(harness)

        run_scenario(scenario)


def test_run_expired_credentials_are_refreshed_once() -> None:
    """One refresh serves all requests in flight, and every thing is done."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            config = SimulatorConfig(
                cores=30, things=100, rate=1000.0, burst=100.0, fault=("expired-token@OLD",), latency_ms=50.0
            )
            harness = EngineHarness(Path(folder) / "j", config)
            harness.transport.inner.access_key = "OLD"
            refreshes: list[float] = []

            async def refresh() -> None:
                await asyncio.sleep(0.5)
                refreshes.append(asyncio.get_running_loop().time())
                harness.transport.inner.access_key = "NEW"

            harness.transport.on_refresh = refresh
            result = await harness.start(rate=200.0, burst=20.0)
            assert result.state is RunState.COMPLETE
            assert len(refreshes) == 1
            harness.check_consistent()

    run_virtual(main())


def test_run_credentials_rejected_after_refreshes_aborts() -> None:
    """If new credentials are rejected repeatedly, the run stops, resumable, with an auth error."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            harness = EngineHarness(
                Path(folder) / "j", SimulatorConfig(cores=5, things=100, fault=("expired-token=100000",))
            )
            result = await harness.start()
            assert (result.state, result.is_auth_error) == (RunState.ABORTED, True)
            assert all(row.state is ThingState.PENDING for row in harness.outcome_rows())
            harness.service.set_faults([])
            assert (await harness.start()).state is RunState.COMPLETE
            harness.check_consistent()

    run_virtual(main())


@pytest.mark.parametrize(
    ("failures", "seconds", "deadline", "state"),
    [
        (0, 1000.0, None, RunState.COMPLETE),
        (3, 0.5, None, RunState.COMPLETE),
        (99, 0.5, None, RunState.ABORTED),
        (0, 1000.0, 10.0, RunState.DEADLINE),
    ],
    ids=["slow source", "unreachable for a while", "unreachable", "deadline"],
)
def test_run_waits_for_credentials(failures: int, seconds: float, deadline: float | None, state: RunState) -> None:
    """The wait is no silence of the service, an unreachable source is called again, and a deadline ends the wait."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            config = SimulatorConfig(cores=10, things=100, rate=1000.0, fault=("expired-token@OLD",))
            harness = EngineHarness(Path(folder) / "j", config)
            harness.transport.inner.access_key = "OLD"
            clock = asyncio.get_running_loop().time
            refreshes, started = 0, clock()

            async def refresh() -> None:
                nonlocal refreshes
                await asyncio.sleep(seconds)
                refreshes += 1
                if refreshes <= failures:
                    raise CredentialsUnreachableError("connection failed")
                harness.transport.inner.access_key = "NEW"

            harness.transport.on_refresh = refresh
            result = await harness.start(options=EngineOptions(stall_timeout=300.0, deadline=deadline))
            assert result.state is state
            assert result.is_auth_error == (state is RunState.ABORTED)
            assert refreshes == {RunState.COMPLETE: failures + 1, RunState.ABORTED: 5, RunState.DEADLINE: 0}[state]
            assert deadline is None or clock() - started < deadline + 1
            harness.check_consistent()

    run_virtual(main())
