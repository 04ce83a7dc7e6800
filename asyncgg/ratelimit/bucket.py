"""Rule: the token bucket lives here: it lets so many requests start a second, in the order they asked; no more.

Which rate is right is the policy's business (`asyncgg.ratelimit.policy`). The only clock is the event loop's, so that
virtual time drives it in tests. One loop, no threads, at most one timer.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from asyncgg.errors import UsageError

__all__ = ["BucketStatistics", "TokenBucket"]

_SLACK: Final = 1e-9
"""Seconds by which a token may be taken early: loops fire timers early by as much. It is owed, so nothing is gained."""


@dataclass(frozen=True, slots=True)
class BucketStatistics:
    """A bucket at one moment; times are the loop's, in seconds."""

    rate: float
    """Tokens a second."""
    burst: float
    """Most tokens that can be saved up."""
    tokens: float
    """Tokens there now; negative by a hair where one was taken a nanosecond early."""
    waiting: int
    """Callers of `acquire` in the queue."""
    granted: int
    """Tokens taken so far and not given back."""
    waited_seconds: float
    """Time spent in the queue, summed over all that were granted their token from it."""
    paused_until: float | None
    """When the pause ends, or None when there is none."""


class TokenBucket:
    """Starts `rate` requests a second, at most `burst` at once, first come first served.

    In any window of w seconds at most `rate` x w + `burst` tokens are granted. The bucket starts full. Under load the
    throughput is `rate`: a timer that fires late loses nothing as long as what came in meanwhile fits into `burst`.

    `rate`: tokens a second, above 0; infinity means no limit, and then acquiring never waits (except for a pause).
    `burst`: tokens, 1 or more; may be infinite. `loop`: the running loop unless given.
    Raises `UsageError` for anything else.
    """

    __slots__ = (
        "_burst",
        "_granted",
        "_loop",
        "_paused_until",
        "_queue",
        "_rate",
        "_time",
        "_timer",
        "_token_threshold",
        "_tokens",
        "_updated_at",
        "_waited",
        "_waiting",
    )

    def __init__(self, rate: float, burst: float, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        _check(rate, burst)
        self._loop = loop or asyncio.get_running_loop()
        self._time = self._loop.time
        self._rate = rate
        self._burst = burst
        self._token_threshold = _token_threshold(rate)
        self._tokens = burst
        self._updated_at = self._time()
        self._paused_until = -math.inf
        # Those cancelled stay in the queue until they are reached; `_waiting` counts the others.
        self._queue: deque[tuple[asyncio.Future[None], float]] = deque()
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self._granted = 0
        self._waited = 0.0

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._rate

    @property
    def burst(self) -> float:
        """Most tokens that can be saved up."""
        return self._burst

    def statistics(self) -> BucketStatistics:
        """The bucket as it stands now."""
        now = self._refill()
        return BucketStatistics(
            rate=self._rate,
            burst=self._burst,
            tokens=self._tokens,
            waiting=self._waiting,
            granted=self._granted,
            waited_seconds=self._waited,
            paused_until=self._paused_until if self._paused_until > now else None,
        )

    def try_acquire(self) -> bool:
        """Take a token if one is there and nobody waits for it; whether it was taken."""
        if self._waiting:
            return False
        now = self._refill()
        if self._tokens < self._token_threshold or now < self._paused_until:
            return False
        self._tokens -= 1
        self._granted += 1
        return True

    async def acquire(self) -> None:
        """Take one token, after all who asked before; does not yield to the loop when a token is there.

        A caller that is cancelled, even between the grant and its own resumption, has not taken the token.
        """
        if self.try_acquire():
            return
        waiter = self._loop.create_future()
        self._queue.append((waiter, self._time()))
        self._waiting += 1
        if self._timer is None:
            self._grant_tokens()
        acquired = False
        try:
            await waiter
            acquired = True
        finally:
            if not acquired:
                self._cancel(waiter)

    def refund(self) -> None:
        """Put back a token that was taken and then not used; whoever waits gets it.

        Meant for right after `acquire`. A token held back for d seconds can cost the window's bound `rate` x d tokens.
        """
        self._granted -= 1
        self._tokens += 1  # the next refill cuts it to the burst
        self._grant_tokens()

    def set_rate(self, rate: float, burst: float | None = None) -> None:
        """Change the rate, and the burst if given, from now on; the time until now counts at the old rate.

        Those who wait keep their places and are timed anew. Raises `UsageError` as the constructor does.
        """
        burst = self._burst if burst is None else burst
        _check(rate, burst)
        self._refill()
        self._rate = rate
        self._burst = burst
        self._token_threshold = _token_threshold(rate)
        self._grant_tokens()

    def pause_until(self, when: float) -> None:
        """Grant nothing before the loop's time `when` (seconds). Extends a pause, never shortens one.

        Tokens go on coming in meanwhile, up to `burst`. Raises `UsageError` when `when` is not a finite number.
        """
        if not math.isfinite(when):
            raise UsageError(f"a pause must end at a finite time, not {when}")
        if when > self._paused_until:
            self._paused_until = when  # a timer set for an earlier time finds the pause and sets itself anew

    def _refill(self) -> float:
        """Bring in the tokens that came since the last time; the time now."""
        now = self._time()
        if self._rate == math.inf:
            self._tokens = self._burst
        else:
            self._tokens = min(self._burst, self._tokens + (now - self._updated_at) * self._rate)
        self._updated_at = now
        return now

    def _grant_tokens(self) -> None:
        """Grant what is due, in order, and set the timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            waiter, queued_at = self._queue[0]
            if waiter.done():  # cancelled; its own task counts it out
                self._queue.popleft()
                continue
            now = self._refill()
            grant_at = now if self._tokens >= self._token_threshold else now + (1 - self._tokens) / self._rate
            grant_at = max(grant_at, self._paused_until)
            # Equal to `now` although a token is short: less is missing than the clock can show.
            if grant_at > now:
                self._timer = self._loop.call_at(grant_at, self._grant_tokens)
                return
            self._queue.popleft()
            self._waiting -= 1
            self._tokens -= 1
            self._granted += 1
            self._waited += now - queued_at
            waiter.set_result(None)

    def _cancel(self, waiter: asyncio.Future[None]) -> None:
        """The caller with this ticket went away."""
        if waiter.done() and not waiter.cancelled():
            self.refund()
            return
        waiter.cancel()
        self._waiting -= 1
        if not self._waiting:
            self._queue.clear()
            self._grant_tokens()  # nobody is left: no timer either


def _token_threshold(rate: float) -> float:
    """Tokens that count as one: a nanosecond's worth may be missing."""
    return 1 - min(0.5, _SLACK * rate)


def _check(rate: float, burst: float) -> None:
    """Refuse a rate or a burst that means nothing."""
    if not rate > 0:  # so put, it refuses NaN as well
        raise UsageError(f"a rate must be above 0 requests a second, not {rate}")
    if not burst >= 1:
        raise UsageError(f"a burst must be 1 or more, not {burst}: with less nothing would ever start")
