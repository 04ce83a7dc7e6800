"""Aggregates of a journal for reports: starts, things over time, outcomes by core, failures by code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush, nsmallest
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from asyncgg.journal.reader import JournalReader, OutcomeRow
from asyncgg.models import ThingState

_FAILED: Final = int(ThingState.FAILED)
_MAX_WORST: Final = 10
"""Cores that are named for each code."""


@dataclass(frozen=True, slots=True)
class RunStart:
    """One start of a run and what it sent; times in seconds since 1970, UTC."""

    mode: str
    """`run`, `resume` or `retry`; empty in the journal of an older version."""
    started_at: float
    ended_at: float
    """Its last request or reply."""
    requests: int
    throttled: int
    state: str = ""
    """How it ended, a value of `asyncgg.models.RunState`; empty for the last start."""
    version: str = ""
    """The version of asyncgg."""
    actor: str = ""
    """The user and host that started it."""
    arn: str = ""
    """The AWS principal."""


class FinishedThings(NamedTuple):
    """Things that got the same outcome at the same time."""

    at: float
    """Seconds since 1970, UTC."""
    state: ThingState
    things: int


@dataclass(frozen=True, slots=True)
class CoreOutcomes:
    """The things of one core by outcome, and its requests."""

    name: str
    things: int
    done: int
    already: int
    failed: int
    requests: int
    throttled: int

    @property
    def pending(self) -> int:
        """Things without a final outcome."""
        return self.things - self.done - self.already - self.failed


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """The failed things with one code."""

    code: str
    things: int
    cores: int
    """Distinct cores."""
    messages: tuple[tuple[str, int], ...]
    """The most frequent messages and their things."""
    worst_cores: tuple[tuple[str, int], ...]
    """The cores with the most of these things."""
    examples: tuple[OutcomeRow, ...]


def run_starts(reader: JournalReader) -> list[RunStart]:
    """Every recorded start that sent something or is the last one; one without mode in an older journal."""
    with reader._translate_errors():
        recorded = json.loads(reader.meta().get("starts", "[]"))
    first = next(reader._rows("SELECT min(claimed_at) FROM request"))[0]
    if first is not None and (not recorded or first < recorded[0]["at"]):
        recorded.insert(0, {"mode": "", "at": first})
    starts = []
    for number, start in enumerate(recorded):
        next_at = recorded[number + 1]["at"] if number + 1 < len(recorded) else float("inf")
        ((requests, throttled, ended_at),) = reader._rows(
            "SELECT count(*), coalesce(sum(verdict = 'throttled'), 0), max(coalesce(answered_at, claimed_at))"
            " FROM request WHERE claimed_at >= ? AND claimed_at < ?",
            start["at"],
            next_at,
        )
        details = {name: str(start.get(name, "")) for name in ("state", "version", "actor", "arn")}
        starts.append(
            RunStart(start["mode"], start["at"], max(ended_at or 0.0, start["at"]), requests, throttled, **details)
        )
    return starts


def finished_things(reader: JournalReader) -> Iterator[FinishedThings]:
    """The final outcomes with the time of the reply that decided them; unordered."""
    for at, state, count in reader._rows(
        "SELECT answered_at, state, default_count FROM request WHERE default_count AND state > 1 AND answered_at"
        " UNION ALL SELECT request.answered_at, override.state, count(*)"
        " FROM override JOIN request ON request.id = override.request"
        " WHERE override.state > 1 AND request.answered_at GROUP BY override.request, override.state"
    ):
        yield FinishedThings(at, ThingState(state), count)


def worst_cores(reader: JournalReader, limit: int) -> list[CoreOutcomes]:
    """At most `limit` cores: those with the most failed, then pending things first."""
    rows = reader._rows(
        "SELECT name, things, done, already, failed, requests, throttled FROM (SELECT core.name AS name,"
        " last - first + 1 AS things,"
        " (SELECT coalesce(sum(default_count), 0) FROM request WHERE low BETWEEN first AND last AND state = 2)"
        " + (SELECT count(*) FROM override WHERE id BETWEEN first AND last AND state = 2) AS done,"
        " (SELECT count(*) FROM override WHERE id BETWEEN first AND last AND state = 4) AS already,"
        " (SELECT count(*) FROM override WHERE id BETWEEN first AND last AND state = 3) AS failed,"
        " coalesce(traffic.requests, 0) AS requests, coalesce(traffic.throttled, 0) AS throttled"
        " FROM core LEFT JOIN (SELECT core, count(*) AS requests, sum(verdict IS 'throttled') AS throttled"
        " FROM request GROUP BY core) AS traffic ON traffic.core = core.id)"
        " ORDER BY failed DESC, things - done - already - failed DESC, name LIMIT ?",
        limit,
    )
    return [CoreOutcomes(*row) for row in rows]


def failure_groups(reader: JournalReader, codes: int, examples: int) -> list[FailureGroup]:
    """The `codes` most frequent codes of failed things, each with up to `examples` things."""
    rows = reader._rows(
        "SELECT code, (SELECT name FROM core WHERE core.first = start), count(*)"
        " FROM (SELECT coalesce(code, '') AS code,"
        " (SELECT max(first) FROM core WHERE first <= override.id) AS start FROM override WHERE state = ?)"
        " GROUP BY code, start",
        _FAILED,
    )
    cores_by_code: list[tuple[int, str, int, list[tuple[str, int]]]] = []
    for code, group in groupby(rows, itemgetter(0)):
        cores = [(core, things) for _, core, things in group]
        worst = nsmallest(_MAX_WORST, cores, key=lambda item: (-item[1], item[0]))
        heappush(cores_by_code, (sum(things for _, things in cores), code, len(cores), worst))
        if len(cores_by_code) > codes:
            heappop(cores_by_code)
    return [
        FailureGroup(
            code,
            things,
            cores,
            tuple(_frequent_messages(reader, code)),
            tuple(worst),
            tuple(reader.failed_things(code, examples)),
        )
        for things, code, cores, worst in sorted(cores_by_code, key=lambda item: (-item[0], item[1]))
    ]


def _frequent_messages(reader: JournalReader, code: str) -> Iterator[tuple[str, int]]:
    return reader._rows(
        "SELECT coalesce(message, ''), count(*) FROM override WHERE state = ? AND coalesce(code, '') = ?"
        " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3",
        _FAILED,
        code,
    )
