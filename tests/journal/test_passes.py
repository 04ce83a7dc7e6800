"""Rule: which things a start may send: all that is pending, or only what failed."""

from __future__ import annotations

from pathlib import Path

from asyncgg.batching import Claim
from asyncgg.journal import JournalStore, JournalWriter
from tests.journal.support import ANSWER, DONE, failed, make


def claim(store: JournalStore) -> list[str]:
    """Claim everything there is to do; the things' names."""
    return [
        thing
        for work in store.pending_cores()
        for thing in store.claim(Claim(work, work.first, work.last, work.unsent), 1.0).things
    ]


def answer(store: JournalStore, limit: int, good: bool) -> None:
    """Claim `limit` things and write their success or failure."""
    for work in list(store.pending_cores()) if limit else ():
        batch = store.claim(Claim(work, work.first, work.last, min(limit, work.unsent)), 1.0)
        store.record_batch(batch, DONE if good else failed(batch), ANSWER)


async def start(path: Path, mode: str, limit: int = 0, *, good: bool = False) -> list[str]:
    """One start, which is cut off after `limit` answers; the things it could have sent."""
    journal = JournalWriter(path, threaded=False)
    await journal.submit(lambda store: store.begin_retry() if mode == "retry" else store.begin_resume())
    names = await journal.submit(claim)
    journal.close()
    journal = JournalWriter(path, threaded=False)
    await journal.submit(lambda store: answer(store, limit, good))
    journal.close()
    return names


async def test_passes(tmp_path: Path) -> None:
    """A retry takes what failed and what an interrupted retry left, again and again; only a resume takes the rest."""
    path = tmp_path / "j"
    make(path, [("c", name) for name in "abcd"])
    assert await start(path, "resume", 2) == ["a", "b", "c", "d"]
    assert await start(path, "retry", 1, good=True) == ["a", "b"]  # c and d were never answered: not a retry's business
    assert await start(path, "retry") == ["b"]  # what the retry before left
    assert await start(path, "retry", 1) == ["b"]
    assert await start(path, "resume") == ["c", "d"]  # b has failed in its pass
    assert await start(path, "retry", 1, good=True) == ["b"]
    assert await start(path, "retry", 1) == []
    assert await start(path, "resume", 2, good=True) == ["c", "d"]
    assert await start(path, "resume") == []
