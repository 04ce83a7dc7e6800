"""Rule: the engine moves batches from the journal through a lane and back; it decides nothing about their fate.

A claim is committed before its token is taken, a token is taken right before the request is sent (`supply`). What came
of it goes into the journal, the counts and the events (`ledger`). `control` knows whether the run still goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from asyncgg.aggregator import Batch, resolve_batch
from asyncgg.batching import Claim, take_first
from asyncgg.classify import ReplyVerdict, classify, code_and_message
from asyncgg.engine import replies
from asyncgg.engine.control import RunControl
from asyncgg.engine.dispatcher import Dispatcher
from asyncgg.engine.guards import AbortRules, StopReason
from asyncgg.engine.lane import Lane
from asyncgg.engine.options import EngineOptions, RunResult
from asyncgg.engine.recorder import RunRecorder
from asyncgg.errors import AsyncggError, CredentialsError
from asyncgg.events import Listener, Progress, RequestFailed, RunEnded, RunStarted
from asyncgg.journal import JournalCounts, JournalWriter
from asyncgg.models import ErrorResponse, NoResponse, Reply, RunState
from asyncgg.ratelimit import Ramp

__all__ = ["Engine"]


class Engine:
    """Runs what is pending in `journal` through `lane`. One engine runs once.

    Raises `JournalWriteError` when the journal cannot be written: nothing further was sent after that. Cancelling `run`
    leaves the journal resumable, what was in flight ambiguous.
    """

    def __init__(
        self,
        journal: JournalWriter,
        lane: Lane,
        options: EngineOptions | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._lane = lane
        self._options = options = options or EngineOptions()
        self._clock = asyncio.get_running_loop().time
        self._control = RunControl(listeners)
        self._abort_rules = AbortRules(
            abort_at=options.abort_at,
            abort_after=options.abort_after,
            stall_timeout=options.stall_timeout,
            operation=options.codes.operation,
        )
        self._ramp = None if options.ramp is None else Ramp(options.ramp)
        self._recorder = RunRecorder(journal, self._control, self._abort_rules, self._ramp)
        self._dispatcher = Dispatcher(
            journal,
            lane,
            self._control,
            concurrency=options.concurrency,
            per_core=options.per_core,
            ramp=self._ramp,
        )
        self._in_flight: dict[int, Batch] = {}
        self._last_error = ""
        lane.emit = self._control.emit

    # --- from outside ---

    async def run(self) -> RunResult:
        """Do the work; returns when nothing is left, or when a guard, the deadline or `stop` ended it."""
        deadline: asyncio.TimerHandle | None = None
        try:
            run_id, queues = await self._recorder.start()
            if self._options.limit is not None:
                queues = take_first(queues, self._options.limit)
            for queue in queues:
                self._dispatcher.scheduler.add(queue)
            pending = sum(queue.unsent for queue in queues)
            self._control.emit(RunStarted(run_id, pending, self._dispatcher.requests_left))
            if self._options.deadline is not None:
                deadline_reached = StopReason(RunState.DEADLINE, "the deadline came")
                deadline = asyncio.get_running_loop().call_later(self._options.deadline, self.stop, deadline_reached)
            await self._run_workers(min(self._options.concurrency, pending))
            result = await self._finish()
        except BaseException:
            self._recorder.interrupt(list(self._in_flight.values()))
            raise
        finally:
            if deadline is not None:
                deadline.cancel()
        self._control.emit(RunEnded(result.state, result.reason, result.limit_reached))
        return result

    def stop(self, reason: StopReason) -> None:
        """Claim and send nothing new, let what is in flight end; the first reason given counts."""
        self._control.request_stop(reason)

    def pause(self) -> None:
        """Send nothing until `release`: whoever takes the outcomes cannot keep up."""
        self._lane.not_paused.clear()

    def resume(self) -> None:
        """Go on after `hold`."""
        self._lane.not_paused.set()

    def progress(self) -> Progress:
        """How the run stands now."""
        recorder, rate = self._recorder, self._lane.bucket.rate
        seconds_left, status = self._dispatcher.requests_left / rate, self._lane.status
        wait = self._dispatcher.retry_wait()
        if wait is not None and not self._in_flight and not self._dispatcher.ready:
            seconds_left, status = max(seconds_left, wait), status or f"waiting {wait:.0f} s to try again"
        if self._ramp is not None:
            seconds_left = max(seconds_left, 60 * recorder.pending / self._ramp.per_minute)
            status = status or f"begins slowly: {self._ramp.per_minute:g} things a minute"
        if self._control.stop_reason is not None:
            status = f"stopping: {self._control.stop_reason.message}"
        return Progress(
            total=recorder.initial_counts.pending
            + recorder.initial_counts.disassociated
            + recorder.initial_counts.failed,
            disassociated=recorder.initial_counts.disassociated + recorder.done,
            failed=recorder.initial_counts.failed + recorder.failed,
            pending=recorder.pending,
            in_flight=len(self._in_flight),
            sent=recorder.sent,
            throttled=recorder.throttled,
            retried=recorder.retried,
            rate=rate,
            ceiling=self._lane.ceiling,
            seconds=recorder.seconds,
            seconds_left=seconds_left if recorder.pending else 0.0,
            status=status,
        )

    # --- the run ---

    async def _run_workers(self, workers: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._dispatcher.claim_loop(), name="asyncgg-claimer")
                group.create_task(self._dispatcher.dispatch_loop(), name="asyncgg-dispatcher")
                for number in range(workers):
                    group.create_task(self._worker(), name=f"asyncgg-worker-{number}")
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the first is the cause, the others its consequence

    async def _finish(self) -> RunResult:
        counts = await self._recorder.release_unsent([batch for _, batch in self._dispatcher.ready])
        if self._control.failure is not None:
            raise self._control.failure
        result = self._result(counts)
        await self._recorder.record_end(result.state, result.reason)
        return result

    def _result(self, counts: JournalCounts) -> RunResult:
        stop = self._control.stop_reason or self._abort_rules.check_at_end(self._last_error)
        done_anyway = not counts.pending and stop and stop.state in {RunState.INTERRUPTED, RunState.DEADLINE}
        if stop and not done_anyway:
            return RunResult(stop.state, stop.message, stop.is_auth_error)
        if counts.pending and self._options.limit is not None:
            reason = f"the first {self._options.limit} things have gone, the others wait"
            return RunResult(RunState.INTERRUPTED, reason, limit_reached=True)
        if counts.pending:
            return RunResult(RunState.INTERRUPTED, f"{counts.pending} things of an earlier start are still pending")
        return RunResult(RunState.PARTIAL if counts.failed else RunState.COMPLETE)

    async def _worker(self) -> None:
        try:
            while (item := await self._dispatcher.acquire()) is not None:
                await self._send(*item)
        except AsyncggError as error:
            self._control.fail(error)

    async def _send(self, claim: Claim, batch: Batch) -> None:
        started, generation = self._clock(), self._lane.credential_generation
        self._in_flight[batch.request] = batch
        self._recorder.sent += 1
        self._recorder.retried += batch.is_resend
        try:
            reply = replies.sanitize_reply(await self._lane.transport.send(batch.core, batch.things))
        except CredentialsError as error:
            reply = NoResponse("credentials", str(error), sent=False)
            verdict = ReplyVerdict.CREDENTIALS_EXPIRED
        else:
            verdict = classify(reply, batch.core, batch.things)
        self._dispatcher.on_reply()
        self._handle_reply(verdict, reply, batch, started)
        result = resolve_batch(batch, reply, verdict, self._options.codes, self._options.retry)
        del self._in_flight[batch.request]
        self._recorder.record_batch(batch, result, reply, self._clock() - started)
        if result.skips_core:
            self._dispatcher.skip_core(claim.queue)
        has_requeued = result.requeued or result.split
        if result.skips_core or (has_requeued and self._recorder.is_core_skipped(claim.queue)):
            await self._recorder.skip_core(claim.queue, batch, result, reply)
        self._dispatcher.complete(claim, result)
        if verdict is ReplyVerdict.CREDENTIALS_EXPIRED:
            await self._refresh(generation)

    def _handle_reply(self, verdict: ReplyVerdict, reply: Reply, batch: Batch, started: float) -> None:
        """What one reply means for the lane and the guards."""
        message = ""
        if verdict is not ReplyVerdict.ACCEPTED:
            self._last_error = message = replies.describe_failure(reply)
        self._recorder.throttled += verdict is ReplyVerdict.THROTTLED
        retry_after = reply.retry_after if isinstance(reply, ErrorResponse) else None
        if stop := self._lane.handle_reply(verdict, batch.core, started, message, retry_after):
            self.stop(stop)
        if verdict not in {ReplyVerdict.ACCEPTED, ReplyVerdict.THROTTLED}:
            self._control.emit(RequestFailed(batch.core, len(batch.ids), *code_and_message(reply), verdict.value))
        if stop := self._abort_rules.record_reply(verdict, batch.core, message, self._clock()):
            self.stop(stop)

    async def _refresh(self, used_generation: int) -> None:
        try:
            await self._lane.refresh(used_generation)
        except CredentialsError as error:
            self.stop(StopReason(RunState.ABORTED, str(error), is_auth_error=True))
