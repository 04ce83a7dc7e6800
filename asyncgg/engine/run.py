"""Rule: the engine moves batches from the journal through a lane and back; it decides nothing about their fate.

One feeder claims a few batches ahead, a bounded number of workers send them. A claim is committed before its token is
taken, a token is taken right before the request is sent. Workers take turns at the limiter, so only a few claimed
batches wait there: after a crash no more than these and the ones in flight are ambiguous.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from asyncgg.aggregator import Batch, Settlement, settle
from asyncgg.backoff import RetryPolicy
from asyncgg.batching import Claim, CoreWork, Schedule
from asyncgg.classify import CodeTable, Verdict, classify
from asyncgg.engine import replies
from asyncgg.engine.guards import Guards, Stop
from asyncgg.engine.lane import Lane
from asyncgg.errors import AsyncggError, CredentialsError
from asyncgg.events import (
    CoreGivenUp,
    Event,
    Listener,
    Progress,
    RequestFailed,
    RunEnded,
    RunStarted,
    Stopping,
    ThingsFinished,
    Throttled,
)
from asyncgg.journal import Counts, Journal, Store
from asyncgg.model import Refused, Reply, RunState, ThingState, Unanswered

__all__ = ["Engine", "EngineOptions", "Result"]

_AHEAD_SECONDS: Final = 0.05
"""Batches are claimed so far ahead of their tokens: longer than a synced commit takes, short enough to stay few."""
_PILOT_SECONDS: Final = 1.0
"""The first request goes alone until it is answered, or for so long: it finds wrong credentials before others do, and
pays for the cold connection, which would make those behind it arrive at once."""
_GIVE_UP_CHUNK: Final = 1000
_SAVE_SECONDS: Final = 1.0
"""How often the running time is written to the journal."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a run is to behave; times in seconds."""

    concurrency: int = 64
    """Requests in flight at most."""
    per_core: int = 4
    """Of them, for one core: what parallel calls on one core do is documented nowhere."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    codes: CodeTable = field(default_factory=CodeTable)
    abort_at: float | None = None
    abort_after: int = 1
    deadline: float | None = None
    patience: float = 300.0
    """Without a single accepted request, before a throttled or unanswered run stops itself."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one start of a run ended."""

    state: RunState
    reason: str = ""
    credentials: bool = False
    """Whether credentials or permissions ended it."""


class Engine:
    """Runs what is pending in `journal` through `lane`. One engine runs once.

    Raises `JournalWriteError` when the journal cannot be written: nothing further was sent after that. Cancelling `run`
    leaves the journal resumable, what was in flight ambiguous.
    """

    def __init__(
        self, journal: Journal, lane: Lane, options: EngineOptions | None = None, listeners: Sequence[Listener] = ()
    ) -> None:
        self._journal = journal
        self._lane = lane
        self._options = options or EngineOptions()
        self._listeners = tuple(listeners)
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._epoch = time.time() - self._started  # one clock: wall time is read once
        self._saved = self._started
        self._schedule = Schedule(self._options.per_core)
        self._guards = Guards(
            abort_at=self._options.abort_at,
            abort_after=self._options.abort_after,
            patience=self._options.patience,
        )
        self._ready: deque[tuple[Claim, Batch]] = deque()
        self._arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._piloted = asyncio.Event()
        self._gate: asyncio.Timeout | None = None
        self._fed = False
        self._in_flight: dict[int, Batch] = {}
        self._given_up: dict[int, tuple[str, str, int]] = {}
        self._stop: Stop | None = None
        self._failure: BaseException | None = None
        self._last_words = ""
        self._counts = Counts(0, 0, 0, 0, 0, 0)
        self._earlier_seconds = 0.0
        self._done = self._failed = self._sent = self._throttled = self._retried = 0
        lane.emit = self._emit

    # --- from outside ---

    async def run(self) -> Result:
        """Do the work; returns when nothing is left, or when a guard, the deadline or `stop` ended it."""
        timer: asyncio.TimerHandle | None = None
        try:
            run = await self._begin()
            self._emit(RunStarted(run, self._counts.pending, self._schedule.requests_left))
            if self._options.deadline is not None:
                late = Stop(RunState.DEADLINE, "the deadline came")
                timer = asyncio.get_running_loop().call_later(self._options.deadline, self.stop, late)
            await self._work()
            result = await self._finish()
        except BaseException:
            self._abandon()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        self._emit(RunEnded(result.state, result.reason))
        return result

    def stop(self, stop: Stop) -> None:
        """Claim and send nothing new, let what is in flight end; the first reason given counts."""
        if self._stop is None:
            self._stop = stop
            self._changed.set()
            self._arrived.set()
            self._piloted.set()
            if self._gate is not None:
                self._gate.reschedule(self._clock())
            self._emit(Stopping(stop.reason))

    def hold(self) -> None:
        """Send nothing until `release`: whoever takes the outcomes cannot keep up."""
        self._lane.open.clear()

    def release(self) -> None:
        """Go on after `hold`."""
        self._lane.open.set()

    def progress(self) -> Progress:
        """How the run stands now."""
        rate = self._lane.bucket.rate
        requests = self._schedule.requests_left + len(self._ready)
        pending = self._counts.pending - self._done - self._failed
        seconds_left, note = requests / rate, self._lane.note
        last_due = self._schedule.last_due()
        if last_due is not None and not self._in_flight and not self._ready:
            wait = max(0.0, last_due - self._clock())
            seconds_left, note = max(seconds_left, wait), note or f"waiting {wait:.0f} s to try again"
        return Progress(
            total=self._counts.pending + self._counts.disassociated + self._counts.failed,
            disassociated=self._counts.disassociated + self._done,
            failed=self._counts.failed + self._failed,
            pending=pending,
            in_flight=len(self._in_flight),
            sent=self._sent,
            throttled=self._throttled,
            retried=self._retried,
            rate=rate,
            ceiling=self._lane.ceiling,
            seconds=self._clock() - self._started,
            seconds_left=seconds_left if pending else 0.0,
            note=f"stopping: {self._stop.reason}" if self._stop else note,
        )

    # --- the run ---

    async def _begin(self) -> str:
        def load(store: Store) -> tuple[str, Counts, float, list[CoreWork]]:
            store.put(state=RunState.RUNNING)
            return store.get("run"), store.counts(), float(store.get("seconds", "0")), list(store.work())

        run, self._counts, self._earlier_seconds, works = await self._journal.call(load)
        for work in works:
            self._schedule.add(work)
        return run

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed(), name="asyncgg-feeder")
                for number in range(max(1, min(self._options.concurrency, self._counts.pending))):
                    group.create_task(self._send_until_done(), name=f"asyncgg-worker-{number}")
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the first is the cause, the others its consequence

    async def _finish(self) -> Result:
        released = [batch for _, batch in self._ready]
        seconds = self._earlier_seconds + self._clock() - self._started

        def close(store: Store) -> Counts:
            for batch in released:
                store.release(batch)
            return store.counts()

        counts = await self._journal.call(close)  # calls are kept in order: everything before it is committed too
        if self._failure is not None:
            raise self._failure
        result = self._result(counts)
        await self._journal.call(
            lambda store: store.put(state=result.state, reason=result.reason, seconds=round(seconds, 3)), keep=True
        )
        return result

    def _result(self, counts: Counts) -> Result:
        stop = self._stop or self._guards.at_end(self._last_words)
        done_anyway = not counts.pending and stop and stop.state in {RunState.INTERRUPTED, RunState.DEADLINE}
        if stop and not done_anyway:
            return Result(stop.state, stop.reason, stop.credentials)
        if counts.pending:
            return Result(RunState.INTERRUPTED, f"{counts.pending} things of an earlier start are still pending")
        return Result(RunState.PARTIAL if counts.failed else RunState.COMPLETE)

    def _abandon(self) -> None:
        """Cancelled, or broken: leave the journal resumable without waiting for anything."""
        in_flight = list(self._in_flight.values())
        seconds = self._earlier_seconds + self._clock() - self._started

        def leave(store: Store) -> None:
            store.abandon(in_flight)
            store.put(state=RunState.INTERRUPTED, reason="it was cut off", seconds=round(seconds, 3))

        self._journal.call(leave, keep=True).add_done_callback(_forget)

    # --- the feeder ---

    async def _feed(self) -> None:
        try:
            while self._stop is None:
                now = self._clock()
                claims = self._take(now)
                if claims:
                    await self._claim(claims)
                elif self._schedule.exhausted:
                    break
                else:
                    await self._change(now)
        except AsyncggError as error:
            self._fail(error)
        self._fed = True
        self._arrived.set()

    def _take(self, now: float) -> list[Claim]:
        """The claims to make at `now`: as many as are wanted ahead of the limiter."""
        ahead = self._lane.bucket.rate * _AHEAD_SECONDS
        wanted = self._options.concurrency if math.isinf(ahead) else max(2, math.ceil(ahead))
        room = min(wanted, self._options.concurrency) - len(self._ready)
        claims: list[Claim] = []
        while len(claims) < room and (claim := self._schedule.take(now)):
            claims.append(claim)
        return claims

    async def _claim(self, claims: list[Claim]) -> None:
        at = self._epoch + self._clock()
        batches = await self._journal.call(lambda store: [store.claim(claim, at) for claim in claims])
        for claim, batch in zip(claims, batches, strict=True):
            self._schedule.claimed(claim, batch.ids[-1])
            self._ready.append((claim, batch))
        self._arrived.set()

    async def _change(self, now: float) -> None:
        """Wait until a worker took or settled something, or until a core's next wave is due.

        `now` is when `_take` looked: a wave that came due since then must wake us too, and no later look at the clock
        may take it for one that only waits for room.
        """
        due = self._schedule.next_due()
        self._changed.clear()
        loop = asyncio.get_running_loop()
        timer = loop.call_at(due, self._changed.set) if due is not None and due > now else None
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()

    # --- the workers ---

    async def _send_until_done(self) -> None:
        try:
            while (item := await self._next()) is not None:
                await self._send(*item)
        except AsyncggError as error:
            self._fail(error)

    async def _next(self) -> tuple[Claim, Batch] | None:
        """The next batch together with the token for it; None when this start is over."""
        async with self._turn:
            while not self._ready:
                if self._fed or self._stop is not None:
                    return None
                self._arrived.clear()
                await self._arrived.wait()
            if self._sent:
                await self._piloted.wait()
            if self._stop is not None or not await self._token():
                return None
            self._changed.set()
            return self._ready.popleft()

    async def _token(self) -> bool:
        """Wait for a token; False when the run is stopped instead."""
        try:
            async with asyncio.timeout(None) as self._gate:
                await self._lane.token()
        except TimeoutError:
            return False
        finally:
            self._gate = None
        if self._stop is not None:
            self._lane.bucket.give_back()
            return False
        return True

    async def _send(self, claim: Claim, batch: Batch) -> None:
        started, credentials = self._clock(), self._lane.credentials
        self._in_flight[batch.request] = batch
        if not self._sent:
            asyncio.get_running_loop().call_later(_PILOT_SECONDS, self._piloted.set)
        self._sent += 1
        self._retried += batch.again
        try:
            reply = await self._lane.transport.send(batch.core, batch.things)
        except CredentialsError as error:
            reply = Unanswered("credentials", str(error), sent=False)
            verdict = Verdict.CREDENTIALS_EXPIRED
        else:
            verdict = classify(reply, batch.core, batch.things)
        self._heed(verdict, reply, batch, started)
        settlement = settle(batch, reply, verdict, self._options.codes, self._options.retry)
        self._settle(claim, batch, settlement, reply)
        if settlement.gives_up_core or (claim.work.id in self._given_up and (settlement.returned or settlement.parts)):
            await self._give_up(claim.work, batch, settlement, reply)
        self._hand_back(claim, settlement)
        if verdict is Verdict.CREDENTIALS_EXPIRED:
            await self._refresh(credentials)

    def _heed(self, verdict: Verdict, reply: Reply, batch: Batch, started: float) -> None:
        """What one reply means for the lane and the guards."""
        self._piloted.set()
        said = replies.words(reply)
        if verdict is not Verdict.ACCEPTED:
            self._last_words = said
        match verdict:
            case Verdict.ACCEPTED:
                self._lane.accepted(started)
            case Verdict.THROTTLED:
                retry_after = reply.retry_after if isinstance(reply, Refused) else None
                self._throttled += 1
                self._emit(Throttled(batch.core, retry_after))
                self._lane.throttled(started, retry_after)
            case Verdict.NOT_SENT:
                self._lane.unreachable(said)
            case Verdict.CREDENTIALS_REJECTED:
                reason = f"the credentials are not accepted: {said}"
                self.stop(Stop(RunState.ABORTED, reason, credentials=True))
            case Verdict.LOST | Verdict.CREDENTIALS_EXPIRED:
                pass  # says nothing about the quota
            case _:
                self._lane.within_quota(started)
        if verdict not in {Verdict.ACCEPTED, Verdict.THROTTLED}:
            self._emit(RequestFailed(batch.core, len(batch.ids), *replies.code(reply), verdict.value))
        if stop := self._guards.answered(verdict, batch.core, said, self._clock()):
            self.stop(stop)

    def _settle(self, claim: Claim, batch: Batch, settlement: Settlement, reply: Reply) -> None:
        """Hand the outcome to the journal, and count it."""
        del self._in_flight[batch.request]
        answer = replies.answer(reply, settlement, self._epoch + self._clock())
        committed = self._journal.call(lambda store: store.settle(batch, settlement, answer), keep=True)
        committed.add_done_callback(partial(self._committed, batch, settlement))
        finished = len(batch.ids) - settlement.returned - sum(part[2] for part in settlement.parts)
        failed = sum(odd.state is ThingState.FAILED for odd in settlement.deviations)
        self._count(finished - failed, failed)
        self._save_time()

    def _committed(self, batch: Batch, settlement: Settlement, future: asyncio.Future[None]) -> None:
        if error := _error(future):
            self._fail(error)
        elif self._listeners:
            outcomes = tuple(settlement.outcomes(batch))
            if outcomes:
                self._emit(ThingsFinished(outcomes))

    def _hand_back(self, claim: Claim, settlement: Settlement) -> None:
        """Tell the schedule that the claim is over, and what of it comes again."""
        if settlement.parts:
            self._schedule.split(claim.work, list(settlement.parts))
        else:
            due = self._clock() + settlement.delay
            self._schedule.settle(claim.work, returned=settlement.returned, due=due)
        self._changed.set()

    async def _give_up(self, work: CoreWork, batch: Batch, settlement: Settlement, reply: Reply) -> None:
        """Give the core's pending things the outcome of its missing or denied core, without another request."""
        if settlement.gives_up_core:
            self._schedule.give_up(work)
            self._given_up.setdefault(work.id, (*replies.code(reply), batch.request))
        code, message, request = self._given_up[work.id]
        things = 0
        while True:
            outcomes = await self._journal.call(
                lambda store: store.fail_pending(work, code, message, request, _GIVE_UP_CHUNK), keep=True
            )
            things += len(outcomes)
            self._count(0, len(outcomes))
            if outcomes:
                self._emit(ThingsFinished(tuple(outcomes)))
            if len(outcomes) < _GIVE_UP_CHUNK:
                break
        if settlement.gives_up_core:
            self._emit(CoreGivenUp(work.name, code, message, things + len(batch.ids)))

    async def _refresh(self, used: int) -> None:
        try:
            await self._lane.refresh(used)
        except CredentialsError as error:
            self.stop(Stop(RunState.ABORTED, str(error), credentials=True))

    # --- small change ---

    def _count(self, done: int, failed: int) -> None:
        self._done += done
        self._failed += failed
        if (done or failed) and (stop := self._guards.finished(done, failed)):
            self.stop(stop)

    def _save_time(self) -> None:
        now = self._clock()
        if now - self._saved >= _SAVE_SECONDS:
            self._saved = now
            seconds = round(self._earlier_seconds + now - self._started, 3)
            self._journal.call(lambda store: store.put(seconds=seconds)).add_done_callback(_forget)

    def _fail(self, error: BaseException) -> None:
        """Something of ours broke: send nothing more; `run` raises `error` when what is in flight has ended."""
        self._failure = self._failure or error
        self.stop(Stop(RunState.ABORTED, str(error)))

    def _emit(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the run, and `run` raises it
                self._fail(error)


def _error(future: asyncio.Future[None]) -> BaseException | None:
    return None if future.cancelled() else future.exception()


def _forget(future: asyncio.Future[None]) -> None:
    _error(future)
