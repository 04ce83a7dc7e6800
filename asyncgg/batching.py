"""The scheduler: which batch is sent next."""

# The journal keeps a core's things as one ascending range of ids. A wave is one pass over this
# range, up to `cursor` so far. Things to be sent again are counted in `requeued` until the wave has
# ended, its requests have replies and the backoff has passed. The next wave packs them together: a
# hundred things that failed in a hundred requests are sent again in one. Cores take turns, so that
# a slow core does not delay the others.

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from asyncgg.models import MAX_BATCH

T = TypeVar("T")

_GOLDEN_RATIO: Final = (5**0.5 - 1) / 2
_MIN_SPREAD: Final = 10
"""A list of up to this many items keeps its order."""


def requests_needed(things: int, max_batch: int = MAX_BATCH) -> int:
    """The minimum number of requests for `things` things of one core."""
    return -(-things // max_batch)


def spread(items: Sequence[T]) -> list[T]:
    """`items` in an order of which every part is spread evenly over the whole list."""
    if len(items) <= _MIN_SPREAD:
        return list(items)
    order = sorted(range(len(items)), key=lambda index: index * _GOLDEN_RATIO % 1)
    return [items[index] for index in order]


def take_first(queues: Sequence[CoreQueue], things: int) -> list[CoreQueue]:
    """The first `things` things of `queues`, in order."""
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
    """The remaining work of one core. Compared by identity."""

    id: int
    name: str
    first: int
    """Lowest thing id."""
    last: int
    """Highest thing id."""
    unsent: int
    """Things to be claimed in this wave: the pending ones with ids above `cursor`."""
    cursor: int = field(init=False)
    requeued: int = 0
    """Things that wait for the next wave."""
    retry_at: float = 0.0
    """Loop time at which the next wave can start."""
    in_flight: int = 0
    splits: deque[tuple[int, int, int]] = field(default_factory=deque)
    """Parts of invalid batches to be sent separately: (lowest id, highest id, things)."""
    is_queued: bool = False
    """Whether the core is in the scheduler's ready queue."""
    is_waiting: bool = False
    """Whether the core is in the scheduler's heap of cores that wait for their next wave."""
    skipped: bool = False
    accepted: bool = False
    """Whether a request was accepted in this start."""
    failing_since: float | None = None
    """Loop time at which the first failed request was sent whose things are still to be sent."""
    throttles: int = 0
    """How many of its latest requests were throttled."""
    last_code: str = ""
    """Why its things are to be sent again."""
    attempts: int = 0
    """The fewest attempts of these things."""
    attempt_limit: int | None = None
    """Attempts after which they fail; None if their last requests did not count."""

    def __post_init__(self) -> None:
        self.cursor = self.first - 1

    @property
    def remaining(self) -> int:
        """Things without a final outcome, except those in flight."""
        return self.unsent + self.requeued + sum(count for _, _, count in self.splits)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send a batch: the first `limit` pending things with ids in `low..high`."""

    queue: CoreQueue
    low: int
    high: int
    limit: int


class BatchScheduler:
    """Cores with work. `per_core`: maximum requests in flight per core.

    Times are the caller's loop time in seconds.
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
        """Add a core with `unsent` pending things."""
        self._requests_left += self._requests_needed(queue.unsent)
        self._enqueue(queue)

    def next_claim(self, now: float) -> Claim | None:
        """The next claim; None if nothing can be sent at `now` (see `next_retry_at`)."""
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
        """Set the highest id of `claim`; later claims of this wave start after it."""
        claim.queue.cursor = max(claim.queue.cursor, highest)

    def complete(self, queue: CoreQueue, *, requeued: int = 0, retry_at: float = 0.0) -> None:
        """End a claim; `requeued` of its things are to be sent again, not before `retry_at`."""
        queue.in_flight -= 1
        self._in_flight -= 1
        if requeued and not queue.skipped:
            self._requests_left += self._requests_needed(queue.requeued + requeued) - self._requests_needed(
                queue.requeued
            )
            queue.requeued += requeued
            queue.retry_at = max(queue.retry_at, retry_at)
        if not queue.requeued and not queue.in_flight:
            queue.failing_since = None
        self._enqueue(queue)

    def split(self, queue: CoreQueue, parts: list[tuple[int, int, int]]) -> None:
        """End a claim; its things are sent again as `parts`, before other things of that core."""
        queue.in_flight -= 1
        self._in_flight -= 1
        if not queue.skipped:
            self._requests_left += len(parts)
            queue.splits.extend(parts)
        self._enqueue(queue)

    def skip(self, queue: CoreQueue) -> None:
        """Claim nothing more of this core."""
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
        """Whether nothing is in flight and nothing remains to be claimed."""
        return not self._in_flight and not self._ready and not self._waiting

    @property
    def requests_left(self) -> int:
        """Requests still to be claimed if no further request fails."""
        return self._requests_left

    def next_retry_at(self) -> float | None:
        """Loop time at which the first waiting core can continue; None if no core waits."""
        return self._waiting[0][0] if self._waiting else None

    def waiting_cores(self) -> list[CoreQueue]:
        """The cores that wait for their next wave, if all remaining ones do; else none."""
        return [] if self._in_flight or self._ready else [queue for _, _, queue in self._waiting]

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
