"""The queue between journal and workers: claimed batches that wait for their tokens."""

# Claiming and token waiting are two loops; workers form a FIFO queue. At most one batch waits for a
# token, so after a crash only the few batches claimed ahead and those in flight are ambiguous.
# While tokens are available, `_assign` hands out every batch in one pass of the event loop.

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import Final

from asyncgg.aggregator import Batch, BatchResult
from asyncgg.batching import BatchScheduler, Claim, CoreQueue
from asyncgg.engine.session import SessionPhase, WorkSession
from asyncgg.engine.waiting import describe_wait
from asyncgg.errors import AsyncggError
from asyncgg.journal import JournalWriter, RetryWait
from asyncgg.ratelimit import Ramp
from asyncgg.retry_policy import RetryPolicy

_CLAIM_AHEAD: Final = 0.05
"""Seconds that batches are claimed ahead of their tokens: more than a synced commit takes."""
_MIN_WAIT: Final = 1.0
"""Seconds from which on a wait for retries is recorded."""


class Dispatcher:
    """The batches of one start."""

    def __init__(
        self,
        journal: JournalWriter,
        session: WorkSession,
        *,
        concurrency: int,
        per_core: int,
        retry: RetryPolicy,
        claim_ahead: float = 0.0,
        ramp: Ramp | None = None,
    ) -> None:
        self.scheduler = BatchScheduler(per_core) if ramp is None else BatchScheduler(per_core, int(ramp.max_batch))
        self.ready: deque[tuple[Claim, Batch]] = deque()
        """Claimed batches that no worker has taken."""
        self._journal = journal
        self._session = session
        self._lane = session.lane
        self._retry = retry
        self._ramp = ramp
        self._concurrency = concurrency
        self._claim_ahead = max(_CLAIM_AHEAD, claim_ahead)
        self._clock = asyncio.get_running_loop().time
        self._idle_workers: deque[asyncio.Future[tuple[Claim, Batch] | None]] = deque()
        self._claim_wakeup = asyncio.Event()
        self._token_wakeup = asyncio.Event()
        self._at_capacity = False
        """Whether the claim loop waits for capacity; otherwise it waits for something to claim."""
        session.on_change = self._on_phase_change

    @property
    def requests_left(self) -> int:
        """Requests still to be sent if no further request fails."""
        return self.scheduler.requests_left + len(self.ready)

    def retry_wait(self) -> RetryWait | None:
        """Until when all remaining things wait to be sent again; None if something can be sent now."""
        return describe_wait(self.scheduler.waiting_cores(), self._retry, self._clock(), time.time())

    # --- claiming ---

    async def claim_loop(self) -> None:
        """Claim batches until none is left or the session closes; then close the session."""
        try:
            while self._session.phase is not SessionPhase.CLOSED:
                now = self._clock()
                if claims := self._next_claims(now):
                    await self._claim(claims)
                elif self.scheduler.is_done:
                    self._session.close()
                else:
                    await self._wait_for_change(now)
        except AsyncggError as error:
            self._session.fail(error)

    def _next_claims(self, now: float) -> list[Claim]:
        capacity = self._claim_capacity()
        self._at_capacity = not capacity
        claims: list[Claim] = []
        while len(claims) < capacity and (claim := self.scheduler.next_claim(now)):
            claims.append(claim)
        return claims

    def _claim_capacity(self) -> int:
        """How many batches to claim now.

        Zero until half of the target is missing: at full speed each commit then carries dozens of
        claims, and the claim loop wakes up once for all of them.
        """
        ahead = self._lane.bucket.rate * self._claim_ahead
        target = self._concurrency if math.isinf(ahead) else min(max(2, math.ceil(ahead)), self._concurrency)
        capacity = target - len(self.ready)
        return capacity if 2 * capacity >= target else 0

    async def _claim(self, claims: list[Claim]) -> None:
        at = time.time()
        batches = await self._journal.submit(lambda store: [store.claim(claim, at) for claim in claims])
        for claim, batch in zip(claims, batches, strict=True):
            self.scheduler.advance_cursor(claim, batch.ids[-1])
            self.ready.append((claim, batch))
        self._assign()

    async def _wait_for_change(self, now: float) -> None:
        """Wait for a completed or taken batch, or until a core's next wave may start.

        `now` must be the time that `_next_claims` used: a wave that became ready since then must
        wake the loop too.
        """
        retry_at = self.scheduler.next_retry_at()
        self._claim_wakeup.clear()
        if (wait := self.retry_wait()) is not None and wait.last_in >= _MIN_WAIT:
            self._journal.submit_nowait(lambda store: store.record_retry_wait(wait), self._on_wait_recorded)
        loop = asyncio.get_running_loop()
        timer = loop.call_at(retry_at, self._claim_wakeup.set) if retry_at is not None and retry_at > now else None
        try:
            await self._claim_wakeup.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _on_wait_recorded(self, error: BaseException | None) -> None:
        if error is not None:
            self._session.fail(error)

    # --- workers ---

    async def acquire(self) -> tuple[Claim, Batch] | None:
        """The next batch together with its token; None when the session has closed."""
        if self._session.phase is SessionPhase.CLOSED:
            return None
        waiter: asyncio.Future[tuple[Claim, Batch] | None] = asyncio.get_running_loop().create_future()
        self._idle_workers.append(waiter)
        self._assign()
        item = await waiter
        # Stopped, or no longer allowed to send, since the batch was assigned.
        if item is not None and (self._session.stop_reason is not None or not self._lane.may_send()):
            self.ready.appendleft(item)
            self._lane.bucket.refund()
            return None
        return item

    def complete(self, claim: Claim, result: BatchResult) -> None:
        """End a claim; things that `result` requeues go back to the scheduler."""
        if result.split:
            self.scheduler.split(claim.queue, list(result.split))
        else:
            retry_at = self._clock() + result.delay
            self.scheduler.complete(claim.queue, requeued=result.requeued, retry_at=retry_at)
        if not self._at_capacity:
            self._claim_wakeup.set()

    def skip_core(self, queue: CoreQueue) -> None:
        """Claim no further batch of this core."""
        self.scheduler.skip(queue)

    # --- assignment ---

    async def token_loop(self) -> None:
        """Wait for tokens that are not available at once. Cancelled when the session closes."""
        while self._session.phase is not SessionPhase.CLOSED:
            if not self._can_assign():
                self._token_wakeup.clear()
                await self._token_wakeup.wait()
                continue
            if self._ramp is not None:
                await asyncio.sleep(max(0.0, self._ramp.next_send_at() - self._clock()))
            await self._lane.acquire()
            if self._can_assign():
                self._assign_one()
            else:
                self._lane.bucket.refund()

    def _can_assign(self) -> bool:
        """Whether a batch can be assigned as soon as there is a token."""
        return bool(self.ready and self._idle_workers) and self._session.can_send

    def _assign(self) -> None:
        """Assign ready batches while tokens are available; then wake the token loop."""
        while self._can_assign():
            if self._ramp is not None or not self._lane.try_acquire():
                self._token_wakeup.set()
                break
            self._assign_one()

    def _assign_one(self) -> None:
        """Assign the first ready batch; its token has been taken."""
        waiter = self._idle_workers.popleft()
        if waiter.done():  # its worker was cancelled
            self._lane.bucket.refund()
            return
        self._session.start_request()
        item = self.ready.popleft()
        if self._ramp is not None:
            self._ramp.record_sent(len(item[1].ids), self._clock())
        if self._at_capacity and self._claim_capacity():
            self._claim_wakeup.set()
        waiter.set_result(item)

    def _on_phase_change(self) -> None:
        if self._session.phase is not SessionPhase.CLOSED:
            self._assign()
            return
        self._claim_wakeup.set()
        for waiter in self._idle_workers:
            if not waiter.done():
                waiter.set_result(None)
