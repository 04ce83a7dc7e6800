"""Why a run sends nothing while its last things wait for their next attempt (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from asyncgg.aggregator import Batch, BatchResult
from asyncgg.batching import CoreQueue
from asyncgg.classify import CodeTable, EntryAction, code_and_message
from asyncgg.journal import RetryWait
from asyncgg.models import Reply, ThingState
from asyncgg.retry_policy import RetryPolicy


def note_requeued(
    queue: CoreQueue, batch: Batch, result: BatchResult, reply: Reply, codes: CodeTable, retry: RetryPolicy
) -> None:
    """Keep in `queue` why things of `batch` are sent again, and how often that can still happen."""
    overrides = {override.index: override for override in result.overrides}
    requeued = [
        index
        for index in range(len(batch.ids))
        if (overrides[index].state if index in overrides else result.state) is ThingState.PENDING
    ]
    attempts = min((batch.attempts[index] for index in requeued), default=0) + result.counts_as_attempt
    queue.attempts = min(queue.attempts, attempts) if queue.requeued else attempts
    codes_of_things = [overrides[index].code for index in requeued if index in overrides]
    queue.last_code = codes_of_things[0] if codes_of_things else code_and_message(reply)[0]
    is_unknown = bool(codes_of_things) and all(codes.action(code) is EntryAction.UNKNOWN for code in codes_of_things)
    limit = min(retry.max_attempts, retry.max_attempts_unknown) if is_unknown else retry.max_attempts
    queue.attempt_limit = limit if result.counts_as_attempt else None


def describe_wait(queues: Sequence[CoreQueue], retry: RetryPolicy, now: float, at: float) -> RetryWait | None:
    """The wait of `queues`, which all wait; None without any. `now` is the loop time of the Unix time `at`."""
    if not queues:
        return None
    first = min(queues, key=lambda queue: queue.attempts)
    codes = {queue.last_code for queue in queues}
    ends_in = [
        queue.retry_at - now + retry.longest_wait(queue.attempts, queue.attempt_limit)
        for queue in queues
        if queue.attempt_limit is not None
    ]
    return RetryWait(
        at=at,
        things=sum(queue.requeued for queue in queues),
        cores=len(queues),
        code=codes.pop() if len(codes) == 1 else "",
        attempt=first.attempts + 1,
        max_attempts=first.attempt_limit or retry.max_attempts,
        next_in=max(0.0, min(queue.retry_at for queue in queues) - now),
        last_in=max(0.0, max(queue.retry_at for queue in queues) - now),
        ends_in=max(ends_in) if len(ends_in) == len(queues) else None,
    )
