"""Rule: everything that changes a journal after its import is here, as plain blocking calls inside one transaction.

Nothing here begins or commits: the writer does, for many calls together. Nothing here decides: the fate of things comes
in as a `Settlement`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asyncgg.aggregator import Batch, Settlement
from asyncgg.batching import Claim, CoreWork
from asyncgg.errors import InternalError
from asyncgg.model import Outcome, ThingState

__all__ = ["Answer", "Counts", "Store"]

_PENDING = int(ThingState.PENDING)
_CLAIMED = int(ThingState.CLAIMED)
_FAILED = int(ThingState.FAILED)
_DONE = int(ThingState.DISASSOCIATED)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the journal keeps of one reply. `at` is in seconds since 1970, UTC."""

    at: float
    verdict: str
    status: int | None
    code: str
    aws_request_id: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Things by state and requests by fate, over the whole journal."""

    pending: int
    disassociated: int
    failed: int
    sent: int
    throttled: int
    retried: int


class Store:
    """A journal's changes over an open connection. Raises `sqlite3.Error` as it comes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute
        (last,) = self._execute("SELECT coalesce(max(id), 0) FROM request").fetchone()
        self._last_request: int = last
        self._scope = int(self.get("scope", "1"))  # the lowest pass this start works on

    # --- the run ---

    def get(self, key: str, default: str = "") -> str:
        """A value of the run's meta table."""
        row = self._execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else str(row[0])

    def put(self, **values: object) -> None:
        """Set values of the run's meta table."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in values.items()]
        )

    def recover(self) -> int:
        """What a dead process had claimed was sent perhaps: it becomes pending and ambiguous. Returns how many."""
        self._execute("UPDATE request SET verdict = 'unknown' WHERE verdict IS NULL")
        return self._execute("UPDATE thing SET state = ?, ambiguous = 1 WHERE state = ?", (_PENDING, _CLAIMED)).rowcount

    def begin_retry(self) -> int:
        """Begin a new pass with what failed, and with what an earlier retry left pending. Returns how many things."""
        number = int(self.get("pass", "1")) + 1
        taken = self._execute(
            "UPDATE thing SET state = ?, attempts = 0, pass = ?, code = NULL, message = NULL"
            " WHERE state = ? OR (state = ? AND pass > 1)",
            (_PENDING, number, _FAILED, _PENDING),
        ).rowcount
        if taken:
            self.put(**{"pass": number})
        # Without anything failed the scope is an empty pass: what was never sent is not this start's business.
        self.put(scope=number)
        self._scope = number
        return taken

    def begin_resume(self) -> None:
        """Everything pending is to be done, of whichever pass."""
        self.put(scope=1)
        self._scope = 1

    def counts(self) -> Counts:
        """Count things and requests; reads the whole journal."""
        things = dict(self._execute("SELECT state, count(*) FROM thing GROUP BY state").fetchall())
        sent, throttled, retried = self._execute(
            "SELECT count(*), coalesce(sum(verdict = 'throttled'), 0), coalesce(sum(again), 0) FROM request"
        ).fetchone()
        pending = things.get(_PENDING, 0) + things.get(_CLAIMED, 0)
        return Counts(pending, things.get(_DONE, 0), things.get(_FAILED, 0), sent, throttled, retried)

    def work(self) -> Iterator[CoreWork]:
        """The cores with pending things in the scope of this start."""
        yield from (
            CoreWork(*row)
            for row in self._execute(
                "SELECT core.id, core.name, core.first, core.last, pending.things FROM"
                " (SELECT core, count(*) AS things FROM thing WHERE state = ? AND pass >= ? GROUP BY core) AS pending"
                " JOIN core ON core.id = pending.core",
                (_PENDING, self._scope),
            )
        )

    # --- batches ---

    def claim(self, claim: Claim, now: float) -> Batch:
        """Take the claim's pending things for a request, whose number is new. `now` is in seconds since 1970."""
        rows = self._execute(
            "SELECT id, name, attempts, ambiguous FROM thing WHERE id BETWEEN ? AND ? AND state = 0 AND pass >= ?"
            " ORDER BY id LIMIT ?",
            (claim.low, claim.high, self._scope, claim.limit),
        ).fetchall()
        if len(rows) != claim.limit:
            raise InternalError(
                f"core {claim.work.name}: {claim.limit} pending things expected in {claim.low}..{claim.high},"
                f" {len(rows)} found; please report this"
            )
        ids, names, attempts, ambiguous = zip(*rows, strict=True)
        self._last_request += 1
        number = self._last_request
        batch = Batch(number, claim.work.name, ids, names, attempts, tuple(map(bool, ambiguous)))
        self._execute(
            "INSERT INTO request (id, core, things, again, claimed_at) VALUES (?, ?, ?, ?, ?)",
            (number, claim.work.id, len(ids), batch.again, now),
        )
        self._execute(
            "UPDATE thing SET state = 1, request = ? WHERE id BETWEEN ? AND ? AND state = 0 AND pass >= ?",
            (number, ids[0], ids[-1], self._scope),
        )
        return batch

    def release(self, batch: Batch) -> None:
        """Undo the claim of a batch that was certainly not sent."""
        self._execute(
            "UPDATE thing SET state = 0, request = NULL WHERE id BETWEEN ? AND ? AND state = 1 AND request = ?",
            (batch.ids[0], batch.ids[-1], batch.request),
        )
        self._execute("DELETE FROM request WHERE id = ?", (batch.request,))

    def abandon(self, in_flight: Sequence[Batch]) -> None:
        """This start is being cut off: what is in flight was sent perhaps, every other claim was not sent."""
        for batch in in_flight:
            self._execute(
                "UPDATE thing SET state = 0, ambiguous = 1 WHERE id BETWEEN ? AND ? AND state = 1 AND request = ?",
                (batch.ids[0], batch.ids[-1], batch.request),
            )
            self._execute("UPDATE request SET verdict = 'unknown' WHERE id = ?", (batch.request,))
        # The numbers of deleted requests are given again, so no thing may keep one.
        self._execute("UPDATE thing SET state = 0, request = NULL WHERE state = 1")
        self._execute("DELETE FROM request WHERE verdict IS NULL")

    def settle(self, batch: Batch, settlement: Settlement, answer: Answer) -> None:
        """Write down what became of a claimed batch."""
        marked = self._execute(
            "UPDATE thing SET state = ?, attempts = attempts + ?, ambiguous = max(ambiguous, ?)"
            " WHERE id BETWEEN ? AND ? AND state = 1 AND request = ?",
            (
                int(settlement.state),
                int(settlement.counted),
                int(settlement.ambiguous),
                batch.ids[0],
                batch.ids[-1],
                batch.request,
            ),
        ).rowcount
        if marked != len(batch.ids):
            raise InternalError(
                f"core {batch.core}: request {batch.request} holds {marked} things, {len(batch.ids)} were answered;"
                " please report this"
            )
        if settlement.deviations:
            self._connection.executemany(
                "UPDATE thing SET state = ?, code = ?, message = ? WHERE id = ?",
                [
                    (int(odd.state), odd.code, odd.message, batch.ids[odd.index])
                    if odd.state is not ThingState.PENDING
                    else (_PENDING, None, None, batch.ids[odd.index])
                    for odd in settlement.deviations
                ],
            )
        self._execute(
            "UPDATE request SET answered_at = ?, verdict = ?, status = ?, code = ?, aws_request_id = ? WHERE id = ?",
            (answer.at, answer.verdict, answer.status, answer.code, answer.aws_request_id, batch.request),
        )

    def fail_pending(self, work: CoreWork, code: str, message: str, request: int, limit: int) -> list[Outcome]:
        """Fail up to `limit` pending things of one core, as `request` was answered; the outcomes written."""
        rows = self._execute(
            "SELECT id, name, attempts FROM thing WHERE id BETWEEN ? AND ? AND state = 0 AND pass >= ?"
            " ORDER BY id LIMIT ?",
            (work.first, work.last, self._scope, limit),
        ).fetchall()
        if rows:
            self._execute(
                "UPDATE thing SET state = ?, code = ?, message = ?, request = ?"
                " WHERE id BETWEEN ? AND ? AND state = 0 AND pass >= ?",
                (_FAILED, code, message, request, rows[0][0], rows[-1][0], self._scope),
            )
        return [Outcome(work.name, name, ThingState.FAILED, code, message, attempts) for _, name, attempts in rows]
