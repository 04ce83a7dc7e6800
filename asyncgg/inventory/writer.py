"""The single writer of a snapshot: it makes changes of the event loop in groups, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from asyncgg.errors import AsyncggError, SnapshotWriteError
from asyncgg.inventory.schema import FORMAT, create
from asyncgg.inventory.store import SnapshotStore
from asyncgg.storage import WalCheckpoints
from asyncgg.storage.sqlite import rollback

_MAX_BACKLOG: Final = 200
"""Queued changes at which the scan waits: about 20,000 associations."""

T = TypeVar("T")
_Change = tuple[Callable[[SnapshotStore], Any], "asyncio.Future[Any] | None"]


# A scan does not wait for a page to be written. The transaction that writes a page also writes the
# token of the next one, so a page that is lost in a crash is requested again.
class SnapshotWriter:
    """A snapshot opened or created for a scan, and locked until `close`.

    With `threaded=False` changes are made where they are submitted, for virtual clocks, which must
    not run ahead of a thread. Raises `SnapshotError` when the file cannot be used.
    """

    def __init__(self, path: Path, *, threaded: bool = True) -> None:
        self.path = path
        self._loop = asyncio.get_running_loop()
        self._lock = FORMAT.lock(path)
        try:
            new = not path.exists() or (path.is_file() and not path.stat().st_size)
            self._connection = create(path) if new else FORMAT.open(path, read_only=False)
        except BaseException:
            self._lock.release()
            raise
        self._wal = WalCheckpoints(self._connection)
        self._store = SnapshotStore(self._connection)
        self.on_failure: Callable[[AsyncggError], None] = lambda error: None
        """Called on the event loop when changes cannot be written."""
        self.before_commit: Callable[[SnapshotStore], None] = lambda store: None
        """Called in each transaction, after its changes."""
        self._error: AsyncggError | None = None
        self._backlog = 0
        self._has_capacity = asyncio.Event()
        self._has_capacity.set()
        self._changes: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="asyncgg-snapshot", daemon=True) if threaded else None
        if self._thread is not None:
            self._thread.start()

    def run_now(self, change: Callable[[SnapshotStore], T]) -> T:
        """Make `change` immediately; only before the first submitted change. Raises its error."""
        results, error = self._transact([(change, None)])
        if error is not None:
            raise error
        return cast("T", results[0])

    def submit_nowait(self, change: Callable[[SnapshotStore], None]) -> None:
        """Make `change` in the next transaction. Raises the error of an earlier one."""
        self._enqueue(change, None)

    def submit(self, change: Callable[[SnapshotStore], T]) -> asyncio.Future[T]:
        """`submit_nowait` with a future, which is done once `change` is committed or has failed."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._enqueue(change, future)
        return future

    async def wait_for_capacity(self) -> None:
        """Wait while too many changes are queued."""
        await self._has_capacity.wait()

    def close(self) -> None:
        """Write what is queued, leave one file if possible, release the lock. Blocking."""
        if self._thread is not None:
            self._changes.put(None)
            self._thread.join()
            self._thread = None
        self._error = self._error or SnapshotWriteError(f"{self.path} is closed")
        with contextlib.suppress(sqlite3.Error):  # a reader has it open: the WAL file stays
            self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.close()
        self._lock.release()

    def _enqueue(self, change: Callable[[SnapshotStore], Any], future: asyncio.Future[Any] | None) -> None:
        if self._error is not None:
            raise self._error
        self._backlog += 1
        if self._thread is None:
            self._resolve([(change, future)], *self._transact([(change, future)]))
            return
        if self._backlog >= _MAX_BACKLOG:
            self._has_capacity.clear()
        self._changes.put((change, future))

    def _write(self) -> None:
        closing = False
        while not closing:
            gathered = [self._changes.get()]
            while not self._changes.empty():
                gathered.append(self._changes.get())
            closing = None in gathered
            changes = [change for change in gathered if change is not None]
            if changes:
                results, error = self._transact(changes)
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._resolve, changes, results, error)

    def _transact(self, changes: list[_Change]) -> tuple[list[Any], AsyncggError | None]:
        """Make the changes: their results, or the error. Every change after a failure fails."""
        if self._error is not None:
            return [], self._error
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [change(self._store) for change, _ in changes]
            self.before_commit(self._store)
            self._connection.execute("COMMIT")
            self._wal.after_commit()
        except Exception as error:  # noqa: BLE001 - the scan gets every error
            rollback(self._connection)
            self._error = FORMAT.translate(error, self.path, writing=True)
            return [], self._error
        return results, None

    def _resolve(self, changes: list[_Change], results: list[Any], error: AsyncggError | None) -> None:
        self._backlog -= len(changes)
        if self._backlog < _MAX_BACKLOG or error is not None:
            self._has_capacity.set()
        for number, (_, future) in enumerate(changes):
            if future is not None and not future.done():
                if error is None:
                    future.set_result(results[number])
                else:
                    future.set_exception(error)
        if error is not None:
            self.on_failure(error)
