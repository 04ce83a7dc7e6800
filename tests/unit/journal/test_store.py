"""Which things a resume and a retry send."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from asyncgg.batching import Claim
from asyncgg.journal import JournalStore, JournalWriter
from asyncgg.journal.schema import _TABLES
from tests.support.journal import ALL_DISASSOCIATED, RECORDED_REPLY, all_failed, create_journal


def claim_pending(store: JournalStore) -> list[str]:
    """Claim everything pending; the names of the things."""
    return [
        thing
        for queue in store.pending_cores()
        for thing in store.claim(Claim(queue, queue.first, queue.last, queue.unsent), 1.0).things
    ]


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
