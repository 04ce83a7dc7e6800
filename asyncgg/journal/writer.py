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
from asyncgg.journal.lock import RunLock
from asyncgg.journal.store import Store

__all__ = ["Journal"]

T = TypeVar("T")
_READERS_LOOKS: Final = 25
_READERS_LOOK: Final = 0.02
"""Seconds between looks whether those who read the journal have closed it: a status takes a few milliseconds."""
_GATHER: Final = 0.005
"""Seconds that outcomes nobody waits for may gather, if no claim takes them along before."""
_Told = Callable[[BaseException | None], None]
_Call = tuple[Callable[[Store], Any], "asyncio.Future[Any] | _Told", bool]
_Done = tuple["asyncio.Future[Any] | _Told", Any, BaseException | None]


class Journal:
    """A journal opened to be run: the lock is held, what a dead process had claimed is ambiguous.

    Raises `JournalError` when it cannot be used. With `threaded=False` calls are carried out where they are made, on
    the event loop: for tests on a virtual clock, which must not run ahead of a thread. With `durable=False` nothing is
    synced, nobody else can read it, and a crash leaves rubbish: for trials whose journal is thrown away.
    """

    def __init__(self, path: Path, *, threaded: bool = True, durable: bool = True) -> None:
        self.path = path
        schema.require_file(path)  # before a lock file is put beside what is not there
        self._lock = RunLock(path)
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
        self._posted: list[_Call] = []
        self._overdue = False  # whether one of them waits for the present transaction only
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # Carried out, being committed by the thread; until it is done nobody else touches the connection.
        self._syncing: list[_Call] = []
        self._results: list[Any] = []
        self._sync_error: Exception | None = None
        self._syncs: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._sync, name="asyncgg-journal", daemon=True) if threaded else None
        if self._thread is not None:
            self._thread.start()

    def call(self, work: Callable[[Store], T], *, keep: bool = False) -> asyncio.Future[T]:
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
            _deliver(self._transact([(work, future, keep)]))
        else:
            self._posted.append((work, future, keep))
            self._send()
        return future

    def post(self, work: Callable[[Store], None], told: _Told) -> None:
        """The same with `keep`, for whoever does not wait: `told` is called with None once `work` is committed, or with
        the error. Such calls gather for 5 ms, or until the next `call`, which then shares its transaction with them.
        """
        self._loop = asyncio.get_running_loop()
        if self._error is not None:
            self._loop.call_soon(told, self._error)
        elif self._thread is None:
            self._loop.call_soon(_deliver, self._transact([(work, told, True)]))
        else:
            self._posted.append((work, told, True))
            if self._timer is None:
                self._timer = self._loop.call_later(_GATHER, self._send)

    def close(self) -> None:
        """Carry out what was asked, then leave one self-contained file and release the lock. Safe to call again.

        Blocks for as long as the last transaction takes, and half a second more while others read the journal, so that
        it also works where a task is being cancelled.
        """
        if self._thread is not None:
            self._syncs.put(False)
            self._thread.join()
            self._thread = None
            if self._timer is not None:
                self._timer.cancel()
            done = self._settled(self._sync_error)  # the thread's own word of it may come too late
            done += self._transact(self._posted)
            if done and self._loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon(_deliver, done)
        self._error = self._error or JournalWriteError(f"journal {self.path}: it is closed")
        self._leave_one_file()
        self._connection.close()
        self._lock.release()

    def _send(self) -> None:
        """Carry out what has gathered; what comes while a transaction is being synced goes with the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._syncing:
            self._overdue = True
            return
        self._overdue = False
        calls, self._posted = self._posted, []
        if self._error is not None:
            self._later(self._refused(calls))
            return
        try:
            self._results = self._carry_out(calls)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must learn of it
            self._later(self._broken(calls, error))
        else:
            self._syncing = calls
            self._syncs.put(True)

    def _sync(self) -> None:
        """The thread: commit whenever it is asked for, until told to end."""
        while self._syncs.get():
            try:
                self._connection.execute("COMMIT")
                self._sync_error = None
            except Exception as error:  # noqa: BLE001 - as above
                self._sync_error = error
            assert self._loop is not None
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._synced, self._sync_error)

    def _synced(self, error: Exception | None) -> None:
        _deliver(self._settled(error))
        if self._overdue:
            self._send()

    def _settled(self, error: Exception | None) -> list[_Done]:
        """What to tell of the transaction that was synced, or was not; nothing when it has been told."""
        calls, self._syncing = self._syncing, []
        if error is not None and calls:
            return self._broken(calls, error)
        return [(waiting, result, None) for (_, waiting, _), result in zip(calls, self._results, strict=False)]

    def _later(self, done: list[_Done]) -> None:
        assert self._loop is not None
        self._loop.call_soon(_deliver, done)

    def _leave_one_file(self) -> None:
        """End WAL mode. A full disk, or a reader that stays, leaves a WAL file; as much as can be is in the journal."""
        for _ in range(_READERS_LOOKS):
            try:
                self._connection.execute("PRAGMA journal_mode = DELETE")
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_BUSY:
                    return
            else:
                return
            time.sleep(_READERS_LOOK)  # SQLite itself does not wait here
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _recover(self) -> int:
        try:
            self._store = Store(self._connection)
            self._connection.execute("BEGIN IMMEDIATE")
            recovered = self._store.recover()
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._connection.close()
            if isinstance(error, (sqlite3.Error, ValueError)):
                raise schema.explain(error, self.path) from None
            raise
        return recovered

    def _transact(self, calls: list[_Call]) -> list[_Done]:
        """One transaction from its beginning to its end."""
        if not calls or self._error is not None:
            return self._refused(calls)
        try:
            results = self._carry_out(calls)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - as above
            return self._broken(calls, error)
        return [(waiting, result, None) for (_, waiting, _), result in zip(calls, results, strict=True)]

    def _carry_out(self, calls: list[_Call]) -> list[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        return [work(self._store) for work, _, _ in calls]

    def _refused(self, calls: list[_Call]) -> list[_Done]:
        return [(waiting, None, self._error) for _, waiting, _ in calls]

    def _broken(self, calls: list[_Call], error: Exception) -> list[_Done]:
        self._error = self._failure(error)
        return self._once_more(calls)

    def _once_more(self, calls: list[_Call]) -> list[_Done]:
        done: list[_Done] = []
        broken = False  # then later calls would build on what is not there: `abandon` on an outcome not written
        for work, future, keep in calls:
            result, error = None, self._error
            if keep and not broken:
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                    result = work(self._store)
                    self._connection.execute("COMMIT")
                    error = None
                except Exception:  # noqa: BLE001 - the first error is the one to tell
                    self._roll_back()
                    result, broken = None, True
            done.append((future, result, error))
        return done

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _failure(self, error: Exception) -> AsyncggError:
        self._roll_back()
        if isinstance(error, sqlite3.Error):
            return schema.explain(error, self.path, writing=True)
        return error if isinstance(error, AsyncggError) else JournalWriteError(f"journal {self.path}: {error!r}")


def _deliver(done: list[_Done]) -> None:
    for waiting, result, error in done:
        if not isinstance(waiting, asyncio.Future):
            waiting(error)
        elif waiting.done():  # cancelled meanwhile
            continue
        elif error is None:
            waiting.set_result(result)
        else:
            waiting.set_exception(error)
