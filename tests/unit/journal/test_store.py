"""Rule: which things a start may send: all that is pending, or only what failed."""

from __future__ import annotations

from pathlib import Path

from asyncgg.batching import Claim
from asyncgg.journal import JournalStore, JournalWriter
from tests.support.journal import ALL_DISASSOCIATED, RECORDED_REPLY, all_failed, create_journal


def claim_pending(store: JournalStore) -> list[str]:
    """Claim everything there is to do; the things' names."""
    return [
        thing
        for work in store.pending_cores()
        for thing in store.claim(Claim(work, work.first, work.last, work.unsent), 1.0).things
    ]


def record_outcomes(store: JournalStore, limit: int, succeed: bool) -> None:
    """Claim `limit` things and write their success or failure."""
    for work in list(store.pending_cores()) if limit else ():
        batch = store.claim(Claim(work, work.first, work.last, min(limit, work.unsent)), 1.0)
        store.record_batch(batch, ALL_DISASSOCIATED if succeed else all_failed(batch), RECORDED_REPLY)


async def run_until_limit(path: Path, mode: str, limit: int = 0, *, succeed: bool = False) -> list[str]:
    """One start, which is cut off after `limit` answers; the things it could have sent."""
    journal = JournalWriter(path, threaded=False)
    await journal.submit(lambda store: store.begin_retry() if mode == "retry" else store.begin_resume())
    names = await journal.submit(claim_pending)
    journal.close()
    journal = JournalWriter(path, threaded=False)
    await journal.submit(lambda store: record_outcomes(store, limit, succeed))
    journal.close()
    return names


async def test_passes(tmp_path: Path) -> None:
    """A retry takes what failed and what an interrupted retry left, again and again; only a resume takes the rest."""
    path = tmp_path / "j"
    create_journal(path, [("c", name) for name in "abcd"])
    assert await run_until_limit(path, "resume", 2) == ["a", "b", "c", "d"]
    assert await run_until_limit(path, "retry", 1, succeed=True) == [
        "a",
        "b",
    ]  # c and d were never answered: not a retry's business
    assert await run_until_limit(path, "retry") == ["b"]  # what the retry before left
    assert await run_until_limit(path, "retry", 1) == ["b"]
    assert await run_until_limit(path, "resume") == ["c", "d"]  # b has failed in its pass
    assert await run_until_limit(path, "retry", 1, succeed=True) == ["b"]
    assert await run_until_limit(path, "retry", 1) == []
    assert await run_until_limit(path, "resume", 2, succeed=True) == ["c", "d"]
    assert await run_until_limit(path, "resume") == []
