"""Rule: what came of every batch goes through here into the journal, the counts and the events, in this order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import Final

from asyncgg.aggregator import Batch, Settlement
from asyncgg.batching import CoreWork
from asyncgg.classify import code_and_message
from asyncgg.engine import replies
from asyncgg.engine.control import Control
from asyncgg.engine.guards import Guards
from asyncgg.events import CoreGivenUp, ThingsFinished
from asyncgg.journal import Counts, Journal, Store
from asyncgg.model import Reply, RunState, ThingState
from asyncgg.ratelimit import Ramp

__all__ = ["Ledger"]

_GIVE_UP_CHUNK: Final = 1000
_SAVE_SECONDS: Final = 1.0
"""How often the running time is written to the journal."""


class Ledger:
    """The books of one start."""

    def __init__(self, journal: Journal, control: Control, guards: Guards, ramp: Ramp | None = None) -> None:
        self._journal = journal
        self._control = control
        self._guards = guards
        self._ramp = ramp
        self._clock = asyncio.get_running_loop().time
        self._started = self._saved = self._clock()
        self._earlier_seconds = 0.0
        self._given_up: dict[int, tuple[ThingState, str, str, int]] = {}
        self.before = Counts(0, 0, 0, 0, 0, 0)
        """As this start found the journal."""
        self.done = self.failed = self.sent = self.throttled = self.retried = 0
        """Of this start."""

    @property
    def seconds(self) -> float:
        """Since this start."""
        return self._clock() - self._started

    @property
    def pending(self) -> int:
        """Things without a final outcome."""
        return self.before.pending - self.done - self.failed

    async def open(self) -> tuple[str, list[CoreWork]]:
        """Mark the run as running; its id and the work there is."""

        def load(store: Store) -> tuple[str, Counts, float, list[CoreWork]]:
            store.put(state=RunState.RUNNING, reason="")  # the reason of an earlier end is none of this start
            return store.get("run"), store.counts(), float(store.get("seconds", "0")), list(store.work())

        run, self.before, self._earlier_seconds, works = await self._journal.call(load)
        return run, works

    def settle(self, batch: Batch, settlement: Settlement, reply: Reply, seconds: float) -> None:
        """Hand the outcome, which took `seconds`, to the journal; count it; listeners learn of it once committed."""
        answer = replies.answer(reply, settlement, time.time(), seconds)
        self._journal.post(
            lambda store: store.settle(batch, settlement, answer), partial(self._committed, batch, settlement)
        )
        finished = len(batch.ids) - settlement.returned - sum(part[2] for part in settlement.parts)
        failed = sum(odd.state is ThingState.FAILED for odd in settlement.deviations)
        self._count(finished - failed, failed)
        self._save_time()

    async def give_up(self, work: CoreWork, batch: Batch, settlement: Settlement, reply: Reply) -> None:
        """Give the pending things of a missing or denied core its outcome, without another request.

        Also for a batch that was in flight when the core was given up, and whose things came back since.
        """
        if settlement.gives_up_core:
            self._given_up.setdefault(work.id, (settlement.state, *code_and_message(reply), batch.request))
        state, code, message, request = self._given_up[work.id]
        done = state is ThingState.DISASSOCIATED
        things = 0
        while True:
            outcomes = await self._journal.call(
                lambda store: store.decide_pending(work, state, code, message, request, _GIVE_UP_CHUNK), keep=True
            )
            things += len(outcomes)
            self._count(len(outcomes) if done else 0, 0 if done else len(outcomes))
            if outcomes:
                self._control.emit(ThingsFinished(tuple(outcomes)))
            if len(outcomes) < _GIVE_UP_CHUNK:
                break
        if settlement.gives_up_core:
            self._control.emit(CoreGivenUp(work.name, code, message, things + len(batch.ids), gone=done))

    def given_up(self, work: CoreWork) -> bool:
        """Whether this core was given up."""
        return work.id in self._given_up

    async def close(self, unsent: list[Batch]) -> Counts:
        """Release what was claimed and not sent; the final counts. Everything handed over before is committed then."""

        def release(store: Store) -> Counts:
            for batch in unsent:
                store.release(batch)
            return store.counts()

        return await self._journal.call(release)

    async def write_end(self, state: RunState, reason: str) -> None:
        """Write how the run ended."""
        seconds = self._total_seconds()
        await self._journal.call(lambda store: store.put(state=state, reason=reason, seconds=seconds), keep=True)

    def abandon(self, in_flight: list[Batch]) -> None:
        """Cancelled, or broken: leave the journal resumable without waiting for anything."""
        seconds = self._total_seconds()

        def leave(store: Store) -> None:
            store.abandon(in_flight)
            store.put(state=RunState.INTERRUPTED, reason="it was cut off", seconds=seconds)

        self._journal.call(leave, keep=True).add_done_callback(_forget)

    def _committed(self, batch: Batch, settlement: Settlement, error: BaseException | None) -> None:
        if error is not None:
            self._control.fail(error)
        elif self._control.heard:
            outcomes = tuple(settlement.outcomes(batch))
            if outcomes:
                self._control.emit(ThingsFinished(outcomes))

    def _count(self, done: int, failed: int) -> None:
        self.done += done
        self.failed += failed
        if self._ramp is not None:
            self._ramp.succeeded(done)
        if (done or failed) and (stop := self._guards.finished(done, failed)):
            self._control.stop_for(stop)

    def _save_time(self) -> None:
        now = self._clock()
        if now - self._saved >= _SAVE_SECONDS:
            self._saved = now
            seconds = self._total_seconds()
            self._journal.call(lambda store: store.put(seconds=seconds)).add_done_callback(_forget)

    def _total_seconds(self) -> float:
        return round(self._earlier_seconds + self.seconds, 3)


def _forget(future: asyncio.Future[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        future.exception()
