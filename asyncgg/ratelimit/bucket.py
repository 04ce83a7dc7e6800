"""The token bucket: grants requests in FIFO order at a rate that can change."""

# The only clock is the event loop's, so tests can use virtual time.

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from asyncgg.errors import UsageError

_SLACK: Final = 1e-9
"""Seconds by which a token can be taken early, because loops fire timers early by as much."""
_TIMER_STEP: Final = 0.001
"""Seconds to which uvloop rounds timers, so that one can be half of them early."""


@dataclass(frozen=True, slots=True)
class BucketStatistics:
    """The state of a bucket; times are loop time in seconds."""

    rate: float
    """Tokens per second."""
    burst: float
    """Maximum number of saved tokens."""
    tokens: float
    """Available tokens; slightly negative if one was taken a nanosecond early."""
    waiting: int
    """Waiting callers of `acquire`."""
    granted: int
    """Tokens taken and not refunded."""
    waited_seconds: float
    """Total waiting time of the callers that got a token from the queue."""
    paused_until: float | None
    """End of the pause; None if the bucket is not paused."""


class TokenBucket:
    """Grants `rate` tokens per second, at most `burst` at once, in FIFO order.

    In any window of w seconds at most `rate` x w + `burst` tokens are granted. The bucket starts
    full. Timers that fire late do not lower the throughput as long as the missed tokens fit into
    `burst`.

    `rate`: above 0; infinity means no limit. `burst`: 1 or more; infinity is allowed.
    `loop`: by default the running loop.

    Raises:
        UsageError: `rate` or `burst` is invalid.
    """

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
        # Cancelled waiters stay in the queue until they are reached; `_waiting` counts the others.
        self._queue: deque[tuple[asyncio.Future[None], float]] = deque()
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self._granted = 0
        self._waited = 0.0

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self._rate

    @property
    def burst(self) -> float:
        """Maximum number of saved tokens."""
        return self._burst

    @property
    def is_limiting(self) -> bool:
        """Whether a caller waits, or would have to wait, for a token."""
        self._refill()
        return self._waiting > 0 or self._tokens < self._token_threshold

    def statistics(self) -> BucketStatistics:
        """The current state."""
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
        """Take a token if one is available and no caller waits; whether it was taken."""
        if self._waiting:
            return False
        now = self._refill()
        if self._tokens < self._token_threshold or now < self._paused_until:
            return False
        self._tokens -= 1
        self._granted += 1
        return True

    async def acquire(self) -> None:
        """Take a token after all earlier callers; does not yield if a token is available.

        A caller that is cancelled, even after the grant and before it resumes, takes no token.
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
        """Return a token that was taken and not used, right after `acquire`.

        A token kept for d seconds can exceed the bound of a window by `rate` x d tokens.
        """
        self._granted -= 1
        self._tokens += 1  # the next refill limits it to the burst
        self._grant_tokens()

    def set_rate(self, rate: float, burst: float | None = None) -> None:
        """Change the rate, and the burst if given; time until now counts at the old rate.

        Waiting callers keep their places. Raises `UsageError` as the constructor does.
        """
        burst = self._burst if burst is None else burst
        _check(rate, burst)
        self._refill()
        self._rate = rate
        self._burst = burst
        self._token_threshold = _token_threshold(rate)
        self._grant_tokens()

    def pause_until(self, when: float) -> None:
        """Grant nothing before loop time `when`; never shortens a pause.

        Tokens accumulate meanwhile, up to `burst`. Raises `UsageError` if `when` is not finite.
        """
        if not math.isfinite(when):
            raise UsageError(f"pause must end at a finite time, not {when}")
        if when > self._paused_until:
            self._paused_until = when  # an earlier timer finds the pause and is set again

    def _refill(self) -> float:
        """Add the tokens since the last refill; return the current time."""
        now = self._time()
        if self._rate == math.inf:
            self._tokens = self._burst
        else:
            self._tokens = min(self._burst, self._tokens + (now - self._updated_at) * self._rate)
        self._updated_at = now
        return now

    def _on_timer(self) -> None:
        self._timer = None
        # If the timer was early, one for the rest of a millisecond would be early at once, again and
        # again: 17 timers for each token. A step more is waited if the burst makes up for it.
        self._grant_tokens(_TIMER_STEP if self._burst - 1 >= self._rate * _TIMER_STEP else 0.0)

    def _grant_tokens(self, min_wait: float = 0.0) -> None:
        """Grant the available tokens in order and set the timer for the next one, after `min_wait` or later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            waiter, queued_at = self._queue[0]
            if waiter.done():  # cancelled; its task decrements `_waiting`
                self._queue.popleft()
                continue
            now = self._refill()
            grant_at = now if self._tokens >= self._token_threshold else now + (1 - self._tokens) / self._rate
            grant_at = max(grant_at, self._paused_until)
            # Can equal `now` although a token is short, by less than the clock's resolution.
            if grant_at > now:
                self._timer = self._loop.call_at(max(grant_at, now + min_wait), self._on_timer)
                return
            self._queue.popleft()
            self._waiting -= 1
            self._tokens -= 1
            self._granted += 1
            self._waited += now - queued_at
            waiter.set_result(None)

    def _cancel(self, waiter: asyncio.Future[None]) -> None:
        """Remove a waiter whose caller was cancelled."""
        if waiter.done() and not waiter.cancelled():
            self.refund()
            return
        waiter.cancel()
        self._waiting -= 1
        if not self._waiting:
            self._queue.clear()
            self._grant_tokens()  # also cancels the timer


def _token_threshold(rate: float) -> float:
    """The part of a token that counts as one: a nanosecond's worth may be missing."""
    return 1 - min(0.5, _SLACK * rate)


def _check(rate: float, burst: float) -> None:
    if not rate > 0:  # also True for NaN
        raise UsageError(f"rate must be greater than 0 requests/s, not {rate}")
    if not burst >= 1:
        raise UsageError(f"burst must be at least 1, not {burst}")
