"""Invariants of the token bucket: the bound of each window, FIFO order, no lost wake-up."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.ratelimit import TokenBucket
from asyncgg.testing import run_virtual

RATES = st.one_of(st.floats(0.1, 1000), st.sampled_from([1, 3, 7, 10, 30, 50]))
BURSTS = st.one_of(st.floats(1, 50), st.sampled_from([1, 2, 5, 10]))


@dataclass
class Observations:
    """The observations of a scenario."""

    grants: list[tuple[int, float]] = field(default_factory=list)
    """Number of the caller and time, in the order of resumption."""
    cancelled: set[int] = field(default_factory=set)
    rates: list[float] = field(default_factory=list)
    bursts: list[float] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    """Start and end of each pause."""


def worst_excess(times: list[float], rate: float, burst: float) -> float:
    """The most grants by which a window exceeds rate x w + burst; at most zero if the bound
    holds."""
    # Grant j - grant i spans a window of times[j] - times[i] with j - i + 1 grants: a running
    # minimum finds the worst.
    lowest, worst = math.inf, -math.inf
    for number, at in enumerate(times):
        lowest = min(lowest, number - rate * at)
        worst = max(worst, number + 1 - rate * at - lowest - burst)
    return worst


def apply_step(
    bucket: TokenBucket, loop: asyncio.AbstractEventLoop, observed: Observations, step: tuple[str, float, float]
) -> None:
    """Change the rate of the bucket, pause it, or stall the loop."""
    kind, first, second = step
    if kind == "rate":
        bucket.set_rate(first, second)
        observed.rates.append(first)
        observed.bursts.append(second)
    elif kind == "pause":
        bucket.pause_until(loop.time() + first)
        observed.pauses.append((loop.time(), loop.time() + first))
    elif kind == "stall":
        loop._now += first  # type: ignore[attr-defined]  # the virtual loop's clock: a callback that takes long


async def run_scenario(
    rate: float, burst: float, arrivals: list[float], timeouts: list[float], steps: list[tuple[str, float, float]]
) -> Observations:
    """Callers arrive after the gaps in `arrivals`; some are cancelled after `timeouts`; `steps`
    change the bucket."""
    loop = asyncio.get_running_loop()
    bucket = TokenBucket(rate, burst)
    observed = Observations(rates=[rate], bursts=[burst])

    async def caller(number: int) -> None:
        await bucket.acquire()
        observed.grants.append((number, loop.time()))

    async def apply_steps() -> None:
        for step in steps:
            await asyncio.sleep(step[1] / 3)
            apply_step(bucket, loop, observed, step)

    steps_task = asyncio.create_task(apply_steps())
    tasks: list[asyncio.Task[None]] = []
    for number, gap in enumerate(arrivals):
        await asyncio.sleep(gap)
        task = asyncio.create_task(caller(number))
        tasks.append(task)
        if timeouts[number] >= 0:
            loop.call_later(timeouts[number], task.cancel)
    await asyncio.gather(*tasks, return_exceptions=True)  # a lost wake-up is a deadlock here, and that raises
    await steps_task
    observed.cancelled = {number for number, task in enumerate(tasks) if task.cancelled()}
    statistics = bucket.statistics()
    assert statistics.granted == len(observed.grants)
    assert statistics.waiting == 0
    return observed


GAPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.5)), min_size=1, max_size=60)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rate"), RATES.map(lambda r: max(r, 1.0)), BURSTS),
        st.tuples(st.just("pause"), st.floats(0, 2), st.just(0.0)),
        st.tuples(st.just("stall"), st.floats(0, 2), st.just(0.0)),
    ),
    max_size=6,
)


@given(rate=RATES, burst=BURSTS, gaps=GAPS, steps=STEPS, data=st.data())
@settings(max_examples=200, deadline=None)
def test_bucket_no_window_exceeds_rate_and_burst(
    rate: float, burst: float, gaps: list[float], steps: list[tuple[str, float, float]], data: st.DataObject
) -> None:
    """Bound and order hold and all callers are served, with cancellations, stalls, pauses and
    changes of rate."""
    timeouts = data.draw(
        st.lists(st.one_of(st.just(-1.0), st.floats(0, 1)), min_size=len(gaps), max_size=len(gaps)), label="timeouts"
    )
    observed = run_virtual(run_scenario(rate, burst, gaps, timeouts, steps))
    numbers = [number for number, _ in observed.grants]
    times = [at for _, at in observed.grants]
    assert numbers == sorted(numbers)
    assert set(numbers) | observed.cancelled == set(range(len(gaps)))
    assert worst_excess(times, max(observed.rates), max(observed.bursts)) <= 1e-6
    for requested_at, until in observed.pauses:
        assert not [at for at in times if requested_at < at < until - 1e-9]


@given(rate=RATES, burst=BURSTS, count=st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_saturated_bucket_grants_exactly_its_rate(rate: float, burst: float, count: int) -> None:
    """With many waiters the n-th token after the burst is granted n / rate after the start."""

    async def flood() -> tuple[float, list[float]]:
        loop = asyncio.get_running_loop()
        bucket = TokenBucket(rate, burst)
        started_at = loop.time()
        times: list[float] = []

        async def one() -> None:
            await bucket.acquire()
            times.append(loop.time())

        await asyncio.gather(*(one() for _ in range(count)))
        return started_at, times

    started_at, times = run_virtual(flood())
    for number, at in enumerate(times):
        assert abs(at - started_at - max(0.0, (number + 1 - burst) / rate)) < 1e-6


def test_worst_excess_measures_the_bound() -> None:
    """The measure finds a window that exceeds the bound and accepts one that is full."""
    assert worst_excess([0.0, 0.0, 1.0, 2.0], rate=1, burst=2) == 0
    assert worst_excess([0.0, 0.0, 0.5], rate=1, burst=2) == 0.5
