"""The token bucket step by step: order, timing, changes of rate, pauses, cancellation."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from asyncgg.errors import UsageError
from asyncgg.ratelimit import TokenBucket

pytestmark = pytest.mark.virtual


async def grant_times(bucket: TokenBucket, count: int) -> list[float]:
    """Take `count` tokens in as many tasks; return the seconds until each grant, in the order of
    the calls."""
    loop = asyncio.get_running_loop()
    started_at = loop.time()

    async def acquire_and_record() -> float:
        await bucket.acquire()
        return loop.time() - started_at

    return list(await asyncio.gather(*(acquire_and_record() for _ in range(count))))


async def test_acquire_grants_the_burst_then_the_rate() -> None:
    """A full bucket of 3 at 10/s grants three tokens at once and then one every 0.1 s."""
    times = await grant_times(TokenBucket(10, 3), 6)
    assert times == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("burst", [1.0, 2.0])
async def test_early_timer_is_not_repeated_at_once(burst: float) -> None:
    """On a loop whose timers are early, as those of uvloop, a token needs two timers; the rate stays."""

    class EarlyLoop:
        timers = 0

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.time, self.create_future, self._call_at = loop.time, loop.create_future, loop.call_at

        def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
            self.timers += 1
            return self._call_at(max(self.time() + 1e-6, when - 0.0004), callback)

    loop = EarlyLoop(asyncio.get_running_loop())
    times = await grant_times(TokenBucket(30, burst, loop=loop), 300)  # type: ignore[arg-type]  # what a bucket uses
    assert times[-1] == pytest.approx((300 - burst) / 30, abs=0.002)
    if burst > 1:
        assert loop.timers <= 2 * 300


async def test_acquire_is_fifo() -> None:
    """Tokens are granted in the order of the calls, late calls included."""
    bucket = TokenBucket(10, 1)
    order: list[int] = []

    async def one(number: int) -> None:
        await asyncio.sleep(number * 0.01)
        await bucket.acquire()
        order.append(number)

    await asyncio.gather(*(one(n) for n in reversed(range(20))))
    assert order == list(range(20))


async def test_try_acquire_does_not_overtake_a_waiter() -> None:
    """A token that is overdue to a waiter, because the loop is late, is not given to a new
    caller."""
    bucket = TokenBucket(10, 5)
    await grant_times(bucket, 5)
    waiter = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0)
    asyncio.get_running_loop()._now += 1  # type: ignore[attr-defined]  # the virtual loop's clock: a stall of a second
    assert bucket.statistics().tokens == 5
    assert not bucket.try_acquire()
    await waiter
    assert bucket.try_acquire()


async def test_acquire_with_available_token_does_not_yield() -> None:
    """An uncontended acquire ends in one step of its coroutine."""
    step = TokenBucket(1, 1).acquire()
    with pytest.raises(StopIteration):
        step.send(None)


async def test_idle_bucket_saves_at_most_its_burst() -> None:
    """After an idle hour a bucket of 2 grants only two tokens at once."""
    bucket = TokenBucket(10, 2)
    await asyncio.sleep(3600)
    assert await grant_times(bucket, 4) == pytest.approx([0, 0, 0.1, 0.2], abs=1e-6)


async def test_late_timers_do_not_lower_the_throughput() -> None:
    """A loop that stalls for less than the burst covers keeps the rate without drift."""
    bucket = TokenBucket(100, 10)
    loop = asyncio.get_running_loop()
    started_at = loop.time()

    def stall() -> None:
        loop._now += 0.05  # type: ignore[attr-defined]  # the virtual loop's clock: a callback that takes 50 ms
        loop.call_later(0.03, stall)

    stall()
    await grant_times(bucket, 1010)
    assert loop.time() - started_at == pytest.approx(10, abs=0.1)


async def test_set_rate_higher_advances_waiters() -> None:
    """A higher rate advances the next token; time before counts at the old rate."""
    bucket = TokenBucket(1, 1)
    task = asyncio.create_task(grant_times(bucket, 3))
    await asyncio.sleep(0.5)
    bucket.set_rate(10)
    # Half a token came at 1/s, the other half at 10/s.
    assert await task == pytest.approx([0, 0.55, 0.65])


async def test_set_rate_lower_delays_waiters() -> None:
    """A lower rate delays the next token; time before counts at the old rate."""
    bucket = TokenBucket(10, 1)
    task = asyncio.create_task(grant_times(bucket, 2))
    await asyncio.sleep(0.05)
    bucket.set_rate(1)
    assert await task == pytest.approx([0, 0.55])


async def test_set_rate_smaller_burst_drops_tokens() -> None:
    """Tokens over a smaller burst are dropped; a larger burst adds none."""
    bucket = TokenBucket(1, 10)
    bucket.set_rate(1, 2)
    assert bucket.statistics().tokens == 2
    bucket.set_rate(1, 10)
    assert bucket.statistics().tokens == 2
    assert bucket.burst == 10


async def test_pause_until_grants_nothing_before_its_end() -> None:
    """No token is granted before the pause ends; tokens saved meanwhile stop at the burst."""
    bucket = TokenBucket(10, 2)
    bucket.pause_until(asyncio.get_running_loop().time() + 5)
    assert not bucket.try_acquire()
    assert await grant_times(bucket, 4) == pytest.approx([5, 5, 5.1, 5.2])


async def test_pause_until_delays_waiters_and_is_only_extended() -> None:
    """A pause delays a waiter; a later, shorter pause changes nothing."""
    bucket = TokenBucket(10, 1)
    now = asyncio.get_running_loop().time()
    task = asyncio.create_task(grant_times(bucket, 2))
    await asyncio.sleep(0.05)
    bucket.pause_until(now + 2)
    bucket.pause_until(now + 1)
    assert bucket.statistics().paused_until == now + 2
    assert await task == pytest.approx([0, 2])
    assert bucket.statistics().paused_until is None


async def test_infinite_rate_waits_only_for_a_pause() -> None:
    """With an infinite rate acquire is immediate; pauses still apply, and finite rates can
    follow."""
    bucket = TokenBucket(math.inf, 1)
    assert await grant_times(bucket, 1000) == [0.0] * 1000
    bucket.pause_until(asyncio.get_running_loop().time() + 1)
    assert await grant_times(bucket, 3) == pytest.approx([1, 1, 1])
    bucket.set_rate(10)
    assert await grant_times(bucket, 3) == pytest.approx([0, 0.1, 0.2])


async def test_infinite_burst_never_waits() -> None:
    """An infinite burst never runs out; a finite one can follow."""
    bucket = TokenBucket(1, math.inf)
    assert await grant_times(bucket, 1000) == [0.0] * 1000
    bucket.set_rate(1, 1)
    assert await grant_times(bucket, 2) == pytest.approx([0, 1])


async def test_cancelled_waiter_does_not_delay_others() -> None:
    """Cancelling a waiter leaves order and times of the others unchanged."""
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


async def test_waiter_cancelled_after_its_grant_passes_the_token_on() -> None:
    """A cancellation between grant and resumption takes no token and wakes the next waiter."""
    bucket = TokenBucket(10, 1)
    await bucket.acquire()
    loop = asyncio.get_running_loop()
    first = asyncio.create_task(bucket.acquire())
    second = asyncio.create_task(grant_times(bucket, 1))
    await asyncio.sleep(0)
    # Set after the bucket's own timer for the same moment: runs when `first` is granted but not yet
    # resumed.
    loop.call_at(bucket._timer.when(), first.cancel)  # type: ignore[union-attr]  # a timer exists while a task waits
    assert await second == pytest.approx([0.1])
    assert first.cancelled()
    assert bucket.statistics().granted == 2


async def test_last_cancelled_waiter_cancels_the_timer() -> None:
    """Without waiters the bucket has no timer, and later callers are served as usual."""
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


async def test_acquire_during_a_cancellation_is_served() -> None:
    """A caller that arrives between the request for a cancellation and its delivery is served."""
    bucket = TokenBucket(10, 1)
    await bucket.acquire()
    cancelled = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0.05)
    cancelled.cancel()
    bucket.set_rate(10)  # serves the queue and drops the cancelled waiter before its task runs
    started_at = asyncio.get_running_loop().time()
    await bucket.acquire()
    assert asyncio.get_running_loop().time() - started_at == pytest.approx(0.05)


async def test_refund_wakes_the_first_waiter() -> None:
    """`refund` wakes the first waiter and never fills the bucket above its burst."""
    bucket = TokenBucket(10, 1)
    await bucket.acquire()
    task = asyncio.create_task(grant_times(bucket, 1))
    await asyncio.sleep(0.01)
    bucket.refund()
    assert await task == pytest.approx([0.01])
    await asyncio.sleep(10)
    bucket.refund()
    assert bucket.statistics().tokens == 1


async def test_statistics_count_grants_and_waiting() -> None:
    """The snapshot counts grants, waiters and the seconds spent waiting."""
    bucket = TokenBucket(10, 1)
    task = asyncio.create_task(grant_times(bucket, 4))
    await asyncio.sleep(0.15)
    middle = bucket.statistics()
    assert (middle.rate, middle.burst, middle.waiting, middle.granted) == (10, 1, 2, 2)
    assert middle.tokens == pytest.approx(0.5)
    await task
    assert bucket.statistics().waited_seconds == pytest.approx(0.1 + 0.2 + 0.3)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (math.nan, 1), (1, 0.5), (1, math.nan), (1, -math.inf)])
async def test_invalid_rate_or_burst_raises(rate: float, burst: float) -> None:
    """A rate of 0 or less, a burst below 1 and NaN raise an error."""
    with pytest.raises(UsageError, match=r"must be"):
        TokenBucket(rate, burst)
    bucket = TokenBucket(5, 5)
    with pytest.raises(UsageError, match=r"must be"):
        bucket.set_rate(rate, burst)
    assert (bucket.rate, bucket.burst) == (5, 5)


@pytest.mark.parametrize("when", [math.inf, math.nan])
async def test_pause_until_infinite_raises(when: float) -> None:
    """The end of a pause must be finite."""
    with pytest.raises(UsageError, match="finite"):
        TokenBucket(1, 1).pause_until(when)
