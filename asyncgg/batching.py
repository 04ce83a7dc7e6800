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

from asyncgg.model import MAX_BATCH

__all__ = ["Claim", "CoreWork", "Schedule", "first_of", "requests_needed"]


def requests_needed(things: int, largest: int = MAX_BATCH) -> int:
    """The fewest requests that carry `things` things of one core, `largest` in each."""
    return -(-things // largest)


def first_of(works: Sequence[CoreWork], things: int) -> list[CoreWork]:
    """Of `works` no more than `things` things, in their order: what one start is to try out."""
    chosen = []
    for work in works:
        if things <= 0:
            break
        work.fresh = min(work.fresh, things)
        things -= work.fresh
        chosen.append(work)
    return chosen


@dataclass(slots=True, eq=False)
class CoreWork:
    """What is left to do for one core. Equal only to itself: the line is searched for it by identity."""

    id: int
    name: str
    first: int
    """Lowest id of its things."""
    last: int
    """Highest id of its things."""
    fresh: int
    """Things still to be claimed in this wave: the pending ones with ids above `cursor`."""
    cursor: int = field(init=False)
    returned: int = 0
    """Things that wait for the next wave."""
    due: float = 0.0
    """Loop time before which the next wave does not begin."""
    in_flight: int = 0
    splits: deque[tuple[int, int, int]] = field(default_factory=deque)
    """Parts of refused batches to be sent on their own: (lowest id, highest id, things)."""
    listed: bool = False
    """Whether it stands in the schedule's line."""
    waiting: bool = False
    """Whether it stands in the schedule's heap of cores that wait for their next wave."""
    given_up: bool = False

    def __post_init__(self) -> None:
        self.cursor = self.first - 1

    @property
    def left(self) -> int:
        """Things without a final outcome, those in flight not counted."""
        return self.fresh + self.returned + sum(count for _, _, count in self.splits)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one batch: the first `limit` pending things of `work` with ids in `low..high`."""

    work: CoreWork
    low: int
    high: int
    limit: int


class Schedule:
    """The line of cores with work, at most `per_core` requests for one at a time, each of `largest` things at most.

    Times are the caller's loop time, in seconds.
    """

    def __init__(self, per_core: int, largest: int = MAX_BATCH) -> None:
        if per_core < 1:
            raise ValueError("per_core must be at least 1")
        self._per_core = per_core
        self._largest = min(largest, MAX_BATCH)
        self._line: deque[CoreWork] = deque()
        self._later: list[tuple[float, int, CoreWork]] = []
        self._busy = 0
        self._requests = 0

    def add(self, work: CoreWork) -> None:
        """Take in a core with `fresh` pending things."""
        self._requests += self._needed(work.fresh)
        self._enlist(work)

    def take(self, now: float) -> Claim | None:
        """The next claim, or None when nothing can be sent at `now`; see `next_due` for when to ask again."""
        self._begin_waves(now)
        if not self._line:
            return None
        work = self._line.popleft()
        work.listed = False
        if work.splits:
            low, high, limit = work.splits.popleft()
        else:
            limit = min(self._largest, work.fresh)
            low, high = work.cursor + 1, work.last
            work.fresh -= limit
        self._requests -= 1
        work.in_flight += 1
        self._busy += 1
        self._enlist(work)
        return Claim(work, low, high, limit)

    def claimed(self, claim: Claim, highest: int) -> None:
        """Note the highest id the journal gave for `claim`: later claims of this wave begin after it."""
        claim.work.cursor = max(claim.work.cursor, highest)

    def settle(self, work: CoreWork, *, returned: int = 0, due: float = 0.0) -> None:
        """A claim of `work` is over; `returned` of its things are to be sent again, not before `due`."""
        work.in_flight -= 1
        self._busy -= 1
        if returned and not work.given_up:
            self._requests += self._needed(work.returned + returned) - self._needed(work.returned)
            work.returned += returned
            work.due = max(work.due, due)
        self._enlist(work)

    def split(self, work: CoreWork, parts: list[tuple[int, int, int]]) -> None:
        """A claim of `work` is over; its things go out again as `parts`, before anything else of that core."""
        work.in_flight -= 1
        self._busy -= 1
        if not work.given_up:
            self._requests += len(parts)
            work.splits.extend(parts)
        self._enlist(work)

    def give_up(self, work: CoreWork) -> None:
        """Nothing more of this core is to be claimed."""
        self._requests -= self._needed(work.fresh) + self._needed(work.returned) + len(work.splits)
        work.given_up = True
        work.fresh = work.returned = 0
        work.splits.clear()
        if work.listed:
            self._line.remove(work)
            work.listed = False
        if work.waiting:
            self._later = [entry for entry in self._later if entry[2] is not work]
            heapq.heapify(self._later)
            work.waiting = False

    @property
    def exhausted(self) -> bool:
        """Whether nothing is in flight and nothing is left to claim, now or later."""
        return not self._busy and not self._line and not self._later

    @property
    def requests_left(self) -> int:
        """Requests that are still to be claimed, if nothing more fails."""
        return self._requests

    def next_due(self) -> float | None:
        """Loop time at which a waiting core's next wave may begin; None when no core waits."""
        return self._later[0][0] if self._later else None

    def last_due(self) -> float | None:
        """Loop time at which the last of the waiting cores may go on; None when no core waits."""
        return max(self._later)[0] if self._later else None

    def _needed(self, things: int) -> int:
        return requests_needed(things, self._largest)

    def _begin_waves(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            work = heapq.heappop(self._later)[2]
            work.waiting = False
            work.fresh, work.returned, work.due = work.returned, 0, 0.0
            work.cursor = work.first - 1
            self._enlist(work)

    def _enlist(self, work: CoreWork) -> None:
        if work.given_up or work.listed or work.waiting:
            return
        if work.splits or work.fresh:
            if work.in_flight < self._per_core:
                work.listed = True
                self._line.append(work)
        elif work.returned and not work.in_flight:
            work.waiting = True
            heapq.heappush(self._later, (work.due, work.id, work))
