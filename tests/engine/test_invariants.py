"""Rule: what holds for every run, whatever the service does and wherever it is cut; on virtual time."""

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

from asyncgg.backoff import RetryPolicy
from asyncgg.engine import EngineOptions, StopReason
from asyncgg.model import RunState, ThingState
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.testing import VirtualLoop, run_virtual
from tests.engine.support import Bench

FINAL = {ThingState.DISASSOCIATED, ThingState.FAILED}

shares = st.integers(0, 12)


@st.composite
def services(draw: st.DrawFn) -> SimulatorConfig:
    """A fleet and a service that fails in every way there is."""
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
def test_every_thing_ends_with_exactly_one_outcome(
    config: SimulatorConfig, rate: float, burst: float, concurrency: int, per_core: int, attempts: int
) -> None:
    """Whatever the faults: one outcome a thing, told once; never over 100 entries, the bounds, or the rate."""

    async def scenario(folder: Path) -> None:
        bench = Bench(folder / "j", config)
        options = EngineOptions(concurrency, per_core, RetryPolicy(max_attempts=attempts))
        result = await bench.start(rate=rate, burst=burst, adaptive=False, options=options)
        assert result.state in {RunState.COMPLETE, RunState.PARTIAL}
        bench.check()
        bench.check_announced()
        assert all(row.state in FINAL for row in bench.rows())
        assert bench.transport.most_in_flight <= concurrency
        assert bench.service.counters.max_in_flight_per_core <= per_core
        times = [time for time, _, _ in bench.transport.starts]
        for first, last in itertools.combinations(range(0, len(times), max(1, len(times) // 30)), 2):
            assert last - first + 1 <= rate * (times[last] - times[first]) + burst + 1e-6

    with tempfile.TemporaryDirectory() as folder:
        run_virtual(scenario(Path(folder)))


CUT = SimulatorConfig(
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
    """Moments of a run of `CUT`: milliseconds from its begin, and loop rounds after that."""
    return [
        (millis / 1000, rounds) for millis in (0, 1, 10, 20, 21, 40, 60, 80, 300, 600, 1000) for rounds in range(12)
    ]


async def cut(bench: Bench, moment: tuple[float, int], act: Callable[[asyncio.Task[object]], object]) -> None:
    """Start the run and do `act` to it at `moment`."""
    task: asyncio.Task[object] = asyncio.ensure_future(bench.start(rate=100.0, burst=3.0))
    loop = asyncio.get_running_loop()

    def later(rounds: int) -> None:
        if task.done():
            return
        if rounds:
            loop.call_soon(later, rounds - 1)
        else:
            act(task)

    loop.call_later(moment[0], later, moment[1])
    with contextlib.suppress(asyncio.CancelledError):
        await task


def with_bench(scenario: Callable[[Bench], object]) -> None:
    """Run a scenario on a fresh bench of `CUT`."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            await scenario(Bench(Path(folder) / "j", CUT))  # type: ignore[misc]  # scenarios are coroutines

    run_virtual(main())


def finish_and_compare(bench: Bench) -> None:
    """After the last start: everything final and true."""
    bench.check()
    rows = bench.rows()
    assert all(row.state in FINAL for row in rows)
    assert {(row.core, row.thing) for row in rows if row.state is ThingState.FAILED} <= missing(bench)
    assert not bench.associated()


def missing(bench: Bench) -> set[tuple[str, str]]:
    """Pairs of the manifest that never existed."""
    existed = {(core, thing) for core, things in bench.service.fleet_spec.things.items() for thing in things}
    return set(bench.pairs) - existed


class _SteppedLoop(VirtualLoop):
    """Virtual time that does something before one of its rounds."""

    rounds = 0
    at = -1
    act: Callable[[], object]

    def _run_once(self) -> None:
        self.rounds += 1
        if self.rounds == self.at:
            self.act()
        super()._run_once()  # type: ignore[misc]  # asyncio's own, not in its typing


SMALL = SimulatorConfig(
    cores=2,
    things=4,
    missing_cores=1,
    rate=1000.0,
    latency_ms=5.0,
    fault=("500#2", "reset-after#3", "expired-token#4", "entry:InternalServerException=20%"),
)


def test_cancelled_at_every_await() -> None:
    """Cancelled before any single round of the event loop, from the first to the last of a run with faults, the journal
    is consistent at once, and the next start completes the run."""

    async def scenario(folder: Path, number: int) -> bool:
        bench = Bench(folder / "j", SMALL)
        task = asyncio.ensure_future(bench.start(rate=100.0, burst=3.0))
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _SteppedLoop)
        loop.act, loop.at = task.cancel, loop.rounds + number
        with contextlib.suppress(asyncio.CancelledError):
            await task
        loop.at = -1
        cut_short = task.cancelled()
        bench.check()
        await bench.start(rate=100.0, burst=3.0)
        finish_and_compare(bench)
        return cut_short

    number = 0
    missed = 0
    while missed < 3:  # beyond the end of the run
        number += 1
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=_SteppedLoop) as runner:
            missed = 0 if runner.run(scenario(Path(folder), number)) else missed + 1
    assert number > 40


@pytest.mark.parametrize("millis", sorted({m for m, _ in moments()}))
def test_stopped_at_every_moment(millis: float) -> None:
    """Stopped anywhere, nothing more is sent, what is in flight ends with its outcome, and a resume completes."""
    for rounds in range(6):

        async def scenario(bench: Bench, rounds: int = rounds) -> None:
            def stop(_: asyncio.Task[object]) -> None:
                assert bench.engine is not None
                bench.engine.stop(StopReason(RunState.INTERRUPTED, "test"))
                told.append(len(bench.transport.starts))

            told: list[int] = []
            await cut(bench, (millis, rounds), stop)
            if told:
                assert len(bench.transport.starts) == told[0], "something was sent after the stop"
            bench.check()
            await bench.start(rate=100.0, burst=3.0)
            finish_and_compare(bench)

        with_bench(scenario)


@pytest.mark.parametrize("millis", sorted({m for m, _ in moments()}))
def test_killed_at_every_moment(millis: float) -> None:
    """A journal as a kill would leave it, at any moment: resumed, nothing is lost, and only what was in flight is
    sent again."""
    for rounds in range(6):

        async def scenario(bench: Bench, rounds: int = rounds) -> None:
            image = bench.path.with_name("image")
            flying: set[tuple[str, str]] = set()

            def kill(task: asyncio.Task[object]) -> None:
                for ending in ("", "-wal"):
                    source = bench.path.with_name(bench.path.name + ending)
                    if source.exists():
                        shutil.copy(source, image.with_name(image.name + ending))
                assert bench.engine is not None
                for batch in bench.engine._in_flight.values():
                    flying.update((batch.core, thing) for thing in batch.things)
                task.cancel()

            await cut(bench, (millis, rounds), kill)
            if image.exists():
                for ending in ("", "-wal", "-shm"):
                    bench.path.with_name(bench.path.name + ending).unlink(missing_ok=True)
                    if (copy := image.with_name(image.name + ending)).exists():
                        copy.rename(bench.path.with_name(bench.path.name + ending))
            done = {(row.core, row.thing) for row in bench.rows(ThingState.DISASSOCIATED)}
            begun = len(bench.transport.starts)
            await bench.start(rate=100.0, burst=3.0)
            again = {(core, thing) for _, core, things in bench.transport.starts[begun:] for thing in things}
            assert not again & done, "a success was sent a second time"
            finish_and_compare(bench)

        with_bench(scenario)


def test_expired_credentials_are_refreshed_once() -> None:
    """When many requests in flight find the token expired, it is refreshed once, and every thing is done."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            config = SimulatorConfig(
                cores=30, things=100, rate=1000.0, burst=100.0, fault=("expired-token@OLD",), latency_ms=50.0
            )
            bench = Bench(Path(folder) / "j", config)
            bench.transport.inner.access_key = "OLD"
            refreshes: list[float] = []

            async def refresh() -> None:
                await asyncio.sleep(0.5)
                refreshes.append(asyncio.get_running_loop().time())
                bench.transport.inner.access_key = "NEW"

            bench.transport.on_refresh = refresh
            result = await bench.start(rate=200.0, burst=20.0)
            assert result.state is RunState.COMPLETE
            assert len(refreshes) == 1
            bench.check()

    run_virtual(main())


def test_credentials_that_stay_expired_end_the_run() -> None:
    """When new credentials are refused again and again, the run stops resumable, for its credentials."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder) / "j", SimulatorConfig(cores=5, things=100, fault=("expired-token=100000",)))
            result = await bench.start()
            assert (result.state, result.is_auth_error) == (RunState.ABORTED, True)
            assert all(row.state is ThingState.PENDING for row in bench.rows())
            bench.service.set_faults([])
            assert (await bench.start()).state is RunState.COMPLETE
            bench.check()

    run_virtual(main())
