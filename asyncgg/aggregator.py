"""Rule: from one batch and its reply to the fate of every thing in it: one pure function, nothing forgotten.

Every thing of the batch is either finished (done, failed) or goes back to the queue. `Settlement` says so as
one mark for the whole batch and the deviations from it, which is also how the journal writes it down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from asyncgg.backoff import RetryPolicy
from asyncgg.classify import CodeTable, EntryAction, Verdict, code_and_message
from asyncgg.model import Accepted, EntryError, Outcome, Refused, Reply, ThingState

__all__ = ["Batch", "Deviation", "Settlement", "settle"]

_BACK = ThingState.PENDING
_DONE = ThingState.DISASSOCIATED
_FAILED = ThingState.FAILED


@dataclass(frozen=True, slots=True)
class Batch:
    """Claimed things of one core, as the journal gave them; they run side by side, ids ascending."""

    request: int
    """The claim's number in the journal."""
    core: str
    ids: Sequence[int]
    things: tuple[str, ...]
    attempts: tuple[int, ...]
    """Counted requests before this one."""
    ambiguous: tuple[bool, ...]
    """Whether an earlier request for the thing may have been applied without a clear answer."""
    again: bool = False
    """Whether it carries a thing that was sent before, in this pass or an earlier one."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """A thing of a batch whose fate differs from the batch's."""

    index: int
    state: ThingState
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of a batch."""

    verdict: Verdict
    state: ThingState
    """Of every thing without an deviation."""
    counted: bool
    """Whether this request counts as an attempt of its things."""
    ambiguous: bool = False
    """Whether the request may have been applied to the things that go back."""
    deviations: tuple[Deviation, ...] = ()
    returned: int = 0
    """How many things go back to the queue."""
    delay: float = 0.0
    """Seconds until they may be sent again."""
    parts: tuple[tuple[int, int, int], ...] = ()
    """When the batch is split: (lowest id, highest id, things) of each part; they go back without a delay."""
    gives_up_core: bool = False
    """Whether the core's other pending things get this batch's state and code without another request."""

    def outcomes(self, batch: Batch) -> Iterator[Outcome]:
        """The final outcomes among the batch's things."""
        odd = {deviation.index: deviation for deviation in self.deviations}
        for index, thing in enumerate(batch.things):
            deviation = odd.get(index)
            state = deviation.state if deviation else self.state
            if state is _DONE or state is _FAILED:
                code, message = (deviation.code, deviation.message) if deviation else ("", "")
                yield Outcome(batch.core, thing, state, code, message, batch.attempts[index] + self.counted)


_ALL_DONE: Final = Settlement(Verdict.ACCEPTED, _DONE, counted=True)


def settle(batch: Batch, reply: Reply, verdict: Verdict, table: CodeTable, retry: RetryPolicy) -> Settlement:
    """The fate of every thing of `batch`, given the `reply` and its `verdict` (see `asyncgg.classify`)."""
    match verdict:
        case Verdict.ACCEPTED:
            assert isinstance(reply, Accepted)
            return _accepted(batch, reply, table, retry)
        case Verdict.LOST | Verdict.TRANSIENT:
            return _tried_in_vain(batch, reply, verdict, retry)
        case Verdict.INVALID if len(batch.ids) > 1:
            return _halved(batch)
        case Verdict.THING_NAMED:
            return _all_but_one(batch, reply, table)
        case Verdict.CORE_MISSING | Verdict.CORE_DENIED | Verdict.CORE_INVALID:
            gone = verdict is Verdict.CORE_MISSING and table.missing_is_gone
            return _all_alike(batch, reply, verdict, _DONE if gone else _FAILED, gives_up_core=True)
        case Verdict.INVALID | Verdict.REFUSED:
            return _all_alike(batch, reply, verdict, _FAILED)
        case Verdict.THROTTLED | Verdict.NOT_SENT:
            delay = retry.delay(1, _retry_after(reply))
            return Settlement(verdict, _BACK, counted=False, returned=len(batch.ids), delay=delay)
        case Verdict.CREDENTIALS_EXPIRED | Verdict.CREDENTIALS_REJECTED:
            return Settlement(verdict, _BACK, counted=False, returned=len(batch.ids))


def _accepted(batch: Batch, reply: Accepted, table: CodeTable, retry: RetryPolicy) -> Settlement:
    if not reply.errors:
        return _ALL_DONE
    place = {thing: index for index, thing in enumerate(batch.things)}
    deviations: dict[int, Deviation] = {}
    tried_most = 0
    for error in reply.errors:
        index = place[error.thing]
        state = _entry_state(error, batch.attempts[index] + 1, batch.ambiguous[index], table, retry)
        deviations[index] = Deviation(index, state, error.code, error.message)
        if state is _BACK:
            tried_most = max(tried_most, batch.attempts[index] + 1)
    back = sum(deviation.state is _BACK for deviation in deviations.values())
    return Settlement(
        Verdict.ACCEPTED,
        _DONE,
        counted=True,
        deviations=tuple(deviations.values()),
        returned=back,
        delay=retry.delay(tried_most) if back else 0.0,
    )


def _entry_state(error: EntryError, attempts: int, ambiguous: bool, table: CodeTable, retry: RetryPolicy) -> ThingState:
    action = table.action(error.code)
    if action in {EntryAction.GONE, EntryAction.ALREADY} or (ambiguous and table.proves_done(error.code)):
        return _DONE
    if action is EntryAction.RETRY or action is EntryAction.UNKNOWN:
        return _FAILED if retry.exhausted(attempts, unknown=action is EntryAction.UNKNOWN) else _BACK
    return _FAILED


def _tried_in_vain(batch: Batch, reply: Reply, verdict: Verdict, retry: RetryPolicy) -> Settlement:
    code, message = code_and_message(reply)
    deviations = tuple(
        Deviation(index, _FAILED, code, message)
        for index, attempts in enumerate(batch.attempts)
        if retry.exhausted(attempts + 1)
    )
    returned = len(batch.ids) - len(deviations)
    delay = retry.delay(max(batch.attempts) + 1, _retry_after(reply)) if returned else 0.0
    return Settlement(
        verdict, _BACK, counted=True, ambiguous=True, deviations=deviations, returned=returned, delay=delay
    )


def _halved(batch: Batch) -> Settlement:
    middle = len(batch.ids) // 2
    parts = (
        (batch.ids[0], batch.ids[middle - 1], middle),
        (batch.ids[middle], batch.ids[-1], len(batch.ids) - middle),
    )
    return Settlement(Verdict.INVALID, _BACK, counted=False, parts=parts)


def _all_but_one(batch: Batch, reply: Reply, table: CodeTable) -> Settlement:
    assert isinstance(reply, Refused)
    index = batch.things.index(reply.resource_id)
    believed = batch.ambiguous[index] or table.missing_is_gone
    state = _DONE if believed and table.proves_done(reply.code) else _FAILED
    return Settlement(
        Verdict.THING_NAMED,
        _BACK,
        counted=False,
        deviations=(Deviation(index, state, reply.code, reply.message),),
        returned=len(batch.ids) - 1,
    )


def _all_alike(
    batch: Batch, reply: Reply, verdict: Verdict, state: ThingState, *, gives_up_core: bool = False
) -> Settlement:
    code, message = code_and_message(reply)
    deviations = tuple(Deviation(index, state, code, message) for index in range(len(batch.ids)))
    return Settlement(verdict, state, counted=True, deviations=deviations, gives_up_core=gives_up_core)


def _retry_after(reply: Reply) -> float | None:
    return reply.retry_after if isinstance(reply, Refused) else None
