"""The counts, names and remaining work in the tables of a journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asyncgg.models import RunState, ThingState
from asyncgg.storage import MetaStore

_FAILED = int(ThingState.FAILED)
_DONE = int(ThingState.DISASSOCIATED)
_ALREADY = int(ThingState.ALREADY)


@dataclass(frozen=True, slots=True)
class JournalCounts:
    """Things by state and requests by result, over the whole journal."""

    pending: int
    disassociated: int
    failed: int
    sent: int
    throttled: int
    retried: int
    already: int = 0

    @property
    def total(self) -> int:
        """All things."""
        return self.pending + self.disassociated + self.already + self.failed


class JournalQueries(MetaStore):
    """Queries over an open connection. Raises `sqlite3.Error`."""

    def counts(self) -> JournalCounts:
        """Count things and requests; reads all tables but the names."""
        (total,) = self._execute("SELECT coalesce(sum(last - first + 1), 0) FROM core").fetchone()
        default_counts = dict(self._execute("SELECT state, sum(default_count) FROM request GROUP BY state").fetchall())
        override_counts = dict(self._execute("SELECT state, count(*) FROM override GROUP BY state").fetchall())
        done = default_counts.get(_DONE, 0) + override_counts.get(_DONE, 0)
        failed, already = override_counts.get(_FAILED, 0), override_counts.get(_ALREADY, 0)
        sent, throttled, retried = self._execute(
            "SELECT count(*), coalesce(sum(verdict = 'throttled'), 0), coalesce(sum(is_resend), 0) FROM request"
        ).fetchone()
        return JournalCounts(total - done - already - failed, done, failed, sent, throttled, retried, already)

    def seconds_until(self, now: float | None) -> float:
        """Seconds in all starts until `now`, a Unix time; None: until the last reply to a killed process."""
        seconds, recorded_at = float(self.get("seconds", "0")), float(self.get("seconds_at", "0"))
        if self.get("state") != RunState.RUNNING or not recorded_at:
            return seconds
        if now is None:
            (now,) = self._execute("SELECT max(answered_at) FROM request").fetchone()
        return seconds + max(0.0, (now or recorded_at) - recorded_at)

    def pending_by_core(self) -> Iterator[int]:
        """The number of pending and claimed things of each core, in every pass."""
        for first, last, override_count, default_count in self._execute(
            "SELECT first, last, (SELECT count(*) FROM override WHERE id BETWEEN first AND last AND state IN (0, 1)),"
            " (SELECT coalesce(sum(default_count), 0) FROM request WHERE low BETWEEN first AND last AND state = 1)"
            " FROM core"
        ).fetchall():
            yield override_count + default_count + last - self.query_high_water_mark(first, last)

    def failed_by_core(self) -> Iterator[int]:
        """The number of things of each core that a retry would requeue."""
        for (amount,) in self._execute(
            "SELECT count(*) FROM override WHERE state = 3 OR (state IN (0, 1) AND pass > 1)"
            " GROUP BY (SELECT max(first) FROM core WHERE first <= override.id)"
        ):
            yield amount

    def query_high_water_mark(self, first: int, last: int) -> int:
        """The highest id among a core's things that was ever claimed or has an outcome."""
        row = self._execute(
            "SELECT high FROM request WHERE low BETWEEN ? AND ? ORDER BY low DESC LIMIT 1", (first, last)
        ).fetchone()
        (highest_override,) = self._execute(
            "SELECT max(id) FROM override WHERE id BETWEEN ? AND ?", (first, last)
        ).fetchone()
        return max(first - 1, row[0] if row else 0, highest_override or 0)

    def read_names(self, low: int, high: int) -> Sequence[str]:
        """The names of a range of things of one core."""
        row = self._execute("SELECT names FROM name_block WHERE id = ?", (low,)).fetchone()
        if row is not None:
            names: list[str] = row[0].split(" ")
            if len(names) == high - low + 1:  # a whole block: the common case
                return names
        blocks = self._execute(
            "SELECT id, names FROM name_block"
            " WHERE id BETWEEN (SELECT max(id) FROM name_block WHERE id <= ?1) AND ?2 ORDER BY id",
            (low, high),
        ).fetchall()
        if not blocks:
            return ()
        first = blocks[0][0]
        names = " ".join(block_names for _, block_names in blocks).split(" ")
        return names[low - first : high - first + 1]
