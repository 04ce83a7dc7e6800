"""Every change of a journal after its import, as calls within a transaction of the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from asyncgg.aggregator import Batch, BatchResult
from asyncgg.batching import Claim, CoreQueue
from asyncgg.errors import InternalError
from asyncgg.journal.queries import JournalQueries
from asyncgg.journal.retry_wait import RetryWait
from asyncgg.models import MAX_BATCH, Outcome, RunState, ThingState

_PENDING = int(ThingState.PENDING)
_CLAIMED = int(ThingState.CLAIMED)
_FAILED = int(ThingState.FAILED)
_DONE = int(ThingState.DISASSOCIATED)


@dataclass(frozen=True, slots=True)
class RecordedReply:
    """What the journal records of one reply."""

    answered_at: float
    """Seconds since 1970, UTC."""
    verdict: str
    status: int | None
    code: str
    aws_request_id: str
    sent_at: float | None = None
    """When the request was sent; None when unknown."""


_MAX_RATE_DECISIONS: Final = 4000
_Override = tuple[int, str, int, int, int]
"""A row of `override` and the thing's name: id, name, attempts, ambiguous, pass."""
# Sliced for each batch of unsent things, which is faster than building new tuples.
_ZEROS: Final = (0,) * MAX_BATCH
_NONE_AMBIGUOUS: Final = (False,) * MAX_BATCH


def _batch_with_overrides(
    number: int, core: str, rows: Sequence[_Override], ids: Sequence[int], things: tuple[str, ...]
) -> Batch:
    """A batch of things with overrides, which come first, and of unsent things."""
    override_ids, names, attempts, ambiguous, passes = zip(*rows, strict=True)
    is_resend = any(attempts) or any(ambiguous) or max(passes) > 1
    unsent_count = len(ids)
    return Batch(
        number,
        core,
        (*override_ids, *ids),
        (*names, *things),
        (*attempts, *_ZEROS[:unsent_count]),
        (*map(bool, ambiguous), *_NONE_AMBIGUOUS[:unsent_count]),
        is_resend,
    )


# A batch of unsent things is a range of ids: its claim inserts one row of `request`, its success
# updates that row. Every other change writes a row of `override` per thing. The things of a core
# that were never claimed are those above its high-water mark.
class JournalStore(JournalQueries):
    """The changes of a journal over an open connection. Raises `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        (last,) = self._execute("SELECT coalesce(max(id), 0) FROM request").fetchone()
        self._last_request: int = last
        row = self._execute("SELECT id FROM rate_decision ORDER BY at DESC LIMIT 1").fetchone()
        self._rate_decisions: int = row[0] + 1 if row else 0
        self._min_pass = int(self.get("min_pass", "1"))  # the lowest pass this start works on
        # Two caches: to query the file for every batch costs a third of a claim.
        self._claimed_up_to: dict[int, int] = {}  # high-water mark by core; cleared whenever one may shrink
        # May stay True after the last override is gone.
        self._has_overrides = self._execute("SELECT 1 FROM override LIMIT 1").fetchone() is not None

    # --- the run ---

    def recover(self) -> int:
        """Make the claims of a dead process pending and ambiguous; returns the number of things."""
        if self.get("state") == RunState.RUNNING:
            self.put(seconds=f"{self.seconds_until(None):.3f}", seconds_at=0)
        claimed = self._execute("SELECT id, things FROM request WHERE verdict IS NULL").fetchall()
        for number, _ in claimed:
            self._mark_ambiguous(number)
        return sum(things for _, things in claimed)

    def mark_possibly_sent(self) -> None:
        """Make everything pending in the passes of this start ambiguous: the file is an older copy."""
        self._execute("UPDATE override SET ambiguous = 1 WHERE state = 0 AND pass >= ?", (self._min_pass,))
        if self._min_pass > 1:  # a retry sends no unsent things
            return
        self._has_overrides = True
        for first, last in self._execute("SELECT first, last FROM core").fetchall():
            low = self.query_high_water_mark(first, last) + 1
            self._connection.executemany(
                "INSERT INTO override (id, state, attempts, ambiguous, pass) VALUES (?, 0, 0, 1, 1)",
                ((thing,) for thing in range(low, last + 1)),
            )
        self._claimed_up_to.clear()

    def begin_retry(self) -> int:
        """Start a pass of what failed and what an earlier retry left. Returns the things."""
        number = int(self.get("pass", "1")) + 1
        requeued = self._execute(
            "UPDATE override SET state = ?, attempts = 0, pass = ?, code = NULL, message = NULL"
            " WHERE state = ? OR (state = ? AND pass > 1)",
            (_PENDING, number, _FAILED, _PENDING),
        ).rowcount
        if requeued:
            self.put(**{"pass": number})
        # When nothing failed this is an empty pass: a retry never sends unsent things.
        self.put(min_pass=number)
        self._min_pass = number
        return requeued

    def begin_resume(self) -> None:
        """Include everything pending, of every pass."""
        self.put(min_pass=1)
        self._min_pass = 1

    def pending_cores(self) -> Iterator[CoreQueue]:
        """The cores with pending things in the passes of this start."""
        for core, name, first, last, override_count in self._execute(
            "SELECT id, name, first, last,"
            " (SELECT count(*) FROM override WHERE id BETWEEN first AND last AND state = 0 AND pass >= ?) FROM core",
            (self._min_pass,),
        ).fetchall():
            pending = override_count + (last - self.query_high_water_mark(first, last) if self._min_pass <= 1 else 0)
            if pending:
                yield CoreQueue(core, name, first, last, pending)

    def record_rate(self, at: float, rate: float, reason: str) -> None:
        """Record a change of the rate; replaces the oldest if there are too many."""
        self._execute(
            "INSERT OR REPLACE INTO rate_decision VALUES (?, ?, ?, ?)",
            (self._rate_decisions % _MAX_RATE_DECISIONS, at, rate, reason),
        )
        self._rate_decisions += 1

    def record_retry_wait(self, wait: RetryWait) -> None:
        """Record that nothing is sent for a while; the next request ends the wait."""
        self.put(retry_wait=replace(wait, last_request=self._last_request).to_json())

    # --- batches ---

    def claim(self, claim: Claim, now: float) -> Batch:
        """Claim pending things for a new request. `now` is in seconds since 1970, UTC."""
        queue = claim.queue
        rows = self._pending_overrides(claim.low, claim.high, claim.limit) if self._has_overrides else []
        unsent_count = claim.limit - len(rows)
        low = high = None
        ids: Sequence[int] = range(0)
        things: tuple[str, ...] = ()
        if unsent_count and self._min_pass <= 1:
            low = max(self._high_water_mark(queue) + 1, claim.low)
            high = min(low + unsent_count - 1, claim.high)
            self._claimed_up_to[queue.id] = high
            ids, things = range(low, high + 1), tuple(self.read_names(low, high))
        if not len(ids) == len(things) == unsent_count:
            raise InternalError(
                f"core {queue.name}: expected {claim.limit} pending things in {claim.low}..{claim.high},"
                f" found {len(rows) + len(things)}; internal error, please report it"
            )
        self._last_request += 1
        number = self._last_request
        if rows:
            batch = _batch_with_overrides(number, queue.name, rows, ids, things)
        else:
            batch = Batch(number, queue.name, ids, things, _ZEROS[:unsent_count], _NONE_AMBIGUOUS[:unsent_count])
        self._execute(
            "INSERT INTO request (id, core, low, high, default_count, state, things, is_resend, claimed_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, queue.id, low, high, unsent_count, _CLAIMED, claim.limit, batch.is_resend, now),
        )
        if rows:
            self._execute(
                "UPDATE override SET state = ?, request = ? WHERE id BETWEEN ? AND ? AND state = 0 AND pass >= ?",
                (_CLAIMED, number, rows[0][0], rows[-1][0], self._min_pass),
            )
        return batch

    def release(self, batch: Batch) -> None:
        """Undo the claim of a batch that was certainly not sent."""
        self._unclaim(batch.request)

    def mark_interrupted(self, in_flight: Sequence[Batch]) -> None:
        """Record an interruption: batches in flight were possibly sent, other claims were not."""
        for batch in in_flight:
            self._mark_ambiguous(batch.request)
        for (number,) in self._execute("SELECT id FROM request WHERE verdict IS NULL ORDER BY id DESC").fetchall():
            self._unclaim(number)

    def record_batch(self, batch: Batch, result: BatchResult, reply: RecordedReply) -> None:
        """Record the result of a claimed batch."""
        succeeded = result.state is ThingState.DISASSOCIATED and result.counts_as_attempt and not result.ambiguous
        reply_values = (reply.sent_at, reply.answered_at, reply.verdict, reply.status, reply.code, reply.aws_request_id)
        if succeeded and not result.overrides:
            done = self._execute(
                "UPDATE request SET state = ?, sent_at = ?, answered_at = ?, verdict = ?, status = ?, code = ?,"
                " aws_request_id = ? WHERE id = ? AND verdict IS NULL AND default_count = ?",
                (_DONE, *reply_values, batch.request, len(batch.ids)),
            ).rowcount
            if done:  # no overrides: the common case
                return
        row = self._execute(
            "SELECT low, high, default_count FROM request WHERE id = ? AND verdict IS NULL", (batch.request,)
        ).fetchone()
        if row is None:
            raise InternalError(
                f"core {batch.core}: request {batch.request} is not claimed; internal error, please report it"
            )
        low, _, default_count = row
        if len(batch.ids) > default_count:
            self._update_overrides(batch, result, len(batch.ids) - default_count)
        if default_count and not succeeded:
            self._create_overrides(batch.request, int(result.state), result.counts_as_attempt, result.ambiguous)
            default_count = 0
        if result.overrides:
            default_count -= (
                sum(batch.ids[thing_result.index] >= low for thing_result in result.overrides) if default_count else 0
            )
            self._apply_results(batch, result)
        self._execute(
            "UPDATE request SET state = ?, default_count = ?, sent_at = ?, answered_at = ?, verdict = ?, status = ?,"
            " code = ?, aws_request_id = ? WHERE id = ?",
            (_DONE, default_count, *reply_values, batch.request),
        )

    def apply_outcome_to_pending(
        self, queue: CoreQueue, state: ThingState, code: str, message: str, request: int, limit: int
    ) -> list[Outcome]:
        """Apply the outcome of `request` to up to `limit` pending things of its core."""
        if self._min_pass <= 1:
            low = self._high_water_mark(queue) + 1
            self._claimed_up_to[queue.id] = min(queue.last, low + limit - 1)
            self._has_overrides = True
            self._connection.executemany(
                "INSERT INTO override (id, state, attempts, ambiguous, pass) VALUES (?, 0, 0, 0, 1)",
                [(thing,) for thing in range(low, min(queue.last, low + limit - 1) + 1)],
            )
        rows = self._pending_overrides(queue.first, queue.last, limit)
        if rows:
            self._execute(
                "UPDATE override SET state = ?, code = ?, message = ?, request = ?"
                " WHERE id BETWEEN ? AND ? AND state = 0 AND pass >= ?",
                (int(state), code, message, request, rows[0][0], rows[-1][0], self._min_pass),
            )
        return [Outcome(queue.name, name, state, code, message, attempts) for _, name, attempts, *_ in rows]

    # --- rows ---

    def _pending_overrides(self, low: int, high: int, limit: int) -> list[_Override]:
        rows = self._execute(
            "SELECT id, attempts, ambiguous, pass FROM override"
            " WHERE id BETWEEN ? AND ? AND state = 0 AND pass >= ? ORDER BY id LIMIT ?",
            (low, high, self._min_pass, limit),
        ).fetchall()
        if not rows:
            return []
        first, names = rows[0][0], self.read_names(rows[0][0], rows[-1][0])
        return [(thing, names[thing - first], *rest) for thing, *rest in rows]

    def _high_water_mark(self, queue: CoreQueue) -> int:
        """`query_high_water_mark`, cached."""
        cached = self._claimed_up_to.get(queue.id)
        return self.query_high_water_mark(queue.first, queue.last) if cached is None else cached

    def _create_overrides(self, number: int, state: int, attempts: int, ambiguous: bool) -> None:
        """Create an override for each thing of a request that has none."""
        low, high = self._execute("SELECT low, high FROM request WHERE id = ?", (number,)).fetchone()
        if low is None:
            return
        self._has_overrides = True
        self._connection.executemany(
            "INSERT INTO override (id, state, attempts, ambiguous, pass, request) VALUES (?, ?, ?, ?, 1, ?)",
            [(thing, state, attempts, ambiguous, number) for thing in range(low, high + 1)],
        )

    def _update_overrides(self, batch: Batch, result: BatchResult, count: int) -> None:
        updated = self._execute(
            "UPDATE override SET state = ?, attempts = attempts + ?, ambiguous = max(ambiguous, ?)"
            " WHERE id BETWEEN ? AND ? AND state = ? AND request = ?",
            (
                int(result.state),
                result.counts_as_attempt,
                result.ambiguous,
                batch.ids[0],
                batch.ids[count - 1],
                _CLAIMED,
                batch.request,
            ),
        ).rowcount
        if updated != count:
            raise InternalError(
                f"core {batch.core}: request {batch.request} has {updated} things, the result has {count};"
                " internal error, please report it"
            )

    def _apply_results(self, batch: Batch, result: BatchResult) -> None:
        self._has_overrides = True
        self._connection.executemany(
            "INSERT INTO override (id, state, attempts, ambiguous, pass, request, code, message)"
            " VALUES (?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " state = excluded.state, code = excluded.code, message = excluded.message",
            [
                (
                    batch.ids[thing_result.index],
                    int(thing_result.state),
                    result.counts_as_attempt,
                    result.ambiguous,
                    batch.request,
                    *(
                        (None, None)
                        if thing_result.state is ThingState.PENDING
                        else (thing_result.code, thing_result.message)
                    ),
                )
                for thing_result in result.overrides
            ],
        )

    def _mark_ambiguous(self, number: int) -> None:
        """Make the things of a claimed request with an unknown outcome pending and ambiguous."""
        self._execute(
            "UPDATE override SET state = 0, ambiguous = 1 WHERE request = ? AND state = ?", (number, _CLAIMED)
        )
        self._create_overrides(number, _PENDING, 0, True)
        self._execute(
            "UPDATE request SET state = ?, default_count = 0, verdict = 'unknown' WHERE id = ?", (_DONE, number)
        )

    def _unclaim(self, number: int) -> None:
        low, high, last = self._execute(
            "SELECT low, high, core.last FROM request JOIN core ON core.id = request.core WHERE request.id = ?",
            (number,),
        ).fetchone()
        # The ids of deleted requests are used again, so no override may keep one.
        self._execute(
            "UPDATE override SET state = 0, request = NULL WHERE request = ? AND state = ?", (number, _CLAIMED)
        )
        self._claimed_up_to.clear()
        # Below the high-water mark only overrides are pending.
        if low is not None and self.query_high_water_mark(low, last) > high:
            self._create_overrides(number, _PENDING, 0, False)
            self._execute("UPDATE override SET request = NULL WHERE id BETWEEN ? AND ?", (low, high))
        self._execute("DELETE FROM request WHERE id = ?", (number,))
