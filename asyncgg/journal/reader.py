"""Rule: reading a journal without disturbing whoever runs it: figures, outcomes, requests; nothing here writes."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from asyncgg.journal import schema
from asyncgg.journal.lock import is_locked
from asyncgg.journal.operation import parse_operation
from asyncgg.journal.store import JournalCounts, JournalStore
from asyncgg.models import MAX_BATCH, RunState, Summary, ThingState

__all__ = ["JournalReader", "OutcomeRow", "SentRequest"]


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One thing of a journal, as reports show it."""

    core: str
    thing: str
    state: ThingState
    code: str
    message: str
    attempts: int
    answered_at: float | None
    """Seconds since 1970, UTC, of the answer that decided (or was the last)."""
    aws_request_id: str
    """The service's id of that request: what AWS Support and CloudTrail know it by."""
    reason: str = ""
    """Why the thing was chosen, where something chose it."""


class SentRequest(NamedTuple):
    """One answered request of a journal; times are seconds since 1970, UTC."""

    sent_at: float
    answered_at: float
    verdict: str
    """A value of `asyncgg.classify.Verdict`."""


_OVERRIDES_SQL: Final = """(
    SELECT override.*, core.id AS core, reason.text AS reason,
        (SELECT value FROM json_each('["' || replace(names, ' ', '","') || '"]') WHERE key = override.id - name_block.id) AS name
    FROM override
    CROSS JOIN name_block ON name_block.id = (SELECT max(id) FROM name_block WHERE id <= override.id)
    CROSS JOIN core ON core.first = (SELECT max(first) FROM core WHERE first <= override.id)
    LEFT JOIN selection ON selection.id = override.id
    LEFT JOIN reason ON reason.id = selection.reason
)"""
"""As the view `thing`, but only of things that have a row of their own."""


class JournalReader:
    """A journal opened for reading, at any time, also while it is being run. Raises `JournalError` when it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = schema.open_existing(path, "ro")
        try:
            self._connection.execute("PRAGMA query_only = ON")
            self._store = JournalStore(self._connection)
        except (sqlite3.Error, ValueError) as error:
            self._connection.close()
            raise schema.translate_error(error, path) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def meta(self) -> dict[str, str]:
        """The run's own facts: id, settings, target, figures of the import."""
        return dict(self._query("SELECT key, value FROM meta"))

    def settings(self) -> Mapping[str, Any]:
        """The settings the run was started with."""
        with self._translate_errors():
            return dict(json.loads(self.meta().get("settings", "{}")))

    def counts(self) -> JournalCounts:
        """Things by state, requests by fate."""
        with self._translate_errors():
            return self._store.counts()

    def is_running(self) -> bool:
        """Whether a process runs it now."""
        return is_locked(self.path)

    def state(self) -> RunState:
        """How the run stands; one that says it is running while nobody runs it was interrupted."""
        with self._translate_errors():
            state = RunState(self.meta().get("state", RunState.PLANNED.value))
        if state is RunState.RUNNING and not self.is_running():
            return RunState.INTERRUPTED
        return state

    def failures(self) -> dict[str, int]:
        """Failed things by code, most frequent first."""
        rows = self._query(
            "SELECT coalesce(code, ''), count(*) FROM override WHERE state = ? GROUP BY 1 ORDER BY 2 DESC, 1",
            int(ThingState.FAILED),
        )
        return dict(rows)

    def already_done(self) -> dict[str, int]:
        """Done things of which an answer said that they were so already, by code."""
        return dict(
            self._query(
                "SELECT code, count(*) FROM override WHERE state = ? AND code IS NOT NULL GROUP BY 1 ORDER BY 2 DESC",
                int(ThingState.DISASSOCIATED),
            )
        )

    def summary(self) -> Summary:
        """The figures of the JSON summary."""
        meta, counts = self.meta(), self.counts()
        with self._translate_errors():
            return Summary(
                run=meta.get("run", ""),
                journal=str(self.path),
                state=self.state(),
                total=counts.pending + counts.disassociated + counts.failed,
                disassociated=counts.disassociated,
                failed=counts.failed,
                pending=counts.pending,
                rejected=int(meta.get("rejected", 0)),
                duplicates=int(meta.get("duplicates", 0)),
                protected=int(meta.get("protected", 0)),
                sent=counts.sent,
                minimum=int(meta.get("minimum", 0)),
                throttled=counts.throttled,
                retried=counts.retried,
                seconds=float(meta.get("seconds", 0.0)),
                already=sum(self.already_done().values()),
                failures=self.failures(),
                operation=parse_operation(meta.get("operation", ""), self.path),
            )

    def outcomes(self, *states: ThingState) -> Iterator[OutcomeRow]:
        """Every thing, or those in `states`, by core and name; streamed."""
        source = "thing"
        where_clause = f"WHERE thing.state IN ({','.join(str(int(state)) for state in states)})" if states else ""
        if set(states) == {ThingState.FAILED}:  # all in `override`: the others need not be looked at
            source = _OVERRIDES_SQL
        # In the order of the view, which is that of the ids; ORDER BY would sort millions of rows first.
        rows = self._query(
            "SELECT core.name, thing.name, thing.state, thing.code, thing.message, thing.attempts,"  # noqa: S608 - numbers
            " request.answered_at, request.aws_request_id, thing.reason"
            f" FROM {source} AS thing CROSS JOIN core ON core.id = thing.core"
            f" LEFT JOIN request ON request.id = thing.request {where_clause}"
        )
        with self._translate_errors():
            for core, thing, state, code, message, attempts, at, aws, reason in rows:
                yield OutcomeRow(
                    core, thing, ThingState(state), code or "", message or "", attempts, at, aws or "", reason or ""
                )

    def cores(self) -> Iterator[tuple[str, int]]:
        """Each core's name and number of things."""
        yield from self._query("SELECT name, last - first + 1 FROM core ORDER BY id")

    def requests(self) -> Iterator[SentRequest]:
        """Each request that was answered, in the order they were claimed: the run's latencies and throttles."""
        query = "SELECT sent_at, answered_at, verdict FROM request WHERE sent_at IS NOT NULL ORDER BY id"
        yield from map(SentRequest._make, self._query(query))

    def remaining(self, *, failed: bool = False) -> tuple[int, int]:
        """Things, and requests at least, that a resume has before it; with `failed`, that a retry has."""
        with self._translate_errors():
            amounts = list(self._store.failed_by_core() if failed else self._store.pending_by_core())
        return sum(amounts), sum(-(-amount // MAX_BATCH) for amount in amounts)

    def rate(self, seconds: float, now: float) -> float:
        """Requests per second claimed in the last `seconds` before `now` (since 1970), or since the first of them."""
        query = "SELECT count(*), min(claimed_at) FROM request WHERE claimed_at > ?"
        ((count, first),) = self._query(query, now - seconds)
        return count / max(now - first, 1.0) if count else 0.0

    def _query(self, query: str, *values: object) -> Iterator[Any]:
        with self._translate_errors():
            rows = self._connection.execute(query, values)
            # Not the cursor itself: left half read, it would be closed after its connection, which is an error.
            yield from iter(rows.fetchone, None)

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:  # a damaged file may also hold values that are none of ours
            raise schema.translate_error(error, self.path) from None
