"""Tests of asyncgg.testing.clock and of the pytest marker `virtual`."""

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
    """Get the loop of an async fixture."""
    yield asyncio.get_running_loop()


@pytest.mark.virtual
async def test_sleep_advances_virtual_time_only() -> None:
    """Sleeping advances virtual time exactly and takes no real time."""
    started_at = time.monotonic()
    await asyncio.sleep(3600)
    assert asyncio.get_running_loop().time() == START + 3600
    assert time.monotonic() - started_at < 5


@pytest.mark.virtual
async def test_sleep_ten_days_is_reached() -> None:
    """A timer beyond the longest single wait of asyncio fires."""
    await asyncio.sleep(10 * 24 * 3600)
    assert asyncio.get_running_loop().time() == START + 10 * 24 * 3600


@pytest.mark.virtual
async def test_timers_fire_in_order() -> None:
    """Timers fire in the order of their times, after all ready callbacks."""
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
async def test_timeout_fires_at_virtual_time() -> None:
    """`asyncio.timeout` ends a wait at its virtual time."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await asyncio.Event().wait()
    assert asyncio.get_running_loop().time() == START + 30


@pytest.mark.virtual
async def test_virtual_marker_applies_to_fixtures(fixture_loop: asyncio.AbstractEventLoop) -> None:
    """A marked test and its async fixtures share one virtual loop."""
    assert isinstance(fixture_loop, VirtualLoop)
    assert fixture_loop is asyncio.get_running_loop()


async def test_unmarked_test_has_ordinary_loop(fixture_loop: asyncio.AbstractEventLoop) -> None:
    """An unmarked test and its fixtures get the loop of asyncio."""
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
    assert fixture_loop is asyncio.get_running_loop()


def test_deadlock_raises_with_task_name_and_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that nothing can end raises at once."""
    monkeypatch.setattr("asyncgg.testing.clock._GRACE", 0.01)

    async def stuck() -> None:
        asyncio.current_task().set_name("stuck-one")  # type: ignore[union-attr]  # a task runs this
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match=r"virtual time 1000.*stuck-one at .*test_clock\.py:\d+"):
        run_virtual(stuck())


def test_deadlock_of_many_tasks_names_five(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of a deadlock of many tasks stays short."""
    monkeypatch.setattr("asyncgg.testing.clock._GRACE", 0.01)

    async def stuck() -> None:
        await asyncio.gather(*(asyncio.Event().wait() for _ in range(50)))

    with pytest.raises(DeadlockError, match="and 46 more"):
        run_virtual(stuck())


def test_run_virtual_returns_result_and_raises() -> None:
    """`run_virtual` returns the result or raises the error, each time in a new loop."""

    async def get_time() -> float:
        await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    async def fail() -> None:
        await asyncio.sleep(1)
        raise KeyError("mine")

    assert run_virtual(get_time()) == run_virtual(get_time()) == START + 1
    with pytest.raises(KeyError, match="mine"):
        run_virtual(fail())


def test_executor_call_stops_virtual_time() -> None:
    """No timer fires during a call in a thread or the shutdown of the executor."""
    release = threading.Event()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(1, lambda: None)
        threading.Timer(0.02, release.set).start()
        assert await asyncio.to_thread(release.wait, 30)
        timer.cancel()
        return loop.time()

    assert run_virtual(main()) == START


def test_frozen_stops_virtual_time() -> None:
    """In `frozen` an unknown thread wakes the loop before any timer fires."""

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


def test_unknown_thread_without_timers_is_not_a_deadlock() -> None:
    """Without timers the loop waits for an unknown thread before it reports a deadlock."""

    async def main() -> None:
        done = asyncio.Event()
        threading.Timer(0.02, asyncio.get_running_loop().call_soon_threadsafe, [done.set]).start()
        await done.wait()

    run_virtual(main())
