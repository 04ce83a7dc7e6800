"""Rule: the engine moves batches from the journal through a lane and back; it decides nothing about their fate.

A claim is committed before its token is taken, a token is taken right before the request is sent (`supply`). What came
of it goes into the journal, the counts and the events (`ledger`). `control` knows whether the run still goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from asyncgg.aggregator import Batch, settle
from asyncgg.batching import Claim, first_of
from asyncgg.classify import Verdict, classify, code_and_message
from asyncgg.engine import replies
from asyncgg.engine.control import Control
from asyncgg.engine.guards import Guards, Stop
from asyncgg.engine.lane import Lane
from asyncgg.engine.ledger import Ledger
from asyncgg.engine.options import EngineOptions, Result
from asyncgg.engine.supply import Supply
from asyncgg.errors import AsyncggError, CredentialsError
from asyncgg.events import Listener, Progress, RequestFailed, RunEnded, RunStarted
from asyncgg.journal import Counts, Journal
from asyncgg.model import Refused, Reply, RunState, Unanswered
from asyncgg.ratelimit import Ramp

__all__ = ["Engine"]


class Engine:
    """Runs what is pending in `journal` through `lane`. One engine runs once.

    Raises `JournalWriteError` when the journal cannot be written: nothing further was sent after that. Cancelling `run`
    leaves the journal resumable, what was in flight ambiguous.
    """

    def __init__(
        self, journal: Journal, lane: Lane, options: EngineOptions | None = None, listeners: Sequence[Listener] = ()
    ) -> None:
        self._lane = lane
        self._options = options = options or EngineOptions()
        self._clock = asyncio.get_running_loop().time
        self._control = Control(listeners)
        self._guards = Guards(
            abort_at=options.abort_at,
            abort_after=options.abort_after,
            patience=options.patience,
            operation=options.codes.operation,
        )
        self._ramp = None if options.ramp is None else Ramp(options.ramp)
        self._ledger = Ledger(journal, self._control, self._guards, self._ramp)
        self._supply = Supply(
            journal,
            lane,
            self._control,
            concurrency=options.concurrency,
            per_core=options.per_core,
            ramp=self._ramp,
        )
        self._in_flight: dict[int, Batch] = {}
        self._last_words = ""
        lane.emit = self._control.emit

    # --- from outside ---

    async def run(self) -> Result:
        """Do the work; returns when nothing is left, or when a guard, the deadline or `stop` ended it."""
        deadline: asyncio.TimerHandle | None = None
        try:
            run, works = await self._ledger.open()
            if self._options.first is not None:
                works = first_of(works, self._options.first)
            for work in works:
                self._supply.schedule.add(work)
            pending = sum(work.fresh for work in works)
            self._control.emit(RunStarted(run, pending, self._supply.requests_left))
            if self._options.deadline is not None:
                late = Stop(RunState.DEADLINE, "the deadline came")
                deadline = asyncio.get_running_loop().call_later(self._options.deadline, self.stop, late)
            await self._work(min(self._options.concurrency, pending))
            result = await self._finish()
        except BaseException:
            self._ledger.abandon(list(self._in_flight.values()))
            raise
        finally:
            if deadline is not None:
                deadline.cancel()
        self._control.emit(RunEnded(result.state, result.reason, result.first_only))
        return result

    def stop(self, stop: Stop) -> None:
        """Claim and send nothing new, let what is in flight end; the first reason given counts."""
        self._control.stop_for(stop)

    def hold(self) -> None:
        """Send nothing until `release`: whoever takes the outcomes cannot keep up."""
        self._lane.open.clear()

    def release(self) -> None:
        """Go on after `hold`."""
        self._lane.open.set()

    def progress(self) -> Progress:
        """How the run stands now."""
        books, rate = self._ledger, self._lane.bucket.rate
        seconds_left, note = self._supply.requests_left / rate, self._lane.note
        wait = self._supply.waiting()
        if wait is not None and not self._in_flight and not self._supply.ready:
            seconds_left, note = max(seconds_left, wait), note or f"waiting {wait:.0f} s to try again"
        if self._ramp is not None:
            seconds_left = max(seconds_left, 60 * books.pending / self._ramp.per_minute)
            note = note or f"begins slowly: {self._ramp.per_minute:g} things a minute"
        if self._control.stop is not None:
            note = f"stopping: {self._control.stop.reason}"
        return Progress(
            total=books.before.pending + books.before.disassociated + books.before.failed,
            disassociated=books.before.disassociated + books.done,
            failed=books.before.failed + books.failed,
            pending=books.pending,
            in_flight=len(self._in_flight),
            sent=books.sent,
            throttled=books.throttled,
            retried=books.retried,
            rate=rate,
            ceiling=self._lane.ceiling,
            seconds=books.seconds,
            seconds_left=seconds_left if books.pending else 0.0,
            note=note,
        )

    # --- the run ---

    async def _work(self, workers: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._supply.feed(), name="asyncgg-feeder")
                group.create_task(self._supply.serve(), name="asyncgg-server")
                for number in range(workers):
                    group.create_task(self._send_until_done(), name=f"asyncgg-worker-{number}")
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the first is the cause, the others its consequence

    async def _finish(self) -> Result:
        counts = await self._ledger.close([batch for _, batch in self._supply.ready])
        if self._control.failure is not None:
            raise self._control.failure
        result = self._result(counts)
        await self._ledger.write_end(result.state, result.reason)
        return result

    def _result(self, counts: Counts) -> Result:
        stop = self._control.stop or self._guards.at_end(self._last_words)
        done_anyway = not counts.pending and stop and stop.state in {RunState.INTERRUPTED, RunState.DEADLINE}
        if stop and not done_anyway:
            return Result(stop.state, stop.reason, stop.credentials)
        if counts.pending and self._options.first is not None:
            reason = f"the first {self._options.first} things have gone, the others wait"
            return Result(RunState.INTERRUPTED, reason, first_only=True)
        if counts.pending:
            return Result(RunState.INTERRUPTED, f"{counts.pending} things of an earlier start are still pending")
        return Result(RunState.PARTIAL if counts.failed else RunState.COMPLETE)

    async def _send_until_done(self) -> None:
        try:
            while (item := await self._supply.next()) is not None:
                await self._send(*item)
        except AsyncggError as error:
            self._control.fail(error)

    async def _send(self, claim: Claim, batch: Batch) -> None:
        started, credentials = self._clock(), self._lane.credentials
        self._in_flight[batch.request] = batch
        self._ledger.sent += 1
        self._ledger.retried += batch.again
        try:
            reply = replies.fit_to_keep(await self._lane.transport.send(batch.core, batch.things))
        except CredentialsError as error:
            reply = Unanswered("credentials", str(error), sent=False)
            verdict = Verdict.CREDENTIALS_EXPIRED
        else:
            verdict = classify(reply, batch.core, batch.things)
        self._supply.answered()
        self._heed(verdict, reply, batch, started)
        settlement = settle(batch, reply, verdict, self._options.codes, self._options.retry)
        del self._in_flight[batch.request]
        self._ledger.settle(batch, settlement, reply, self._clock() - started)
        if settlement.gives_up_core:
            self._supply.give_up(claim.work)
        back = settlement.returned or settlement.parts
        if settlement.gives_up_core or (back and self._ledger.given_up(claim.work)):
            await self._ledger.give_up(claim.work, batch, settlement, reply)
        self._supply.hand_back(claim, settlement)
        if verdict is Verdict.CREDENTIALS_EXPIRED:
            await self._refresh(credentials)

    def _heed(self, verdict: Verdict, reply: Reply, batch: Batch, started: float) -> None:
        """What one reply means for the lane and the guards."""
        said = ""
        if verdict is not Verdict.ACCEPTED:
            self._last_words = said = replies.words(reply)
        self._ledger.throttled += verdict is Verdict.THROTTLED
        retry_after = reply.retry_after if isinstance(reply, Refused) else None
        if stop := self._lane.heed(verdict, batch.core, started, said, retry_after):
            self.stop(stop)
        if verdict not in {Verdict.ACCEPTED, Verdict.THROTTLED}:
            self._control.emit(RequestFailed(batch.core, len(batch.ids), *code_and_message(reply), verdict.value))
        if stop := self._guards.answered(verdict, batch.core, said, self._clock()):
            self.stop(stop)

    async def _refresh(self, used: int) -> None:
        try:
            await self._lane.refresh(used)
        except CredentialsError as error:
            self.stop(Stop(RunState.ABORTED, str(error), credentials=True))
