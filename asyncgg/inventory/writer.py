"""Rule: the one writer of a snapshot: calls from the event loop, one transaction for all that wait, one thread.

Nobody waits for a page to be written before the next one is asked for: a page that is lost in a crash is asked for
again, and it and the token of the next one are in the same transaction. Only a backlog makes the sweep wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from asyncgg.errors import AsyncggError, JournalError, SnapshotError, SnapshotWriteError
from asyncgg.inventory import schema
from asyncgg.inventory.store import SnapshotStore
from asyncgg.journal.lock import FileLock

__all__ = ["SnapshotWriter", "snapshot_lock"]

_MAX_BACKLOG: Final = 200
"""Changes that may wait to be written: some 20,000 associations."""

T = TypeVar("T")
_Change = tuple[Callable[[SnapshotStore], Any], "asyncio.Future[Any] | None"]


class SnapshotWriter:
    """A snapshot opened, or made, to be swept into; its lock is held until `close`.

    Raises `SnapshotError` when it cannot be used. With `threaded=False` changes are made where they are posted, for
    tests on a virtual clock, which must not run ahead of a thread.
    """

    def __init__(self, path: Path, *, threaded: bool = True) -> None:
        self.path = path
        self._loop = asyncio.get_running_loop()
        self._lock = snapshot_lock(path)
        try:
            new = not path.exists() or (path.is_file() and not path.stat().st_size)
            self._connection = schema.create(path) if new else schema.open_existing(path, "rw")
        except BaseException:
            self._lock.release()
            raise
        self._store = SnapshotStore(self._connection)
        self.on_failure: Callable[[AsyncggError], None] = lambda error: None
        """Called on the loop, once, when changes could not be written."""
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
        """Make `change` where it is asked for; only before the first `post`. Raises what it fails with."""
        results, error = self._transact([(change, None)])
        if error is not None:
            raise error
        return cast("T", results[0])

    def submit_nowait(self, change: Callable[[SnapshotStore], None]) -> None:
        """Have `change` made in the next transaction. Raises what an earlier one failed with."""
        self._enqueue(change, None)

    def submit(self, change: Callable[[SnapshotStore], T]) -> asyncio.Future[T]:
        """The same; the future is done once `change` is committed, or could not be."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._enqueue(change, future)
        return future

    async def wait_for_capacity(self) -> None:
        """Wait while more changes wait than may."""
        await self._has_capacity.wait()

    def close(self) -> None:
        """Write what was posted, leave one self-contained file where that is possible, release the lock. Blocking."""
        if self._thread is not None:
            self._changes.put(None)
            self._thread.join()
            self._thread = None
        self._error = self._error or SnapshotWriteError(f"snapshot {self.path}: it is closed")
        with contextlib.suppress(sqlite3.Error):  # somebody reads it: then the WAL file stays beside it
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
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._resolve, changes, results, error)

    def _transact(self, changes: list[_Change]) -> tuple[list[Any], AsyncggError | None]:
        """Make the changes: their results, or why they could not be made; after a failure none ever is."""
        if self._error is not None:
            return [], self._error
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [change(self._store) for change, _ in changes]
            self.before_commit(self._store)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, the sweep must learn of it
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            self._error = self._translate(error)
            return [], self._error
        return results, None

    def _translate(self, error: Exception) -> AsyncggError:
        if isinstance(error, sqlite3.Error):
            return schema.translate_error(error, self.path, writing=True)
        return error if isinstance(error, AsyncggError) else SnapshotWriteError(f"snapshot {self.path}: {error!r}")

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


def snapshot_lock(path: Path) -> FileLock:
    """The right to sweep into `path`, until it is released. Raises `SnapshotError` when another process has it."""
    try:
        return FileLock(path)
    except JournalError as error:
        if "running it" in str(error):
            raise SnapshotError(
                f"snapshot {path}: another process is sweeping into it; wait for it or stop it"
            ) from None
        raise SnapshotError(f"snapshot {path}: {str(error).removeprefix(f'journal {path}: ')}") from None
