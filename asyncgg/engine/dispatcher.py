"""Rule: batches to be sent come from here, each claimed in the journal and with its token; nothing is decided of them.

The feeder claims a few batches ahead; the server gives them with their tokens to idle workers, in the order these came.
So one batch at most waits at the limiter, and after a crash only the few claimed ahead and those in flight are
ambiguous. Where tokens abound a whole load goes out in one round of the loop: one by one each would cost a round.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import Final

from asyncgg.aggregator import Batch, BatchResult
from asyncgg.batching import BatchScheduler, Claim, CoreQueue
from asyncgg.engine.control import RunControl
from asyncgg.engine.lane import Lane
from asyncgg.errors import AsyncggError
from asyncgg.journal import JournalWriter
from asyncgg.ratelimit import Ramp

__all__ = ["Dispatcher"]

_CLAIM_AHEAD: Final = 0.05
"""Batches are claimed so far ahead of their tokens: longer than a synced commit takes, short enough to stay few."""
_WARMUP_TIMEOUT: Final = 1.0
"""The first request goes alone until it is answered, or for so long: it finds wrong credentials before others do, and
pays for the cold connection, which would make those behind it arrive at once."""


class Dispatcher:
    """The batches of one start."""

    def __init__(
        self,
        journal: JournalWriter,
        lane: Lane,
        control: RunControl,
        *,
        concurrency: int,
        per_core: int,
        ramp: Ramp | None = None,
    ) -> None:
        self.scheduler = BatchScheduler(per_core) if ramp is None else BatchScheduler(per_core, int(ramp.max_batch))
        self.ready: deque[tuple[Claim, Batch]] = deque()
        """Claimed, not yet taken by a worker."""
        self._journal = journal
        self._lane = lane
        self._control = control
        self._ramp = ramp
        self._concurrency = concurrency
        self._clock = asyncio.get_running_loop().time
        self._changed = asyncio.Event()
        self._dispatch_event = asyncio.Event()
        self._idle_workers: deque[asyncio.Future[tuple[Claim, Batch] | None]] = deque()
        self._stopped = False
        self._first_sent = False
        self._warmed_up = False
        self._token_timeout: asyncio.Timeout | None = None
        self._claiming_done = False
        self._at_capacity = False  # whether the feeder waits for room; else it waits for something to claim
        control.on_stop.append(self._wake_waiters)

    @property
    def requests_left(self) -> int:
        """Requests still to be sent, if nothing more fails."""
        return self.scheduler.requests_left + len(self.ready)

    def retry_wait(self) -> float | None:
        """Seconds until the last of the things that wait for their next try may be sent; None when none wait."""
        retry_at = self.scheduler.latest_retry_at()
        return None if retry_at is None else max(0.0, retry_at - self._clock())

    # --- for the feeder ---

    async def claim_loop(self) -> None:
        """Claim batches until none is left, or until the run stops."""
        try:
            while not self._control.is_stopping:
                now = self._clock()
                claims = self._next_claims(now)
                if claims:
                    await self._claim(claims)
                elif self.scheduler.is_done:
                    break
                else:
                    await self._wait_for_change(now)
        except AsyncggError as error:
            self._control.fail(error)
        self._claiming_done = True
        self._dispatch_event.set()

    def _next_claims(self, now: float) -> list[Claim]:
        """The claims to make at `now`: as many as are wanted ahead of the limiter."""
        capacity = self._claim_capacity()
        self._at_capacity = not capacity
        claims: list[Claim] = []
        while len(claims) < capacity and (claim := self.scheduler.next_claim(now)):
            claims.append(claim)
        return claims

    def _claim_capacity(self) -> int:
        """How many batches to claim: none until half a load is wanted, so that at full speed each commit carries dozens
        of claims and the feeder is woken once for them, not for each."""
        ahead = self._lane.bucket.rate * _CLAIM_AHEAD
        target = self._concurrency if math.isinf(ahead) else max(2, math.ceil(ahead))
        target = min(target, self._concurrency)
        capacity = target - len(self.ready)
        return capacity if 2 * capacity >= target else 0

    async def _claim(self, claims: list[Claim]) -> None:
        at = time.time()
        batches = await self._journal.submit(lambda store: [store.claim(claim, at) for claim in claims])
        for claim, batch in zip(claims, batches, strict=True):
            self.scheduler.advance_cursor(claim, batch.ids[-1])
            self.ready.append((claim, batch))
        self._dispatch_event.set()

    async def _wait_for_change(self, now: float) -> None:
        """Wait until a worker took or settled something, or until a core's next wave is due.

        `now` is when `_take` looked: a wave that came due since then must wake us too, and no later look at the clock
        may take it for one that only waits for room.
        """
        retry_at = self.scheduler.next_retry_at()
        self._changed.clear()
        loop = asyncio.get_running_loop()
        timer = loop.call_at(retry_at, self._changed.set) if retry_at is not None and retry_at > now else None
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()

    # --- for the workers ---

    async def acquire(self) -> tuple[Claim, Batch] | None:
        """The next batch together with the token for it; None when this start is over."""
        if not self._idle_workers and self._ramp is None and self._can_dispatch() and self._lane.try_acquire():
            return self._pop_ready()
        if self._stopped:
            return None
        waiter: asyncio.Future[tuple[Claim, Batch] | None] = asyncio.get_running_loop().create_future()
        self._idle_workers.append(waiter)
        self._dispatch_event.set()
        item = await waiter
        if item is not None and self._control.is_stopping:  # since it was given
            self.ready.appendleft(item)
            self._lane.bucket.refund()
            return None
        return item

    def on_reply(self) -> None:
        """Some request was answered: the others need not wait for the first one."""
        self._end_warmup()

    def complete(self, claim: Claim, result: BatchResult) -> None:
        """A claim is over; what of it comes again is in `settlement`."""
        if result.split:
            self.scheduler.split(claim.queue, list(result.split))
        else:
            retry_at = self._clock() + result.delay
            self.scheduler.complete(claim.queue, requeued=result.requeued, retry_at=retry_at)
        if not self._at_capacity:
            self._changed.set()

    def skip_core(self, queue: CoreQueue) -> None:
        """Nothing more of this core is to be sent."""
        self.scheduler.skip(queue)

    # --- for the server ---

    async def dispatch_loop(self) -> None:
        """Give out batches with their tokens until this start is over."""
        while not (self._control.is_stopping or (self._claiming_done and not self.ready)):
            if not (self._idle_workers and self._can_dispatch()):
                self._dispatch_event.clear()
                await self._dispatch_event.wait()
            elif await self._acquire_token():
                self._dispatch_one()
        self._stopped = True
        for waiter in self._idle_workers:
            if not waiter.done():
                waiter.set_result(None)

    def _can_dispatch(self) -> bool:
        """Whether a batch may go out as soon as there is a token."""
        return bool(self.ready) and not self._control.is_stopping and (not self._first_sent or self._warmed_up)

    def _dispatch_one(self) -> None:
        waiter = self._idle_workers.popleft()
        if waiter.done():  # its worker was cancelled, as everyone is now
            self._lane.bucket.refund()
        else:
            waiter.set_result(self._pop_ready())

    def _pop_ready(self) -> tuple[Claim, Batch]:
        """The first of the claimed batches; its token has been taken."""
        if not self._first_sent:
            self._first_sent = True
            asyncio.get_running_loop().call_later(_WARMUP_TIMEOUT, self._end_warmup)
        item = self.ready.popleft()
        if self._ramp is not None:
            self._ramp.record_sent(len(item[1].ids), self._clock())
        if self._at_capacity and self._claim_capacity():
            self._changed.set()
        return item

    def _end_warmup(self) -> None:
        if not self._warmed_up:
            self._warmed_up = True
            self._dispatch_event.set()

    async def _acquire_token(self) -> bool:
        """Wait for a token; False when the run is stopped instead."""
        if self._ramp is None and self._lane.try_acquire():
            return True
        try:
            async with asyncio.timeout(None) as self._token_timeout:
                if self._ramp is not None:
                    await asyncio.sleep(max(0.0, self._ramp.next_send_at() - self._clock()))
                await self._lane.acquire()
        except TimeoutError:
            return False
        finally:
            self._token_timeout = None
        if self._control.is_stopping:
            self._lane.bucket.refund()
            return False
        return True

    def _wake_waiters(self) -> None:
        self._changed.set()
        self._dispatch_event.set()
        if self._token_timeout is not None:
            self._token_timeout.reschedule(self._clock())
