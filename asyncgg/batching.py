"""Rule: which batch is next is decided here and nowhere else: pure bookkeeping over cores, without I/O or clock.

The journal keeps a core's things as one ascending range of ids. A *wave* goes once over that range, so far up to
`cursor`. Things that come back for another try are counted in `returned` and wait until the wave is over, its requests
are answered and their backoff is due. Then the next wave packs them together: a hundred things that failed one by one
in a hundred requests go out again in a single one.

Cores take turns, so that one slow core does not hold the others up, and each has at most `per_core` requests in flight.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from asyncgg.models import MAX_BATCH

__all__ = ["BatchScheduler", "Claim", "CoreQueue", "requests_needed", "take_first"]


def requests_needed(things: int, max_batch: int = MAX_BATCH) -> int:
    """The fewest requests that carry `things` things of one core, `largest` in each."""
    return -(-things // max_batch)


def take_first(queues: Sequence[CoreQueue], things: int) -> list[CoreQueue]:
    """Of `queues` no more than `things` things, in their order: what one start is to try out."""
    selected = []
    for queue in queues:
        if things <= 0:
            break
        queue.unsent = min(queue.unsent, things)
        things -= queue.unsent
        selected.append(queue)
    return selected


@dataclass(slots=True, eq=False)
class CoreQueue:
    """What is left to do for one core. Equal only to itself: the line is searched for it by identity."""

    id: int
    name: str
    first: int
    """Lowest id of its things."""
    last: int
    """Highest id of its things."""
    unsent: int
    """Things still to be claimed in this wave: the pending ones with ids above `cursor`."""
    cursor: int = field(init=False)
    requeued: int = 0
    """Things that wait for the next wave."""
    retry_at: float = 0.0
    """Loop time before which the next wave does not begin."""
    in_flight: int = 0
    splits: deque[tuple[int, int, int]] = field(default_factory=deque)
    """Parts of refused batches to be sent on their own: (lowest id, highest id, things)."""
    is_queued: bool = False
    """Whether it stands in the schedule's line."""
    is_waiting: bool = False
    """Whether it stands in the schedule's heap of cores that wait for their next wave."""
    skipped: bool = False

    def __post_init__(self) -> None:
        self.cursor = self.first - 1

    @property
    def remaining(self) -> int:
        """Things without a final outcome, those in flight not counted."""
        return self.unsent + self.requeued + sum(count for _, _, count in self.splits)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one batch: the first `limit` pending things of `work` with ids in `low..high`."""

    queue: CoreQueue
    low: int
    high: int
    limit: int


class BatchScheduler:
    """The line of cores with work, at most `per_core` requests for one at a time, each of `largest` things at most.

    Times are the caller's loop time, in seconds.
    """

    def __init__(self, per_core: int, max_batch: int = MAX_BATCH) -> None:
        if per_core < 1:
            raise ValueError("per_core must be at least 1")
        self._per_core = per_core
        self._max_batch = min(max_batch, MAX_BATCH)
        self._ready: deque[CoreQueue] = deque()
        self._waiting: list[tuple[float, int, CoreQueue]] = []
        self._in_flight = 0
        self._requests_left = 0

    def add(self, queue: CoreQueue) -> None:
        """Take in a core with `fresh` pending things."""
        self._requests_left += self._requests_needed(queue.unsent)
        self._enqueue(queue)

    def next_claim(self, now: float) -> Claim | None:
        """The next claim, or None when nothing can be sent at `now`; see `next_retry_at` for when to ask again."""
        self._start_ready_waves(now)
        if not self._ready:
            return None
        queue = self._ready.popleft()
        queue.is_queued = False
        if queue.splits:
            low, high, limit = queue.splits.popleft()
        else:
            limit = min(self._max_batch, queue.unsent)
            low, high = queue.cursor + 1, queue.last
            queue.unsent -= limit
        self._requests_left -= 1
        queue.in_flight += 1
        self._in_flight += 1
        self._enqueue(queue)
        return Claim(queue, low, high, limit)

    def advance_cursor(self, claim: Claim, highest: int) -> None:
        """Note the highest id the journal gave for `claim`: later claims of this wave begin after it."""
        claim.queue.cursor = max(claim.queue.cursor, highest)

    def complete(self, queue: CoreQueue, *, requeued: int = 0, retry_at: float = 0.0) -> None:
        """A claim of `work` is over; `returned` of its things are to be sent again, not before `due`."""
        queue.in_flight -= 1
        self._in_flight -= 1
        if requeued and not queue.skipped:
            self._requests_left += self._requests_needed(queue.requeued + requeued) - self._requests_needed(
                queue.requeued
            )
            queue.requeued += requeued
            queue.retry_at = max(queue.retry_at, retry_at)
        self._enqueue(queue)

    def split(self, queue: CoreQueue, parts: list[tuple[int, int, int]]) -> None:
        """A claim of `work` is over; its things go out again as `parts`, before anything else of that core."""
        queue.in_flight -= 1
        self._in_flight -= 1
        if not queue.skipped:
            self._requests_left += len(parts)
            queue.splits.extend(parts)
        self._enqueue(queue)

    def skip(self, queue: CoreQueue) -> None:
        """Nothing more of this core is to be claimed."""
        self._requests_left -= (
            self._requests_needed(queue.unsent) + self._requests_needed(queue.requeued) + len(queue.splits)
        )
        queue.skipped = True
        queue.unsent = queue.requeued = 0
        queue.splits.clear()
        if queue.is_queued:
            self._ready.remove(queue)
            queue.is_queued = False
        if queue.is_waiting:
            self._waiting = [entry for entry in self._waiting if entry[2] is not queue]
            heapq.heapify(self._waiting)
            queue.is_waiting = False

    @property
    def is_done(self) -> bool:
        """Whether nothing is in flight and nothing is left to claim, now or later."""
        return not self._in_flight and not self._ready and not self._waiting

    @property
    def requests_left(self) -> int:
        """Requests that are still to be claimed, if nothing more fails."""
        return self._requests_left

    def next_retry_at(self) -> float | None:
        """Loop time at which a waiting core's next wave may begin; None when no core waits."""
        return self._waiting[0][0] if self._waiting else None

    def latest_retry_at(self) -> float | None:
        """Loop time at which the last of the waiting cores may go on; None when no core waits."""
        return max(self._waiting)[0] if self._waiting else None

    def _requests_needed(self, things: int) -> int:
        return requests_needed(things, self._max_batch)

    def _start_ready_waves(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            queue = heapq.heappop(self._waiting)[2]
            queue.is_waiting = False
            queue.unsent, queue.requeued, queue.retry_at = queue.requeued, 0, 0.0
            queue.cursor = queue.first - 1
            self._enqueue(queue)

    def _enqueue(self, queue: CoreQueue) -> None:
        if queue.skipped or queue.is_queued or queue.is_waiting:
            return
        if queue.splits or queue.unsent:
            if queue.in_flight < self._per_core:
                queue.is_queued = True
                self._ready.append(queue)
        elif queue.requeued and not queue.in_flight:
            queue.is_waiting = True
            heapq.heappush(self._waiting, (queue.retry_at, queue.id, queue))
