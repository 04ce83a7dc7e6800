"""The engine: takes batches from the journal, sends them through a lane and records the results."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from asyncgg.aggregator import Batch, BatchResult, resolve_batch, undecided
from asyncgg.batching import Claim, CoreQueue, spread, take_first
from asyncgg.classify import COUNTED, CodeTable, ReplyVerdict
from asyncgg.engine.denial import DenialRule
from asyncgg.engine.dispatcher import Dispatcher
from asyncgg.engine.guards import AbortRules, StopReason
from asyncgg.engine.lane import Lane
from asyncgg.engine.outage import AMBIGUOUS
from asyncgg.engine.recorder import RunRecorder
from asyncgg.engine.replies import RequestLabel, describe_failure, sanitize_reply
from asyncgg.engine.session import WorkSession
from asyncgg.engine.waiting import note_requeued
from asyncgg.errors import AsyncggError
from asyncgg.events import Listener, Progress, RequestFailed, RunEnded, RunStarted
from asyncgg.formatting import format_count
from asyncgg.journal import JournalCounts, JournalWriter
from asyncgg.models import Accepted, Reply, RunState
from asyncgg.ratelimit import Ramp, RampPlan
from asyncgg.retry_policy import RetryPolicy


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The options of a run; times in seconds."""

    concurrency: int = 64
    """Maximum requests in flight."""
    per_core: int = 4
    """Maximum requests in flight per core; the effect of parallel calls is undocumented."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    codes: CodeTable = field(default_factory=CodeTable)
    abort_at: float | None = None
    abort_after: int = 1
    deadline: float | None = None
    stall_timeout: float = 300.0
    """Time without an accepted request after which a throttled or unanswered run stops."""
    continue_when_denied: bool = False
    """Whether denied cores fail at once, also if every core is denied."""
    limit: int | None = None
    """Send only the first N pending things in this start: a canary. The others stay pending."""
    ramp: RampPlan | None = None
    """Things per minute, growing with success; None means no limit but the quota."""
    claim_ahead: float = 0.0
    """Time for which batches are claimed ahead, if more than 0.05; after a crash, they count as possibly sent."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How one start of a run ended."""

    state: RunState
    reason: str = ""
    is_auth_error: bool = False
    """Whether credentials or permissions ended the run."""
    limit_reached: bool = False
    """Whether the run ended because `EngineOptions.limit` was reached."""


class _DeniedCore(NamedTuple):
    """A denied core with the request that was denied, and its result if only this core is denied."""

    queue: CoreQueue
    batch: Batch
    result: BatchResult
    reply: Reply


class Engine:
    """Sends the pending things of `journal` through `lane`. An engine runs once.

    Cancelling `run` leaves the journal resumable; things in flight become ambiguous.

    Raises:
        JournalWriteError: the journal cannot be written; no further request is sent.
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
        self._api = options.codes.operation.api
        self._clock = asyncio.get_running_loop().time
        self._session = WorkSession(lane, listeners, options.deadline)
        self._abort_rules = AbortRules(
            abort_at=options.abort_at,
            abort_after=options.abort_after,
            stall_timeout=options.stall_timeout,
        )
        self._denials = DenialRule[_DeniedCore](
            f"grant greengrass:{options.codes.operation.api}, then resume", disabled=options.continue_when_denied
        )
        self._ramp = None if options.ramp is None else Ramp(options.ramp)
        self._recorder = RunRecorder(journal, self._session, self._abort_rules, self._ramp)
        self._dispatcher = Dispatcher(
            journal,
            self._session,
            concurrency=options.concurrency,
            per_core=options.per_core,
            retry=options.retry,
            claim_ahead=options.claim_ahead,
            ramp=self._ramp,
        )
        self._in_flight: dict[int, Batch] = {}
        self._run_id = ""
        self._pending: int | None = None

    async def load(self) -> None:
        """Read the pending things before `run`, which otherwise does it.

        For 1,000 cores this takes a few milliseconds, which other lanes of the event loop would lack.
        """
        self._run_id, queues = await self._recorder.load()
        if self._options.limit is not None:
            queues = take_first(queues, self._options.limit)
        for queue in spread(queues):
            self._dispatcher.scheduler.add(queue)
        self._pending = sum(queue.unsent for queue in queues)

    async def run(self) -> RunResult:
        """Run until the work is done or an abort rule, the deadline or `stop` ends it."""
        try:
            if self._pending is None:
                await self.load()
            pending = self._pending or 0
            self._recorder.start()
            self._session.emit(RunStarted(self._run_id, pending, self._dispatcher.requests_left))
            async with self._session.run(self._dispatcher.token_loop()) as group:
                group.create_task(self._dispatcher.claim_loop(), name="asyncgg-claimer")
                for number in range(min(self._options.concurrency, pending)):
                    group.create_task(self._worker(), name=f"asyncgg-worker-{number}")
            result = await self._finish()
        except BaseException:
            self._recorder.interrupt(list(self._in_flight.values()))
            raise
        self._session.emit(RunEnded(result.state, result.reason, result.limit_reached))
        return result

    def stop(self, reason: StopReason) -> None:
        """Send no further requests and let those in flight end. The first reason is kept."""
        self._session.stop(reason)

    def pause(self) -> None:
        """Send no requests until `resume`, because the consumer of the outcomes cannot keep up."""
        self._lane.not_paused.clear()

    def resume(self) -> None:
        """Send requests again after `pause`."""
        self._lane.not_paused.set()

    def progress(self) -> Progress:
        """The progress of the run."""
        recorder, counts, rate = self._recorder, self._recorder.initial_counts, self._lane.bucket.rate
        seconds_left, status = self._dispatcher.requests_left / rate, self._session.status
        wait = self._dispatcher.retry_wait()
        if wait is not None:
            seconds_left, status = max(seconds_left, wait.last_in), status or wait.describe(wait.at)
        if self._ramp is not None:
            seconds_left = max(seconds_left, 60 * recorder.pending / self._ramp.per_minute)
            status = status or f"ramping up: {self._ramp.per_minute:g} things/min"
        return Progress(
            total=counts.total,
            disassociated=counts.disassociated + recorder.done,
            already=counts.already + recorder.already,
            failed=counts.failed + recorder.failed,
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

    async def _finish(self) -> RunResult:
        denied = self._session.stop_reason or self._denials.check_at_end()
        if denied is None:
            await self._fail_denied(self._denials.take_held())
        counts = await self._recorder.release_unsent([batch for _, batch in self._dispatcher.ready])
        if self._session.failure is not None:
            raise self._session.failure
        result = self._result(counts, denied or self._session.stop_reason)
        await self._recorder.record_end(result.state, result.reason)
        return result

    def _result(self, counts: JournalCounts, stop: StopReason | None) -> RunResult:
        done_anyway = not counts.pending and stop and stop.state in {RunState.INTERRUPTED, RunState.DEADLINE}
        if stop and not done_anyway:
            return RunResult(stop.state, stop.message, stop.is_auth_error)
        if counts.pending and self._options.limit is not None:
            reason = f"limit of {format_count(self._options.limit, 'thing')} reached; the others are pending"
            return RunResult(RunState.INTERRUPTED, reason, limit_reached=True)
        if counts.pending:
            return RunResult(
                RunState.INTERRUPTED, f"still pending: {format_count(counts.pending, 'thing')} of an earlier start"
            )
        return RunResult(RunState.PARTIAL if counts.failed else RunState.COMPLETE)

    async def _worker(self) -> None:
        try:
            while (item := await self._dispatcher.acquire()) is not None:
                await self._send(*item)
        except AsyncggError as error:
            self._session.fail(error)

    async def _send(self, claim: Claim, batch: Batch) -> None:
        def failed(verdict: ReplyVerdict, code: str, message: str) -> RequestFailed:
            attempt = 1 + max(batch.attempts) if verdict in COUNTED else 0
            limit = self._options.retry.max_attempts
            return RequestFailed(batch.core, len(batch.ids), code, message, verdict.value, attempt, limit)

        self._in_flight[batch.request] = batch
        self._recorder.sent += 1
        self._recorder.retried += batch.is_resend
        send = self._lane.transport.send(batch.core, batch.things)
        queue = claim.queue
        attempt = await self._session.request(
            send,
            batch.core,
            batch.things,
            self._abort_rules,
            failed,
            queue.failing_since,
            RequestLabel(self._api, batch.attempts if batch.is_resend else (0,), batch.request),
        )
        verdict = attempt.verdict
        reply: Reply = attempt.reply
        if isinstance(reply, Accepted):
            reply = sanitize_reply(reply)
        self._recorder.throttled += verdict is ReplyVerdict.THROTTLED
        result = resolve_batch(
            batch, reply, verdict, self._options.codes, self._options.retry, particular=attempt.particular
        )
        if verdict is ReplyVerdict.THROTTLED:
            queue.throttles += 1
            round_trip = self._clock() - attempt.started
            delay = self._options.retry.throttle_delay(round_trip, queue.throttles, attempt.retry_after)
            result = replace(result, delay=delay)
        else:
            queue.throttles = 0
        if self._holds(verdict, queue):
            result = self._hold_denied(_DeniedCore(queue, batch, result, reply), attempt.started)
        elif verdict in AMBIGUOUS:
            queue.failing_since = min(queue.failing_since or attempt.started, attempt.started)
        del self._in_flight[batch.request]
        self._recorder.record_batch(batch, result, reply, self._clock() - attempt.started)
        if result.skips_core:
            self._dispatcher.skip_core(queue)
        has_requeued = result.requeued or result.split
        if result.skips_core or (has_requeued and self._recorder.is_core_skipped(queue)):
            await self._recorder.skip_core(queue, batch, result, reply)
        if verdict is ReplyVerdict.ACCEPTED:
            queue.accepted = True
            await self._fail_denied(self._denials.record_accepted(batch.core, attempt.started))
        if result.requeued:
            note_requeued(queue, batch, result, reply, self._options.codes, self._options.retry)
        self._dispatcher.complete(claim, result)
        await self._session.refresh(attempt)

    def _holds(self, verdict: ReplyVerdict, queue: CoreQueue) -> bool:
        is_open = not self._denials.disabled and not self._recorder.is_core_skipped(queue)
        return verdict is ReplyVerdict.CORE_DENIED and is_open

    def _hold_denied(self, denied: _DeniedCore, started: float) -> BatchResult:
        """Claim nothing more of a denied core; its things stay pending until it is decided."""
        queue, batch = denied.queue, denied.batch
        message = describe_failure(denied.reply)
        stop = self._denials.record_denied(batch.core, started, denied, message, was_accepted=queue.accepted)
        self._session.stop(stop)
        self._dispatcher.skip_core(queue)
        return undecided(batch, ReplyVerdict.CORE_DENIED)

    async def _fail_denied(self, denied: Iterable[_DeniedCore]) -> None:
        for core in denied:
            await self._recorder.skip_core(core.queue, replace(core.batch, ids=()), core.result, core.reply)
