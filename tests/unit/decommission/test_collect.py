"""Bounded work on many devices: one error for the user, and each certificate once."""

from __future__ import annotations

import asyncio
import gc

import pytest

from asyncgg.aws_calls.for_each import for_each
from asyncgg.decommission.delete import MAX_DEVICES_AT_ONCE, devices_to_delete_at_once
from asyncgg.decommission.shared_tasks import SharedTasks
from asyncgg.errors import CredentialsError

pytestmark = pytest.mark.virtual


@pytest.mark.asyncio
async def test_for_each_raises_the_error_itself() -> None:
    """Expired credentials end the work with their own error, however many workers meet it."""

    async def fail(name: str) -> None:
        await asyncio.sleep(1)
        raise CredentialsError(name)

    with pytest.raises(CredentialsError):
        await for_each(map(str, range(100)), fail, 10)


@pytest.mark.asyncio
async def test_for_each_is_bounded_and_stops() -> None:
    """No more devices than the limit at once; none begins after a stop, and those that began end."""
    running, most, done = 0, 0, 0

    async def work(_: str) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        done += 1

    await for_each(map(str, range(1_000)), work, 64, lambda: done >= 100)
    assert most == 64
    assert running == 0
    assert 100 <= done < 100 + 2 * 64


@pytest.mark.asyncio
async def test_shared_tasks_start_once_until_they_fail() -> None:
    """All who wait get the error, also if one of them is cancelled; a later caller starts again. None is reported."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    tasks: SharedTasks[None] = SharedTasks()
    started = 0

    async def fail() -> None:
        nonlocal started
        started += 1
        await asyncio.sleep(1)
        raise CredentialsError("expired")

    waiters = [asyncio.ensure_future(tasks.get("c", fail)) for _ in range(3)]
    await asyncio.sleep(0.5)
    waiters[0].cancel()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, CredentialsError, CredentialsError]
    assert started == 1
    with pytest.raises(CredentialsError):
        await tasks.get("c", fail)
    assert started == 2

    alone: SharedTasks[None] = SharedTasks()
    waiter = asyncio.ensure_future(alone.get("c", fail))
    await asyncio.sleep(0.5)
    waiter.cancel()
    await asyncio.sleep(1)
    del alone, waiter
    gc.collect()
    assert reported == []


def test_more_devices_wait_at_a_higher_quota() -> None:
    """A device waits seconds for its detach, so a raised quota needs more of them at once, within a bound."""
    assert devices_to_delete_at_once(1.0) == MAX_DEVICES_AT_ONCE
    assert devices_to_delete_at_once(50.0) == 600
    assert devices_to_delete_at_once(100_000.0) == 1_000
