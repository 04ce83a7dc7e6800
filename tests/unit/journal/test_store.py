"""Which things a resume and a retry send."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from asyncgg.aggregator import Batch
from asyncgg.batching import Claim
from asyncgg.journal import JournalStore, JournalWriter, mark_possibly_sent
from asyncgg.journal.schema import _TABLES
from tests.support.journal import ALL_DISASSOCIATED, RECORDED_REPLY, all_failed, create_journal


def claim_pending(store: JournalStore) -> list[str]:
    """Claim everything pending; the names of the things."""
    return [
        thing
        for queue in store.pending_cores()
        for thing in store.claim(Claim(queue, queue.first, queue.last, queue.unsent), 1.0).things
    ]


def claim_batches(store: JournalStore) -> list[Batch]:
    """Claim everything pending, in one batch for each core."""
    return [
        store.claim(Claim(queue, queue.first, queue.last, queue.unsent), 1.0) for queue in list(store.pending_cores())
    ]


def record_two_failures(store: JournalStore) -> None:
    """Record the failure of the first two things of the first core."""
    queue = next(iter(list(store.pending_cores())))
    batch = store.claim(Claim(queue, queue.first, queue.last, 2), 1.0)
    store.record_batch(batch, all_failed(batch), RECORDED_REPLY)


def record_outcomes(store: JournalStore, limit: int, succeed: bool) -> None:
    """Claim `limit` things and record their success or failure."""
    for queue in list(store.pending_cores()) if limit else ():
        batch = store.claim(Claim(queue, queue.first, queue.last, min(limit, queue.unsent)), 1.0)
        store.record_batch(batch, ALL_DISASSOCIATED if succeed else all_failed(batch), RECORDED_REPLY)


async def run_until_limit(path: Path, mode: str, limit: int = 0, *, succeed: bool = False) -> list[str]:
    """Interrupt a start after `limit` replies; the things that it could have sent."""
    journal = JournalWriter(path, threaded=False)
    await journal.submit(lambda store: store.begin_retry() if mode == "retry" else store.begin_resume())
    names = await journal.submit(claim_pending)
    journal.close()
    journal = JournalWriter(path, threaded=False)
    await journal.submit(lambda store: record_outcomes(store, limit, succeed))
    journal.close()
    return names


async def test_store_passes_select_things(tmp_path: Path) -> None:
    """A retry takes what failed and what an interrupted retry left; a resume takes the rest."""
    path = tmp_path / "j"
    create_journal(path, [("c", name) for name in "abcd"])
    assert await run_until_limit(path, "resume", 2) == ["a", "b", "c", "d"]
    # c and d have no reply: a retry does not send them.
    assert await run_until_limit(path, "retry", 1, succeed=True) == ["a", "b"]
    assert await run_until_limit(path, "retry") == ["b"]  # left by the previous retry
    assert await run_until_limit(path, "retry", 1) == ["b"]
    assert await run_until_limit(path, "resume") == ["c", "d"]  # b has failed in its pass
    assert await run_until_limit(path, "retry", 1, succeed=True) == ["b"]
    assert await run_until_limit(path, "retry", 1) == []
    assert await run_until_limit(path, "resume", 2, succeed=True) == ["c", "d"]
    assert await run_until_limit(path, "resume") == []


@pytest.mark.parametrize(("retry", "expected"), [(False, ["c", "d", "e"]), (True, ["a", "b"])])
async def test_mark_possibly_sent_marks_what_the_start_can_send(
    tmp_path: Path, retry: bool, expected: list[str]
) -> None:
    """In a resume everything pending is ambiguous, in a retry only what failed before."""
    path = tmp_path / "j"
    create_journal(path, [("c", name) for name in "abcd"] + [("x", "e")])
    with closing(JournalWriter(path, threaded=False)) as journal:
        await journal.submit(record_two_failures)
        await journal.submit(lambda store: store.begin_retry() if retry else store.begin_resume())
    for _ in range(2):
        await mark_possibly_sent(path)
    with closing(JournalWriter(path, threaded=False)) as journal:
        batches = await journal.submit(claim_batches)
    marked = [thing for batch in batches for thing, mark in zip(batch.things, batch.ambiguous, strict=True) if mark]
    assert marked == expected == [thing for batch in batches for thing in batch.things]


def test_record_rate_keeps_the_latest_changes_also_after_a_reopening() -> None:
    """More changes than fit replace the oldest ones; a later start goes on behind the last."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(_TABLES)
    for start in (0, 2500):
        store = JournalStore(connection)
        for at in range(start, start + 2500):
            store.record_rate(at, 30.0, "throttled")
    rows = connection.execute("SELECT at FROM rate_decision ORDER BY at").fetchall()
    assert [at for (at,) in rows] == list(range(1000, 5000))
