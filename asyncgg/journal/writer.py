"""The single writer of a journal."""

from __future__ import annotations

import contextlib
from pathlib import Path

from asyncgg.journal.schema import FORMAT
from asyncgg.journal.store import JournalStore
from asyncgg.storage import SqliteWriter


class JournalWriter(SqliteWriter[JournalStore]):
    """A journal opened to be run: claims of a dead process are ambiguous. The options are those of `SqliteWriter`."""

    def __init__(self, path: Path, *, threaded: bool = True, durable: bool = True, max_delay: float = 0.0) -> None:
        super().__init__(FORMAT, path, JournalStore, threaded=threaded, durable=durable, max_delay=max_delay)

    def _prepare(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self.recovered = self.store.recover()
        self._connection.execute("COMMIT")


async def write_meta(path: Path, **values: object) -> None:
    """Set metadata of a journal that no other process runs. Raises as `JournalWriter`."""
    with contextlib.closing(JournalWriter(path, threaded=False)) as journal:
        await journal.submit(lambda store: store.put(**values))


async def mark_possibly_sent(path: Path) -> None:
    """As `JournalStore.mark_possibly_sent`, for a journal that no other process runs."""
    with contextlib.closing(JournalWriter(path, threaded=False)) as journal:
        await journal.submit(lambda store: store.mark_possibly_sent())
