"""The writer of SQLite files with several event loops, one after the other."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from asyncgg.decommission.journal import DECOMMISSION_FORMAT, DecommissionJournal
from asyncgg.storage import SqliteWriter


@pytest.mark.parametrize("is_failing", [False, True])
def test_a_loop_that_ends_during_a_commit_leaves_it_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_failing: bool
) -> None:
    """The commit is finished before the next loop writes, and its failure is that of all later calls."""
    path, is_released = tmp_path / "j", threading.Event()
    DecommissionJournal.create(path, ["a"], stage="quarantine").close()
    writer = SqliteWriter(DECOMMISSION_FORMAT, path, lambda connection: connection)
    after_commit = writer._wal.after_commit

    def delay_commit() -> None:
        is_released.wait(10)
        if is_failing:
            raise sqlite3.OperationalError("disk I/O error")
        after_commit()

    monkeypatch.setattr(writer._wal, "after_commit", delay_commit)

    async def put(key: str) -> None:
        await writer.submit(lambda connection: connection.execute("INSERT INTO meta VALUES (?, '')", (key,)))

    async def end_early() -> None:
        task = asyncio.ensure_future(put("first"))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(end_early())
    is_released.set()
    if is_failing:
        with pytest.raises(DECOMMISSION_FORMAT.write_error):
            asyncio.run(put("second"))
    else:
        asyncio.run(put("second"))
    writer.close()
    with DecommissionJournal(path, read_only=True) as journal:
        assert {"first", "second"} & journal.meta().keys() == ({"first"} if is_failing else {"first", "second"})
