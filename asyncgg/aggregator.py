"""The outcome of every thing of a batch, from the reply to its request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from asyncgg.classify import CodeTable, EntryAction, ReplyVerdict, code_and_message
from asyncgg.models import Accepted, EntryError, ErrorResponse, Outcome, Reply, ThingState

if TYPE_CHECKING:
    from asyncgg.retry_policy import RetryPolicy  # imports tenacity: too slow for a reader of journals

_REQUEUE = ThingState.PENDING
_DONE = ThingState.DISASSOCIATED
_FAILED = ThingState.FAILED
_ALREADY = ThingState.ALREADY


@dataclass(frozen=True, slots=True)
class Batch:
    """Claimed things of one core. The sequences are parallel; ids ascend."""

    request: int
    """Number of the claim in the journal."""
    core: str
    ids: Sequence[int]
    things: tuple[str, ...]
    attempts: tuple[int, ...]
    """Attempts before this request."""
    ambiguous: tuple[bool, ...]
    """Whether an earlier request for the thing was possibly applied."""
    is_resend: bool = False
    """Whether a thing was sent before, in this pass or an earlier one."""


@dataclass(frozen=True, slots=True)
class ThingResult:
    """A thing whose result differs from that of its batch."""

    index: int
    state: ThingState
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of a batch: one state for all things, and overrides, as in the journal."""

    verdict: ReplyVerdict
    state: ThingState
    """State of every thing without an override; `PENDING` means requeued."""
    counts_as_attempt: bool
    """Whether the request counts as an attempt of its things."""
    ambiguous: bool = False
    """Whether the request was possibly applied to the requeued things."""
    overrides: tuple[ThingResult, ...] = ()
    requeued: int = 0
    """Number of requeued things."""
    delay: float = 0.0
    """Seconds until the requeued things can be sent again."""
    split: tuple[tuple[int, int, int], ...] = ()
    """The parts of a split batch, requeued without delay: (lowest id, highest id, things)."""
    skips_core: bool = False
    """Whether the core's other pending things get the same state and code without a request."""

    def outcomes(self, batch: Batch) -> Iterator[Outcome]:
        """The final outcomes of the batch's things."""
        overrides = {override.index: override for override in self.overrides}
        for index, thing in enumerate(batch.things):
            override = overrides.get(index)
            state = override.state if override else self.state
            if state.is_final:
                code, message = (override.code, override.message) if override else ("", "")
                yield Outcome(batch.core, thing, state, code, message, batch.attempts[index] + self.counts_as_attempt)


BLOCKED_RETRY: Final = 6
"""The step of the backoff of things whose requests alone are answered by something else."""
_ALL_SUCCEEDED: Final = BatchResult(ReplyVerdict.ACCEPTED, _DONE, counts_as_attempt=True)


def resolve_batch(
    batch: Batch, reply: Reply, verdict: ReplyVerdict, table: CodeTable, retry: RetryPolicy, *, particular: bool = True
) -> BatchResult:
    """The result of `batch` for a `reply` with this `verdict` (see `asyncgg.classify`).

    `particular`: other requests were answered meanwhile. In an outage a failure is no attempt.
    The caller decides when a throttled batch is sent again.
    """
    match verdict:
        case ReplyVerdict.ACCEPTED:
            assert isinstance(reply, Accepted)
            return _accepted(batch, reply, table, retry)
        case ReplyVerdict.LOST | ReplyVerdict.TRANSIENT:
            return _unknown_outcome(batch, reply, verdict, retry, particular=particular)
        case ReplyVerdict.FOREIGN:
            delay = retry.delay(BLOCKED_RETRY if particular else 1)
            return replace(undecided(batch, verdict), ambiguous=True, delay=delay)
        case ReplyVerdict.INVALID if len(batch.ids) > 1:
            return _bisected(batch)
        case ReplyVerdict.THING_NAMED:
            return _named_thing(batch, reply, table)
        case ReplyVerdict.CORE_MISSING | ReplyVerdict.CORE_DENIED | ReplyVerdict.CORE_INVALID:
            is_done = verdict is ReplyVerdict.CORE_MISSING and table.missing_cores_ok
            return _uniform(batch, reply, verdict, _ALREADY if is_done else _FAILED, skips_core=True)
        case ReplyVerdict.INVALID | ReplyVerdict.REFUSED:
            return _uniform(batch, reply, verdict, _FAILED)
        case ReplyVerdict.NOT_SENT:
            return replace(undecided(batch, verdict), delay=retry.delay(1, _retry_after(reply)))
        case ReplyVerdict.THROTTLED | ReplyVerdict.CREDENTIALS_EXPIRED | ReplyVerdict.CREDENTIALS_REJECTED:
            return undecided(batch, verdict)


def undecided(batch: Batch, verdict: ReplyVerdict) -> BatchResult:
    """The result of a batch whose things stay pending and lose no attempt."""
    return BatchResult(verdict, _REQUEUE, counts_as_attempt=False, requeued=len(batch.ids))


def _accepted(batch: Batch, reply: Accepted, table: CodeTable, retry: RetryPolicy) -> BatchResult:
    if not reply.errors:
        return _ALL_SUCCEEDED
    positions = {thing: index for index, thing in enumerate(batch.things)}
    overrides: dict[int, ThingResult] = {}
    most_attempts = 0
    for error in reply.errors:
        index = positions[error.thing]
        state = _entry_state(error, batch.attempts[index] + 1, batch.ambiguous[index], table, retry)
        overrides[index] = ThingResult(index, state, error.code, error.message)
        if state is _REQUEUE:
            most_attempts = max(most_attempts, batch.attempts[index] + 1)
    requeued = sum(override.state is _REQUEUE for override in overrides.values())
    return BatchResult(
        ReplyVerdict.ACCEPTED,
        _DONE,
        counts_as_attempt=True,
        overrides=tuple(overrides.values()),
        requeued=requeued,
        delay=retry.delay(most_attempts) if requeued else 0.0,
    )


def _entry_state(error: EntryError, attempts: int, ambiguous: bool, table: CodeTable, retry: RetryPolicy) -> ThingState:
    if table.is_done(error.code, ambiguous=ambiguous):
        return _ALREADY
    action = table.action(error.code)
    if action is EntryAction.RETRY or action is EntryAction.UNKNOWN:
        return _FAILED if retry.exhausted(attempts, unknown=action is EntryAction.UNKNOWN) else _REQUEUE
    return _FAILED


def _unknown_outcome(
    batch: Batch, reply: Reply, verdict: ReplyVerdict, retry: RetryPolicy, *, particular: bool
) -> BatchResult:
    code, message = code_and_message(reply)
    overrides = tuple(
        ThingResult(index, _FAILED, code, message)
        for index, attempts in enumerate(batch.attempts)
        if particular and retry.exhausted(attempts + 1)
    )
    requeued = len(batch.ids) - len(overrides)
    delay = retry.delay(max(batch.attempts) + 1, _retry_after(reply)) if requeued else 0.0
    return BatchResult(
        verdict,
        _REQUEUE,
        counts_as_attempt=particular,
        ambiguous=True,
        overrides=overrides,
        requeued=requeued,
        delay=delay,
    )


def _bisected(batch: Batch) -> BatchResult:
    middle = len(batch.ids) // 2
    parts = (
        (batch.ids[0], batch.ids[middle - 1], middle),
        (batch.ids[middle], batch.ids[-1], len(batch.ids) - middle),
    )
    return BatchResult(ReplyVerdict.INVALID, _REQUEUE, counts_as_attempt=False, split=parts)


def _named_thing(batch: Batch, reply: Reply, table: CodeTable) -> BatchResult:
    assert isinstance(reply, ErrorResponse)
    index = batch.things.index(reply.resource_id)
    state = _ALREADY if table.is_done(reply.code, ambiguous=batch.ambiguous[index]) else _FAILED
    return BatchResult(
        ReplyVerdict.THING_NAMED,
        _REQUEUE,
        counts_as_attempt=False,
        overrides=(ThingResult(index, state, reply.code, reply.message),),
        requeued=len(batch.ids) - 1,
    )


def _uniform(
    batch: Batch, reply: Reply, verdict: ReplyVerdict, state: ThingState, *, skips_core: bool = False
) -> BatchResult:
    code, message = code_and_message(reply)
    overrides = tuple(ThingResult(index, state, code, message) for index in range(len(batch.ids)))
    return BatchResult(verdict, state, counts_as_attempt=True, overrides=overrides, skips_core=skips_core)


def _retry_after(reply: Reply) -> float | None:
    return reply.retry_after if isinstance(reply, ErrorResponse) else None
