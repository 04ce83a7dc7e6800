"""Tests of `asyncgg.state.lease`: one process at a time may send, whatever the processes and the store do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from asyncgg.errors import GuardError, LeaseLostError, StateWriteError, UsageError
from asyncgg.state import Lease, StateDocument
from tests.support.memory_store import MemoryStore

pytestmark = pytest.mark.virtual

SECONDS, REQUEST_TIMEOUT = 90.0, 60.0


def new_lease(store: MemoryStore) -> Lease:
    """A lease of another process."""
    return Lease(store, SECONDS, REQUEST_TIMEOUT, asyncio.get_running_loop().time)


def ignore(line: str) -> None:
    """Take a message."""


async def acquired(store: MemoryStore) -> Lease:
    """A lease that was acquired."""
    lease = new_lease(store)
    await lease.acquire(ignore)
    return lease


async def test_acquire_of_a_new_state_may_send() -> None:
    """The first process gets the lease at once."""
    assert (await acquired(MemoryStore())).may_send()


async def test_acquire_while_the_holder_renews_raises() -> None:
    """A process that sees one renewal knows that the holder is alive."""
    store = MemoryStore()
    holder = await acquired(store)
    renewing = asyncio.create_task(holder.keep_renewed(ignore))
    started = asyncio.get_running_loop().time()
    with pytest.raises(GuardError):
        await new_lease(store).acquire(ignore)
    assert asyncio.get_running_loop().time() - started <= holder.renewal_interval + 2
    renewing.cancel()


async def test_acquire_after_a_crash_waits_until_the_lease_has_expired() -> None:
    """The lease of a dead process is taken when it has expired, and not before."""
    store = MemoryStore()
    await acquired(store)
    started, lines = asyncio.get_running_loop().time(), list[str]()
    lease = new_lease(store)
    await lease.acquire(lines.append)
    assert SECONDS < asyncio.get_running_loop().time() - started <= SECONDS + 5
    assert lease.may_send()
    assert len(lines) == 1


async def test_acquire_after_release_does_not_wait() -> None:
    """A released lease is taken at once."""
    store = MemoryStore()
    first = await acquired(store)
    await first.release()
    started = asyncio.get_running_loop().time()
    assert (await acquired(store)).may_send()
    assert asyncio.get_running_loop().time() == started


async def test_acquire_after_a_lost_reply_recognizes_itself() -> None:
    """A process whose first write was applied without a reply does not wait for itself."""
    store = MemoryStore()
    store.fail_after = 1
    lease = new_lease(store)
    with pytest.raises(StateWriteError):
        await lease.acquire(ignore)
    started = asyncio.get_running_loop().time()
    await lease.acquire(ignore)
    assert asyncio.get_running_loop().time() == started


async def test_acquire_of_a_store_without_conditions_raises() -> None:
    """A store that ignores conditions cannot give a lease."""
    store = MemoryStore()
    store.ignores_conditions = True
    with pytest.raises(UsageError):
        await new_lease(store).acquire(ignore)


async def test_lease_that_was_not_renewed_may_not_send_although_it_is_still_its_own() -> None:
    """A process that slept stays silent, also if no other process came and its next renewal succeeds."""
    store = MemoryStore()
    lease = await acquired(store)
    await asyncio.sleep(SECONDS - REQUEST_TIMEOUT - 0.1)
    assert lease.may_send()
    await asyncio.sleep(3 * SECONDS)
    await lease.renew()
    assert not lease.may_send()
    await lease.renew()
    assert not lease.may_send()


async def test_publish_after_a_takeover_raises_and_changes_nothing() -> None:
    """A process without the lease cannot replace what its successor saved."""
    store = MemoryStore()
    first = await acquired(store)
    second = await acquired(store)
    before = list(store.versions)
    with pytest.raises(LeaseLostError):
        await first.publish(replace(first.document, clean=False))
    await first.release()
    assert store.versions == before
    assert second.may_send()


async def test_publish_after_a_lost_reply_succeeds() -> None:
    """A conflict with its own write is no loss of the lease."""
    store = MemoryStore()
    lease = await acquired(store)
    store.fail_after = 1
    with pytest.raises(StateWriteError):
        await lease.publish(replace(lease.document, saved_at=1.0))
    await lease.publish(replace(lease.document, saved_at=2.0))
    assert StateDocument.parse(store.versions[-1][0], "").saved_at == 2.0
    assert lease.may_send()


async def test_keep_renewed_survives_failures_that_are_short() -> None:
    """Renewals are tried again until the time to send is over."""
    store = MemoryStore()
    lease = await acquired(store)
    lost: list[str] = []
    renewing = asyncio.create_task(lease.keep_renewed(lost.append))
    store.fail_before = 15
    await asyncio.sleep(1000)
    assert lease.may_send()
    assert not lost
    renewing.cancel()


@pytest.mark.parametrize("hangs", [False, True])
async def test_keep_renewed_reports_the_loss_when_the_time_to_send_is_over(hangs: bool) -> None:
    """A store that fails, or does not answer, ends the sending in time."""
    store = MemoryStore()
    lease = await acquired(store)
    lost: list[str] = []
    renewing = asyncio.create_task(lease.keep_renewed(lost.append))
    if hangs:
        store.delay = lambda: 10_000.0
    else:
        store.fail_before = 1000
    started = asyncio.get_running_loop().time()
    await asyncio.wait((renewing,))
    assert asyncio.get_running_loop().time() - started <= SECONDS - REQUEST_TIMEOUT + 1
    assert len(lost) == 1
    assert not lease.may_send()


async def live(store: MemoryStore, rng: random.Random, send: Callable[[float], None]) -> bool:
    """Take the lease, send now and then, stop for a while or die; whether the lease was released."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(rng.uniform(0.0, 60.0))
    lease = Lease(store, 9.0, 6.0, loop.time)
    while True:
        try:
            await lease.acquire(ignore)
            break
        except GuardError:
            await asyncio.sleep(rng.uniform(0.0, 5.0))
    try:
        for _ in range(rng.randrange(1, 60)):
            await asyncio.sleep(rng.choice([0.1, 0.5, 1.0]) if rng.random() < 0.97 else rng.choice([2.0, 8.0, 40.0]))
            if lease.may_send():
                send(loop.time())
            if rng.random() < 0.7:
                with contextlib.suppress(StateWriteError):
                    await lease.renew()
    except LeaseLostError:
        return False
    if released := rng.random() < 0.5:
        await lease.release()
    return released


@pytest.mark.parametrize("seed", range(20))
async def test_processes_that_stop_and_die_never_send_at_the_same_time(seed: int) -> None:
    """No process sends before every request of the process before it has ended."""
    rng, store = random.Random(seed), MemoryStore()
    store.delay = lambda: 0.01 if rng.random() < 0.8 else 4.0
    sent: list[tuple[int, float]] = []

    async def start(name: int) -> bool:
        return await live(store, rng, lambda at: sent.append((name, at)))

    released = await asyncio.gather(*map(start, range(10)))
    names = [name for name, _ in sent]
    changes = [(one, other) for one, other in itertools.pairwise(sent) if one[0] != other[0]]
    assert len(changes) >= 3
    for (one, before), (other, after) in changes:
        assert one not in names[names.index(other) :]
        assert after - before >= (0.0 if released[one] else 6.0)
