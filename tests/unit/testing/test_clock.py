"""Rule: what the virtual clock promises, and that pytest hands it to the tests that ask for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from asyncgg.testing import DeadlockError, VirtualLoop, run_virtual
from asyncgg.testing.clock import START


@pytest_asyncio.fixture
async def fixture_loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """The loop that an async fixture runs in."""
    yield asyncio.get_running_loop()


@pytest.mark.virtual
async def test_an_hour_passes_at_once() -> None:
    """Sleeping moves virtual time by exactly what was asked for and takes no real time."""
    started_at = time.monotonic()
    await asyncio.sleep(3600)
    assert asyncio.get_running_loop().time() == START + 3600
    assert time.monotonic() - started_at < 5


@pytest.mark.virtual
async def test_days_pass_too() -> None:
    """A timer farther away than asyncio's longest single wait is reached as well."""
    await asyncio.sleep(10 * 24 * 3600)
    assert asyncio.get_running_loop().time() == START + 10 * 24 * 3600


@pytest.mark.virtual
async def test_timers_keep_their_order() -> None:
    """Timers fire in the order of their times, and work that is ready goes before any jump."""
    observed: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()

    async def note(name: str, delay: float) -> None:
        await asyncio.sleep(delay)
        observed.append((name, loop.time() - START))

    async with asyncio.TaskGroup() as group:
        for name, delay in (("c", 2.0), ("a", 0.0), ("b", 0.5), ("d", 2.5)):
            group.create_task(note(name, delay))
    assert observed == [("a", 0.0), ("b", 0.5), ("c", 2.0), ("d", 2.5)]


@pytest.mark.virtual
async def test_timeouts_work() -> None:
    """`asyncio.timeout` cuts a wait at its virtual time."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await asyncio.Event().wait()
    assert asyncio.get_running_loop().time() == START + 30


@pytest.mark.virtual
async def test_the_marker_reaches_fixtures(fixture_loop: asyncio.AbstractEventLoop) -> None:
    """A marked test and its async fixtures share one virtual loop."""
    assert isinstance(fixture_loop, VirtualLoop)
    assert fixture_loop is asyncio.get_running_loop()


async def test_without_the_marker_time_is_real(fixture_loop: asyncio.AbstractEventLoop) -> None:
    """An unmarked test, and its fixtures, get asyncio's own loop."""
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
    assert fixture_loop is asyncio.get_running_loop()


def test_a_deadlock_is_an_error_that_names_the_waiting() -> None:
    """Waiting for what nothing can bring raises at once, with the task's name and line."""

    async def stuck() -> None:
        asyncio.current_task().set_name("stuck-one")  # type: ignore[union-attr]  # a task runs this
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match=r"virtual time 1000.*stuck-one at .*test_clock\.py:\d+"):
        run_virtual(stuck())


def test_a_deadlock_names_few_of_many() -> None:
    """A deadlock of many tasks stays one readable line."""

    async def stuck() -> None:
        await asyncio.gather(*(asyncio.Event().wait() for _ in range(50)))

    with pytest.raises(DeadlockError, match="and 46 more"):
        run_virtual(stuck())


def test_results_and_errors_come_through() -> None:
    """`run_virtual` returns what the coroutine returns and raises what it raises, each time in a new loop."""

    async def answer() -> float:
        await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    async def fail() -> None:
        await asyncio.sleep(1)
        raise KeyError("mine")

    assert run_virtual(answer()) == run_virtual(answer()) == START + 1
    with pytest.raises(KeyError, match="mine"):
        run_virtual(fail())


def test_time_stands_still_while_an_executor_works() -> None:
    """A timer does not overtake a call in a thread, and the executor is shut down without virtual time passing."""
    release = threading.Event()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(1, lambda: None)
        threading.Timer(0.02, release.set).start()
        assert await asyncio.to_thread(release.wait, 30)
        timer.cancel()
        return loop.time()

    assert run_virtual(main()) == START


def test_time_stands_still_on_request() -> None:
    """`frozen` lets a thread that the loop does not know of answer before any timer fires."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        done = asyncio.Event()
        threading.Timer(0.02, loop.call_soon_threadsafe, [done.set]).start()
        with loop.frozen():
            async with asyncio.timeout(60):
                await done.wait()
        await asyncio.sleep(1)
        return loop.time()

    assert run_virtual(main()) == START + 1


def test_an_unknown_thread_is_no_deadlock() -> None:
    """Without timers, a thread that the loop does not know of still gets its chance to wake it."""

    async def main() -> None:
        done = asyncio.Event()
        threading.Timer(0.02, asyncio.get_running_loop().call_soon_threadsafe, [done.set]).start()
        await done.wait()

    run_virtual(main())
