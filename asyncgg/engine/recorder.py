"""The record of a run: outcomes go to the journal, the counts and the events."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import Final

from asyncgg.aggregator import Batch, BatchResult
from asyncgg.batching import CoreQueue
from asyncgg.classify import code_and_message
from asyncgg.engine import replies
from asyncgg.engine.guards import AbortRules
from asyncgg.engine.session import WorkSession
from asyncgg.events import BatchFinished, CoreSkipped, ThingsFinished
from asyncgg.journal import JournalCounts, JournalStore, JournalWriter
from asyncgg.models import Reply, RunState, ThingState
from asyncgg.ratelimit import Ramp

_SKIP_CHUNK: Final = 1000
_SAVE_INTERVAL: Final = 1.0
"""Seconds between two writes of the elapsed time."""


class RunRecorder:
    """Records one start of a run. Outcomes are emitted after their commit."""

    def __init__(
        self, journal: JournalWriter, session: WorkSession, abort_rules: AbortRules, ramp: Ramp | None = None
    ) -> None:
        self._journal = journal
        self._session = session
        self._abort_rules = abort_rules
        self._ramp = ramp
        self._clock = asyncio.get_running_loop().time
        self._started = self._saved = self._clock()
        self._earlier_seconds = 0.0
        self._recorded_rate = session.lane.last_change
        self._skipped_cores: dict[int, tuple[ThingState, str, str, int]] = {}
        self.initial_counts = JournalCounts(0, 0, 0, 0, 0, 0)
        """The journal's counts at this start."""
        self.done = self.failed = self.already = self.sent = self.throttled = self.retried = 0
        """Counts of this start."""

    @property
    def seconds(self) -> float:
        """Seconds since this start."""
        return self._clock() - self._started

    @property
    def pending(self) -> int:
        """Things without a final outcome."""
        return self.initial_counts.pending - self.done - self.failed - self.already

    def start(self) -> None:
        """Count the time of the run from now on."""
        self._started = self._saved = self._clock()

    async def load(self) -> tuple[str, list[CoreQueue]]:
        """Mark the run as running; return its id and the pending work."""

        change = self._recorded_rate

        def load(store: JournalStore) -> tuple[str, JournalCounts, float, list[CoreQueue]]:
            store.record_rate(time.time(), change.new, change.reason.value)
            # Without the reason and the lost notifications of an earlier end.
            store.put(state=RunState.RUNNING, reason="", lost_notifications="[]", seconds_at=time.time())
            return store.get("run"), store.counts(), float(store.get("seconds", "0")), list(store.pending_cores())

        run_id, self.initial_counts, self._earlier_seconds, queues = await self._journal.submit(load)
        return run_id, queues

    def record_batch(self, batch: Batch, result: BatchResult, reply: Reply, seconds: float) -> None:
        """Record the result of a request that took `seconds`."""
        record = replies.to_record(reply, result, time.time(), seconds)
        change = self._session.lane.last_change
        rate_changed, self._recorded_rate = change is not self._recorded_rate, change

        def work(store: JournalStore) -> None:
            store.record_batch(batch, result, record)
            if rate_changed:
                store.record_rate(record.answered_at, change.new, change.reason.value)

        requeued = result.requeued + sum(part[2] for part in result.split)
        failed = sum(override.state is ThingState.FAILED for override in result.overrides)
        already = sum(override.state is ThingState.ALREADY for override in result.overrides)
        done = len(batch.ids) - requeued - failed - already
        counts = (done, already, failed, requeued)
        self._journal.submit_nowait(work, partial(self._on_committed, batch, result, counts))
        self._count(done, failed, already)
        self._save_elapsed()

    async def skip_core(self, queue: CoreQueue, batch: Batch, result: BatchResult, reply: Reply) -> None:
        """Give the pending things of a missing or denied core the outcome of `batch`.

        Also called for requeued things of a batch that was in flight when the core was skipped.
        """
        if result.skips_core:
            self._skipped_cores.setdefault(queue.id, (result.state, *code_and_message(reply), batch.request))
        state, code, message, request = self._skipped_cores[queue.id]
        done = state is ThingState.ALREADY
        things = 0
        while True:
            outcomes = await self._journal.submit(
                lambda store: store.apply_outcome_to_pending(queue, state, code, message, request, _SKIP_CHUNK),
                retry_individually=True,
            )
            things += len(outcomes)
            self._count(0, 0 if done else len(outcomes), len(outcomes) if done else 0)
            if outcomes:
                self._session.emit(ThingsFinished(tuple(outcomes)))
            if len(outcomes) < _SKIP_CHUNK:
                break
        if result.skips_core:
            self._session.emit(CoreSkipped(queue.name, code, message, things + len(batch.ids), counts_as_done=done))

    def is_core_skipped(self, queue: CoreQueue) -> bool:
        """Whether this core was skipped."""
        return queue.id in self._skipped_cores

    async def release_unsent(self, unsent: list[Batch]) -> JournalCounts:
        """Release claimed batches that were not sent; return the final counts."""

        def release(store: JournalStore) -> JournalCounts:
            for batch in unsent:
                store.release(batch)
            return store.counts()

        return await self._journal.submit(release)

    async def record_end(self, state: RunState, reason: str) -> None:
        """Record how the run ended."""
        seconds = self._total_seconds()
        await self._journal.submit(
            lambda store: store.put(state=state, reason=reason, seconds=seconds), retry_individually=True
        )

    def interrupt(self, in_flight: list[Batch]) -> None:
        """Leave the journal resumable after a cancellation or an error, without waiting."""
        seconds = self._total_seconds()

        def mark_interrupted(store: JournalStore) -> None:
            store.mark_interrupted(in_flight)
            store.put(state=RunState.INTERRUPTED, reason="interrupted", seconds=seconds)

        self._journal.submit(mark_interrupted, retry_individually=True).add_done_callback(_ignore_result)

    def _on_committed(
        self, batch: Batch, result: BatchResult, counts: tuple[int, int, int, int], error: BaseException | None
    ) -> None:
        if error is not None:
            self._session.fail(error)
            return
        if self._session.has_listeners(ThingsFinished):
            outcomes = tuple(result.outcomes(batch))
            if outcomes:
                self._session.emit(ThingsFinished(outcomes))
        if self._session.has_listeners(BatchFinished):
            self._session.emit(BatchFinished(batch.request, batch.core, *counts))

    def _count(self, done: int, failed: int, already: int) -> None:
        self.done += done
        self.failed += failed
        self.already += already
        if self._ramp is not None:
            self._ramp.record_success(done + already)
        if done or failed:
            self._session.stop(self._abort_rules.record_outcomes(done, failed))

    def _save_elapsed(self) -> None:
        now = self._clock()
        if now - self._saved >= _SAVE_INTERVAL:
            self._saved = now
            seconds, at = self._total_seconds(), time.time()
            # With the next commit: each lane of a campaign would have one more every second. An error
            # of that commit is reported by the others in it.
            self._journal.submit_nowait(lambda store: store.put(seconds=seconds, seconds_at=at), lambda error: None)

    def _total_seconds(self) -> float:
        return round(self._earlier_seconds + self.seconds, 3)


def _ignore_result(future: asyncio.Future[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        future.exception()
