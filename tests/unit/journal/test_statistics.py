"""Tests of asyncgg.journal.statistics."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from asyncgg.journal import (
    JournalReader,
    JournalStore,
    failure_groups,
    finished_things,
    run_starts,
    worst_cores,
    write_meta,
)
from asyncgg.journal.schema import FORMAT
from asyncgg.models import ThingState
from tests.support.journal import (
    ALL_DISASSOCIATED,
    RECORDED_REPLY,
    all_failed,
    claim_all,
    create_journal,
    make_pairs,
)

FINAL = (ThingState.DISASSOCIATED, ThingState.ALREADY, ThingState.FAILED)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """6 cores with 150 things: one is denied, one half busy, one is in flight, one not sent; the rest are done."""
    path = tmp_path / "j"
    create_journal(path, make_pairs(6, 150))
    connection = FORMAT.open(path, read_only=False)
    store = JournalStore(connection)
    for number, core in enumerate(store.pending_cores()):
        if number == 5:
            break
        for index, batch in enumerate(claim_all(store, core)):
            result = ALL_DISASSOCIATED
            if number == 0:
                result = all_failed(batch, "AccessDenied", f"denied {index}")
            elif number == 1 and index == 1:
                result = all_failed(batch, "", "")
            if number != 4:
                store.record_batch(batch, result, replace(RECORDED_REPLY, answered_at=1000.0 + number))
    connection.close()
    return path


def test_worst_cores_agree_with_the_outcomes(journal: Path) -> None:
    """Counts by core are those of the list of all things; failed cores are first, then pending ones."""
    with JournalReader(journal) as reader:
        cores = worst_cores(reader, 10)
        states = Counter((row.core, row.state) for row in reader.outcomes())
        assert len(worst_cores(reader, 2)) == 2
    assert [core.name for core in cores] == [f"core-{number:03}" for number in (0, 1, 4, 5, 2, 3)]
    for core in cores:
        expected = [
            states[core.name, state] for state in (ThingState.DISASSOCIATED, ThingState.ALREADY, ThingState.FAILED)
        ]
        assert [core.done, core.already, core.failed] == expected
        assert core.pending == 150 - sum(expected)
    assert [core.requests for core in cores] == [2, 2, 2, 0, 2, 2]


def test_failure_groups_have_cores_messages_and_examples(journal: Path) -> None:
    """Groups are by code, the most frequent first; one without a code is a group."""
    with JournalReader(journal) as reader:
        groups = failure_groups(reader, 10, 3)
        assert [astuple(group) for group in failure_groups(reader, 1, 3)] == [astuple(groups[0])]
    denied, unknown = groups
    assert (denied.code, denied.things, denied.cores) == ("AccessDenied", 150, 1)
    assert denied.messages == (("denied 0", 100), ("denied 1", 50))
    assert denied.worst_cores == (("core-000", 150),)
    assert [row.thing for row in denied.examples] == ["thing-00000", "thing-00001", "thing-00002"]
    assert (unknown.code, unknown.things, unknown.worst_cores) == ("", 50, (("core-001", 50),))


def test_finished_things_are_all_outcomes(journal: Path) -> None:
    """Every thing with a final outcome counts once, at the time of its reply."""
    with JournalReader(journal) as reader:
        finished = Counter[tuple[float, ThingState]]()
        for at, state, things in finished_things(reader):
            finished[at, state] += things
    done, failed = ThingState.DISASSOCIATED, ThingState.FAILED
    expected = {
        (1000.0, failed): 150,
        (1001.0, done): 100,
        (1001.0, failed): 50,
        (1002.0, done): 150,
        (1003.0, done): 150,
    }
    assert finished == expected


async def test_run_starts_split_the_requests(journal: Path) -> None:
    """Each start has the requests from its own time on; requests before the first record are of an unknown start."""
    with JournalReader(journal) as reader:
        (only,) = run_starts(reader)
    assert (only.mode, only.started_at, only.requests) == ("", 1000.0, 10)
    record = '[{"mode": "run", "at": 999.0, "state": "interrupted"}, {"mode": "resume", "at": 2000.0, "actor": "a@b"}]'
    await write_meta(journal, starts=record)
    with JournalReader(journal) as reader:
        first, second = run_starts(reader)
    assert (first.mode, first.state, first.requests, first.ended_at) == ("run", "interrupted", 10, 1003.0)
    assert (second.mode, second.actor, second.requests, second.ended_at) == ("resume", "a@b", 0, 2000.0)
