"""Rule: what one bucket does step by step: order, timing, changes of rate, pauses, cancellation, arguments."""

from __future__ import annotations

import asyncio
import math

import pytest

from asyncgg.errors import UsageError
from asyncgg.ratelimit import TokenBucket

pytestmark = pytest.mark.virtual


async def grant_times(bucket: TokenBucket, count: int) -> list[float]:
    """Take `count` tokens from as many tasks; when each came, in seconds from now, in the order they asked."""
    loop = asyncio.get_running_loop()
    started_at = loop.time()

    async def acquire_and_record() -> float:
        await bucket.acquire()
        return loop.time() - started_at

    return list(await asyncio.gather(*(acquire_and_record() for _ in range(count))))


async def test_the_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    """A full bucket of 3 at 10/s lets three start together and then one every 0.1 s."""
    times = await grant_times(TokenBucket(10, 3), 6)
    assert times == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])


async def test_order_is_kept() -> None:
    """Tokens are granted in the order they were asked for, late arrivals included."""
    bucket = TokenBucket(10, 1)
    order: list[int] = []

    async def one(number: int) -> None:
        await asyncio.sleep(number * 0.01)
        await bucket.acquire()
        order.append(number)

    await asyncio.gather(*(one(n) for n in reversed(range(20))))
    assert order == list(range(20))


async def test_a_newcomer_does_not_overtake_a_waiter() -> None:
    """A token that is there but overdue to a waiter, the loop being late, does not go to who asks just then."""
    bucket = TokenBucket(10, 5)
    await grant_times(bucket, 5)
    waiter = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0)
    asyncio.get_running_loop()._now += 1  # type: ignore[attr-defined]  # the virtual loop's clock: a stall of a second
    assert bucket.statistics().tokens == 5
    assert not bucket.try_acquire()
    await waiter
    assert bucket.try_acquire()


async def test_acquire_does_not_yield_when_a_token_is_there() -> None:
    """An uncontended acquire is done in one step of its coroutine."""
    step = TokenBucket(1, 1).acquire()
    with pytest.raises(StopIteration):
        step.send(None)


async def test_an_idle_bucket_saves_up_no_more_than_its_burst() -> None:
    """After an idle hour a bucket of 2 still lets only two start together."""
    bucket = TokenBucket(10, 2)
    await asyncio.sleep(3600)
    assert await grant_times(bucket, 4) == pytest.approx([0, 0, 0.1, 0.2], abs=1e-6)


async def test_late_timers_lose_nothing_within_the_burst() -> None:
    """A loop that is stalled for less than the burst holds catches up: the throughput is the rate, without drift."""
    bucket = TokenBucket(100, 10)
    loop = asyncio.get_running_loop()
    started_at = loop.time()

    def stall() -> None:
        loop._now += 0.05  # type: ignore[attr-defined]  # the virtual loop's clock: a callback that takes 50 ms
        loop.call_later(0.03, stall)

    stall()
    await grant_times(bucket, 1010)
    assert loop.time() - started_at == pytest.approx(10, abs=0.1)


async def test_a_higher_rate_reaches_those_who_wait() -> None:
    """Raising the rate brings the next token forward; what came in before counts at the old rate."""
    bucket = TokenBucket(1, 1)
    task = asyncio.create_task(grant_times(bucket, 3))
    await asyncio.sleep(0.5)
    bucket.set_rate(10)
    # Half a token came at 1/s, the other half at 10/s.
    assert await task == pytest.approx([0, 0.55, 0.65])


async def test_a_lower_rate_reaches_those_who_wait() -> None:
    """Lowering the rate puts the next token off; what came in before counts at the old rate."""
    bucket = TokenBucket(10, 1)
    task = asyncio.create_task(grant_times(bucket, 2))
    await asyncio.sleep(0.05)
    bucket.set_rate(1)
    assert await task == pytest.approx([0, 0.55])


async def test_a_smaller_burst_drops_what_does_not_fit() -> None:
    """Tokens over a lowered burst are gone; a raised burst adds none."""
    bucket = TokenBucket(1, 10)
    bucket.set_rate(1, 2)
    assert bucket.statistics().tokens == 2
    bucket.set_rate(1, 10)
    assert bucket.statistics().tokens == 2
    assert bucket.burst == 10


async def test_a_pause_holds_everybody_and_then_lets_the_burst_go() -> None:
    """No grant comes before the pause ends, and tokens saved up meanwhile stop at the burst."""
    bucket = TokenBucket(10, 2)
    bucket.pause_until(asyncio.get_running_loop().time() + 5)
    assert not bucket.try_acquire()
    assert await grant_times(bucket, 4) == pytest.approx([5, 5, 5.1, 5.2])


async def test_a_pause_reaches_those_who_wait_and_is_only_extended() -> None:
    """A pause puts off a waiter that had its time; a later, shorter pause changes nothing."""
    bucket = TokenBucket(10, 1)
    now = asyncio.get_running_loop().time()
    task = asyncio.create_task(grant_times(bucket, 2))
    await asyncio.sleep(0.05)
    bucket.pause_until(now + 2)
    bucket.pause_until(now + 1)
    assert bucket.statistics().paused_until == now + 2
    assert await task == pytest.approx([0, 2])
    assert bucket.statistics().paused_until is None


async def test_no_limit_never_waits_but_for_a_pause() -> None:
    """With an infinite rate every acquire is immediate; a pause still holds, and finite rates can follow."""
    bucket = TokenBucket(math.inf, 1)
    assert await grant_times(bucket, 1000) == [0.0] * 1000
    bucket.pause_until(asyncio.get_running_loop().time() + 1)
    assert await grant_times(bucket, 3) == pytest.approx([1, 1, 1])
    bucket.set_rate(10)
    assert await grant_times(bucket, 3) == pytest.approx([0, 0.1, 0.2])


async def test_an_endless_burst_never_waits() -> None:
    """An infinite burst is allowed and never runs out; a finite one can follow."""
    bucket = TokenBucket(1, math.inf)
    assert await grant_times(bucket, 1000) == [0.0] * 1000
    bucket.set_rate(1, 1)
    assert await grant_times(bucket, 2) == pytest.approx([0, 1])


async def test_a_cancelled_waiter_costs_the_others_nothing() -> None:
    """Cancelling somebody in the queue leaves the places and times of those behind as if they had never asked."""
    bucket = TokenBucket(10, 1)
    await bucket.acquire()
    cancelled = [asyncio.create_task(bucket.acquire()) for _ in range(5)]
    task = asyncio.create_task(grant_times(bucket, 2))
    await asyncio.sleep(0.05)
    for one in cancelled:
        one.cancel()
    assert await task == pytest.approx([0.1, 0.2])
    assert bucket.statistics().granted == 3
    assert bucket.statistics().waiting == 0


async def test_a_waiter_cancelled_after_its_grant_gives_the_token_to_the_next() -> None:
    """Cancellation between the grant and the resumption takes no token and wakes the next in line at once."""
    bucket = TokenBucket(10, 1)
    await bucket.acquire()
    loop = asyncio.get_running_loop()
    first = asyncio.create_task(bucket.acquire())
    second = asyncio.create_task(grant_times(bucket, 1))
    await asyncio.sleep(0)
    # Set after the bucket's own timer for the same moment: runs when `first` is granted but not yet resumed.
    loop.call_at(bucket._timer.when(), first.cancel)  # type: ignore[union-attr]  # somebody waits: a timer is set
    assert await second == pytest.approx([0.1])
    assert first.cancelled()
    assert bucket.statistics().granted == 2


async def test_when_all_go_the_timer_goes() -> None:
    """With its last waiter cancelled the bucket leaves no timer behind, and later callers are served as usual."""
    bucket = TokenBucket(10, 1)
    await bucket.acquire()
    cancelled = [asyncio.create_task(bucket.acquire()) for _ in range(3)]
    await asyncio.sleep(0.01)
    for one in cancelled:
        one.cancel()
    await asyncio.wait(cancelled)
    assert bucket._timer is None
    assert bucket.statistics().waiting == 0
    assert await grant_times(bucket, 2) == pytest.approx([0.09, 0.19])


async def test_asking_in_the_moment_of_a_cancellation_loses_no_wakeup() -> None:
    """A caller that arrives after a cancellation was asked for, and before it arrived, is served."""
    bucket = TokenBucket(10, 1)
    await bucket.acquire()
    cancelled = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0.05)
    cancelled.cancel()
    bucket.set_rate(10)  # serves the queue: the cancelled one is dropped before its task knows
    started_at = asyncio.get_running_loop().time()
    await bucket.acquire()
    assert asyncio.get_running_loop().time() - started_at == pytest.approx(0.05)


async def test_a_token_given_back_goes_to_the_one_who_waits() -> None:
    """`refund` wakes the first in line, and never fills the bucket above its burst."""
    bucket = TokenBucket(10, 1)
    await bucket.acquire()
    task = asyncio.create_task(grant_times(bucket, 1))
    await asyncio.sleep(0.01)
    bucket.refund()
    assert await task == pytest.approx([0.01])
    await asyncio.sleep(10)
    bucket.refund()
    assert bucket.statistics().tokens == 1


async def test_statistics_tell_what_happened() -> None:
    """The snapshot counts grants, those waiting and the seconds spent waiting."""
    bucket = TokenBucket(10, 1)
    task = asyncio.create_task(grant_times(bucket, 4))
    await asyncio.sleep(0.15)
    middle = bucket.statistics()
    assert (middle.rate, middle.burst, middle.waiting, middle.granted) == (10, 1, 2, 2)
    assert middle.tokens == pytest.approx(0.5)
    await task
    assert bucket.statistics().waited_seconds == pytest.approx(0.1 + 0.2 + 0.3)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (math.nan, 1), (1, 0.5), (1, math.nan), (1, -math.inf)])
async def test_impossible_numbers_are_refused(rate: float, burst: float) -> None:
    """A rate of nothing or less, a burst under one and NaN are the caller's mistake, at any time."""
    with pytest.raises(UsageError, match=r"must be"):
        TokenBucket(rate, burst)
    bucket = TokenBucket(5, 5)
    with pytest.raises(UsageError, match=r"must be"):
        bucket.set_rate(rate, burst)
    assert (bucket.rate, bucket.burst) == (5, 5)


@pytest.mark.parametrize("when", [math.inf, math.nan])
async def test_an_endless_pause_is_refused(when: float) -> None:
    """A pause has to end."""
    with pytest.raises(UsageError, match="finite"):
        TokenBucket(1, 1).pause_until(when)
