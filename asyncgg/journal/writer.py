"""Rule: the one writer of a journal: calls from the event loop, one transaction for all that wait, a thread to sync it.

While one transaction is being synced to the disk the next calls gather, and then share the next sync: the cost
of a sync is spread over as many calls as the load brings, and an idle run pays one for each. Calls are carried out in
the order they were made, so a claim sees everything that was settled before it.

The statements of a call take some microseconds and run on the event loop; only the commit, which waits for the disk,
is the thread's. With the statements in the thread too, both threads would pass the GIL to and fro at every statement,
which costs more than the statements do.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from asyncgg.errors import AsyncggError, JournalWriteError
from asyncgg.journal import schema
from asyncgg.journal.lock import FileLock
from asyncgg.journal.store import JournalStore

__all__ = ["JournalWriter"]

T = TypeVar("T")
_CLOSE_RETRIES: Final = 25
_CLOSE_RETRY_INTERVAL: Final = 0.02
"""Seconds between looks whether those who read the journal have closed it: a status takes a few milliseconds."""
_MAX_DELAY: Final = 0.005
"""Seconds that outcomes nobody waits for may gather, if no claim takes them along before."""
_OnCommit = Callable[[BaseException | None], None]
_Call = tuple[Callable[[JournalStore], Any], "asyncio.Future[Any] | _OnCommit", bool]
_Completion = tuple["asyncio.Future[Any] | _OnCommit", Any, BaseException | None]


class JournalWriter:
    """A journal opened to be run: the lock is held, what a dead process had claimed is ambiguous.

    Raises `JournalError` when it cannot be used. With `threaded=False` calls are carried out where they are made, on
    the event loop: for tests on a virtual clock, which must not run ahead of a thread. With `durable=False` nothing is
    synced, nobody else can read it, and a crash leaves rubbish: for trials whose journal is thrown away.
    """

    def __init__(self, path: Path, *, threaded: bool = True, durable: bool = True) -> None:
        self.path = path
        schema.require_file(path)  # before a lock file is put beside what is not there
        self._lock = FileLock(path)
        try:
            self._connection = schema.open_existing(path, "rw")
            if not durable:
                self._connection.execute("PRAGMA synchronous = OFF")
                self._connection.execute("PRAGMA journal_mode = MEMORY")
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.recovered = self._recover()
        except BaseException:
            self._lock.release()
            raise
        self._error: AsyncggError | None = None
        self._queued: list[_Call] = []
        self._flush_again = False  # whether one of them waits for the present transaction only
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # Carried out, being committed by the thread; until it is done nobody else touches the connection.
        self._committing: list[_Call] = []
        self._results: list[Any] = []
        self._commit_error: Exception | None = None
        self._commit_requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = (
            threading.Thread(target=self._commit_loop, name="asyncgg-journal", daemon=True) if threaded else None
        )
        if self._thread is not None:
            self._thread.start()

    def submit(self, work: Callable[[JournalStore], T], *, retry_alone: bool = False) -> asyncio.Future[T]:
        """Have `work` carried out in the next transaction; the future is done once that is committed.

        A failed transaction fails every call in it and every later one with `JournalWriteError`. Calls with `keep`
        are then tried once more, each on its own, until one fails again: an outcome that is known should not be lost to
        a claim that failed.
        """
        self._loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = self._loop.create_future()
        if self._error is not None:
            future.set_exception(self._error)
        elif self._thread is None:
            _resolve(self._transact([(work, future, retry_alone)]))
        else:
            self._queued.append((work, future, retry_alone))
            self._flush()
        return future

    def submit_nowait(self, work: Callable[[JournalStore], None], on_commit: _OnCommit) -> None:
        """The same with `keep`, for whoever does not wait: `told` is called with None once `work` is committed, or with
        the error. Such calls gather for 5 ms, or until the next `call`, which then shares its transaction with them.
        """
        self._loop = asyncio.get_running_loop()
        if self._error is not None:
            self._loop.call_soon(on_commit, self._error)
        elif self._thread is None:
            self._loop.call_soon(_resolve, self._transact([(work, on_commit, True)]))
        else:
            self._queued.append((work, on_commit, True))
            if self._timer is None:
                self._timer = self._loop.call_later(_MAX_DELAY, self._flush)

    def close(self) -> None:
        """Carry out what was asked, then leave one self-contained file and release the lock. Safe to call again.

        Blocks for as long as the last transaction takes, and half a second more while others read the journal, so that
        it also works where a task is being cancelled.
        """
        if self._thread is not None:
            self._commit_requests.put(False)
            self._thread.join()
            self._thread = None
            if self._timer is not None:
                self._timer.cancel()
            completions = self._collect_results(self._commit_error)  # the thread's own word of it may come too late
            completions += self._transact(self._queued)
            if completions and self._loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon(_resolve, completions)
        self._error = self._error or JournalWriteError(f"journal {self.path}: it is closed")
        self._checkpoint()
        self._connection.close()
        self._lock.release()

    def _flush(self) -> None:
        """Carry out what has gathered; what comes while a transaction is being synced goes with the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._committing:
            self._flush_again = True
            return
        self._flush_again = False
        calls, self._queued = self._queued, []
        if self._error is not None:
            self._resolve_later(self._reject(calls))
            return
        try:
            self._results = self._execute(calls)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must learn of it
            self._resolve_later(self._on_failure(calls, error))
        else:
            self._committing = calls
            self._commit_requests.put(True)

    def _commit_loop(self) -> None:
        """The thread: commit whenever it is asked for, until told to end."""
        while self._commit_requests.get():
            try:
                self._connection.execute("COMMIT")
                self._commit_error = None
            except Exception as error:  # noqa: BLE001 - as above
                self._commit_error = error
            assert self._loop is not None
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._on_committed, self._commit_error)

    def _on_committed(self, error: Exception | None) -> None:
        _resolve(self._collect_results(error))
        if self._flush_again:
            self._flush()

    def _collect_results(self, error: Exception | None) -> list[_Completion]:
        """What to tell of the transaction that was synced, or was not; nothing when it has been told."""
        calls, self._committing = self._committing, []
        if error is not None and calls:
            return self._on_failure(calls, error)
        return [(waiter, result, None) for (_, waiter, _), result in zip(calls, self._results, strict=False)]

    def _resolve_later(self, completions: list[_Completion]) -> None:
        assert self._loop is not None
        self._loop.call_soon(_resolve, completions)

    def _checkpoint(self) -> None:
        """End WAL mode. A full disk, or a reader that stays, leaves a WAL file; as much as can be is in the journal."""
        for _ in range(_CLOSE_RETRIES):
            try:
                self._connection.execute("PRAGMA journal_mode = DELETE")
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_BUSY:
                    return
            else:
                return
            time.sleep(_CLOSE_RETRY_INTERVAL)  # SQLite itself does not wait here
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _recover(self) -> int:
        try:
            self._store = JournalStore(self._connection)
            self._connection.execute("BEGIN IMMEDIATE")
            recovered = self._store.recover()
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._connection.close()
            if isinstance(error, (sqlite3.Error, ValueError)):
                raise schema.translate_error(error, self.path) from None
            raise
        return recovered

    def _transact(self, calls: list[_Call]) -> list[_Completion]:
        """One transaction from its beginning to its end."""
        if not calls or self._error is not None:
            return self._reject(calls)
        try:
            results = self._execute(calls)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - as above
            return self._on_failure(calls, error)
        return [(waiter, result, None) for (_, waiter, _), result in zip(calls, results, strict=True)]

    def _execute(self, calls: list[_Call]) -> list[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        return [work(self._store) for work, _, _ in calls]

    def _reject(self, calls: list[_Call]) -> list[_Completion]:
        return [(waiter, None, self._error) for _, waiter, _ in calls]

    def _on_failure(self, calls: list[_Call], error: Exception) -> list[_Completion]:
        self._error = self._translate(error)
        return self._retry_alone(calls)

    def _retry_alone(self, calls: list[_Call]) -> list[_Completion]:
        completions: list[_Completion] = []
        retry_failed = False  # then later calls would build on what is not there: `abandon` on an outcome not written
        for work, future, retry_alone in calls:
            result, error = None, self._error
            if retry_alone and not retry_failed:
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                    result = work(self._store)
                    self._connection.execute("COMMIT")
                    error = None
                except Exception:  # noqa: BLE001 - the first error is the one to tell
                    self._rollback()
                    result, retry_failed = None, True
            completions.append((future, result, error))
        return completions

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _translate(self, error: Exception) -> AsyncggError:
        self._rollback()
        if isinstance(error, sqlite3.Error):
            return schema.translate_error(error, self.path, writing=True)
        return error if isinstance(error, AsyncggError) else JournalWriteError(f"journal {self.path}: {error!r}")


def _resolve(completions: list[_Completion]) -> None:
    for waiter, result, error in completions:
        if not isinstance(waiter, asyncio.Future):
            waiter(error)
        elif waiter.done():  # cancelled meanwhile
            continue
        elif error is None:
            waiter.set_result(result)
        else:
            waiter.set_exception(error)
