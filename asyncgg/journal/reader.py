"""Read a journal, also while another process runs it, and what its run changed at the service."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from asyncgg.journal.queries import JournalCounts, JournalQueries
from asyncgg.journal.retry_wait import RetryWait
from asyncgg.journal.schema import FORMAT, parse_operation
from asyncgg.models import MAX_BATCH, RunState, Summary, ThingState
from asyncgg.storage import SqliteReader, is_locked


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One thing of a journal, as shown in reports."""

    core: str
    thing: str
    state: ThingState
    code: str
    message: str
    attempts: int
    answered_at: float | None
    """Time of the last reply that included the thing, in seconds since 1970, UTC."""
    aws_request_id: str
    """The id of that request, known to AWS Support and CloudTrail."""
    reason: str = ""
    """Why a policy selected the thing; empty without a policy."""


class RateDecision(NamedTuple):
    """A change of a run's rate."""

    at: float
    """Seconds since 1970, UTC."""
    rate: float
    """Requests per second from then on."""
    reason: str
    """A value of `asyncgg.events.RateReason`."""


class SentRequest(NamedTuple):
    """One answered request of a journal; times are seconds since 1970, UTC."""

    sent_at: float
    answered_at: float
    verdict: str
    """A value of `asyncgg.classify.ReplyVerdict`."""


_OVERRIDES_SQL: Final = """(
    SELECT override.*, core.id AS core, reason.text AS reason,
        (SELECT value FROM json_each('["' || replace(names, ' ', '","') || '"]')
            WHERE key = override.id - name_block.id) AS name
    FROM override
    CROSS JOIN name_block ON name_block.id = (SELECT max(id) FROM name_block WHERE id <= override.id)
    CROSS JOIN core ON core.first = (SELECT max(first) FROM core WHERE first <= override.id)
    LEFT JOIN selection ON selection.id = override.id
    LEFT JOIN reason ON reason.id = selection.reason
)"""
"""The view `thing`, limited to things with a row in `override`."""


class JournalReader(SqliteReader):
    """A journal opened for reading. Raises `JournalError` when the file is not a usable journal."""

    def __init__(self, path: Path) -> None:
        super().__init__(FORMAT, path)

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA query_only = ON")
        self._queries = JournalQueries(self._connection)

    def meta(self) -> dict[str, str]:
        """The metadata of the run: id, settings, target, counts of the import."""
        return dict(self._rows("SELECT key, value FROM meta"))

    def settings(self) -> Mapping[str, Any]:
        """The settings the run was started with."""
        with self._translate_errors():
            return dict(json.loads(self.meta().get("settings", "{}")))

    def counts(self) -> JournalCounts:
        """Things by state, requests by result."""
        with self._translate_errors():
            return self._queries.counts()

    def is_running(self) -> bool:
        """Whether a process runs the journal now."""
        return is_locked(self.path)

    def state(self) -> RunState:
        """The state of the run; INTERRUPTED when its process ended without recording a state."""
        with self._translate_errors():
            state = RunState(self.meta().get("state", RunState.PLANNED.value))
        if state is RunState.RUNNING and not self.is_running():
            return RunState.INTERRUPTED
        return state

    def failures(self) -> dict[str, int]:
        """Failed things by code, most frequent first."""
        rows = self._rows(
            "SELECT coalesce(code, ''), count(*) FROM override WHERE state = ? GROUP BY 1 ORDER BY 2 DESC, 1",
            int(ThingState.FAILED),
        )
        return dict(rows)

    def codes_of_already(self) -> dict[str, int]:
        """Things that were already in the desired state by the code of their reply."""
        query = "SELECT coalesce(code, ''), count(*) FROM override WHERE state = ? GROUP BY 1 ORDER BY 2 DESC, 1"
        return dict(self._rows(query, int(ThingState.ALREADY)))

    def summary(self) -> Summary:
        """The values of the JSON summary."""
        with self._snapshot():  # counts and time of one moment
            meta, counts, failures, state = self.meta(), self.counts(), self.failures(), self.state()
            seconds = self._queries.seconds_until(time.time() if self.is_running() else None)
        with self._translate_errors():
            return Summary(
                run=meta.get("run", ""),
                journal=str(self.path),
                state=state,
                total=counts.total,
                disassociated=counts.disassociated,
                failed=counts.failed,
                pending=counts.pending,
                rejected=int(meta.get("rejected", 0)),
                duplicates=int(meta.get("duplicates", 0)),
                protected=int(meta.get("protected", 0)),
                header_rows=int(meta.get("header_rows", 0)),
                sent=counts.sent,
                minimum=int(meta.get("minimum", 0)),
                throttled=counts.throttled,
                retried=counts.retried,
                seconds=seconds,
                already=counts.already,
                failures=failures,
                operation=parse_operation(meta.get("operation", ""), self.path),
                lost_notifications=tuple(json.loads(meta.get("lost_notifications", "[]"))),
                undoable=bool(meta.get("provenance") or meta.get("snapshot")),
            )

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """All queries within the block see one state of the file."""
        with self._translate_errors():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    def retry_wait(self) -> RetryWait | None:
        """Why the run sends nothing now, if all of its remaining things wait to be sent again."""
        text = self.meta().get("retry_wait")
        if text is None or not self.is_running():
            return None
        ((latest,),) = self._rows("SELECT max(id) FROM request")
        with self._translate_errors():
            wait = RetryWait.from_json(text)
        return wait if wait.last_request == latest else None

    def outcomes(self, *states: ThingState) -> Iterator[OutcomeRow]:
        """Every thing, or those in `states`, by core and name; streamed."""
        source = "thing"
        where_clause = f"WHERE thing.state IN ({','.join(str(int(state)) for state in states)})" if states else ""
        if set(states) == {ThingState.FAILED}:  # failed things are all in `override`
            source = _OVERRIDES_SQL
        return self._outcome_rows(source, where_clause)

    def failed_things(self, code: str, limit: int) -> Iterator[OutcomeRow]:
        """The first `limit` failed things with this code."""
        where_clause = "WHERE thing.state = ? AND coalesce(thing.code, '') = ? LIMIT ?"
        return self._outcome_rows(_OVERRIDES_SQL, where_clause, int(ThingState.FAILED), code, limit)

    def _outcome_rows(self, source: str, where_clause: str, *values: object) -> Iterator[OutcomeRow]:
        # The view yields ids in order; ORDER BY would first sort millions of rows.
        rows = self._rows(
            "SELECT core.name, thing.name, thing.state, thing.code, thing.message, thing.attempts,"  # noqa: S608 - constants and numbers
            " request.answered_at, request.aws_request_id, thing.reason"
            f" FROM {source} AS thing CROSS JOIN core ON core.id = thing.core"
            f" LEFT JOIN request ON request.id = thing.request {where_clause}",
            *values,
        )
        with self._translate_errors():
            for core, thing, state, code, message, attempts, at, aws, reason in rows:
                yield OutcomeRow(
                    core, thing, ThingState(state), code or "", message or "", attempts, at, aws or "", reason or ""
                )

    def cores(self) -> Iterator[tuple[str, int]]:
        """The name and number of things of each core."""
        yield from self._rows("SELECT name, last - first + 1 FROM core ORDER BY id")

    def requests(self) -> Iterator[SentRequest]:
        """Every answered request, in the order of the claims."""
        query = "SELECT sent_at, answered_at, verdict FROM request WHERE sent_at IS NOT NULL ORDER BY id"
        yield from map(SentRequest._make, self._rows(query))

    def rate_decisions(self) -> list[RateDecision]:
        """The changes of the rate, in order."""
        with self._translate_errors():
            rows = self._rows("SELECT at, rate, reason FROM rate_decision ORDER BY at")
            return [RateDecision(float(at), float(rate), str(reason)) for at, rate, reason in rows]

    def remaining(self, *, failed: bool = False) -> tuple[int, int]:
        """Things and minimum requests that a resume has left; with `failed`, that a retry has."""
        with self._translate_errors():
            amounts = list(self._queries.failed_by_core() if failed else self._queries.pending_by_core())
        return sum(amounts), sum(-(-amount // MAX_BATCH) for amount in amounts)


# --- what the run changed at the service ---


class Certainty(Enum):
    """What the journal proves about the effect of a run on one thing."""

    ACCEPTED = "accepted"
    """The service accepted the request without an error for this thing."""
    CONFIRMED = "confirmed"
    """A reply was lost, and the resent request found the thing already in the desired state."""
    ALREADY_DONE = "already-done"
    """The first request found the thing already in the desired state."""
    UNCERTAIN = "uncertain"
    """The thing failed after a request whose reply was lost: its state is unknown."""
    UNRESOLVED = "unresolved"
    """Pending, in a request that was possibly sent."""
    UNCHANGED = "unchanged"
    """Never sent, or rejected each time."""


# By state: the certainty, and that of a thing with an earlier request of unknown outcome.
_CERTAINTIES: Final[Mapping[int, tuple[Certainty, Certainty]]] = {
    ThingState.PENDING: (Certainty.UNCHANGED, Certainty.UNRESOLVED),
    ThingState.CLAIMED: (Certainty.UNRESOLVED, Certainty.UNRESOLVED),
    ThingState.DISASSOCIATED: (Certainty.ACCEPTED, Certainty.ACCEPTED),
    ThingState.FAILED: (Certainty.UNCHANGED, Certainty.UNCERTAIN),
    ThingState.ALREADY: (Certainty.ALREADY_DONE, Certainty.CONFIRMED),
}


@dataclass(frozen=True, slots=True)
class ThingEffect:
    """One thing of a run and the certainty of its effect."""

    core: str
    thing: str
    certainty: Certainty


def iter_effects(reader: JournalReader) -> Iterator[ThingEffect]:
    """Every thing of the journal, by core and name; streamed. Raises `JournalError`."""
    rows = reader._rows(
        "SELECT core.name, thing.name, thing.state, thing.ambiguous FROM thing CROSS JOIN core ON core.id = thing.core"
    )
    for core, thing, state, ambiguous in rows:
        yield ThingEffect(core, thing, _CERTAINTIES[state][bool(ambiguous)])


def last_request_at(reader: JournalReader) -> float | None:
    """Time of the last request or reply, in seconds since 1970, UTC; None when nothing was sent."""
    ((at,),) = reader._rows("SELECT max(coalesce(answered_at, claimed_at)) FROM request")
    return None if at is None else float(at)
