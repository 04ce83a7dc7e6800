"""The single writer of an SQLite file: it commits changes of the event loop in groups, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from asyncgg.errors import AsyncggError
from asyncgg.storage.sqlite import SqliteFormat, WalCheckpoints, rollback

S = TypeVar("S")
T = TypeVar("T")
_CLOSE_RETRIES: Final = 25
_CLOSE_RETRY_INTERVAL: Final = 0.02
"""Seconds between checks for remaining readers: a status takes a few milliseconds."""
_MAX_DELAY: Final = 0.005
"""Seconds that `submit_nowait` may delay a call; more if the writer was opened so."""
_OnCommit = Callable[[BaseException | None], None]
_Call = tuple[Callable[[Any], Any], "asyncio.Future[Any] | _OnCommit", bool]
_Completion = tuple["asyncio.Future[Any] | _OnCommit", Any, BaseException | None]


# While one transaction is synced to the disk, further calls are queued and share the next one, so
# that the cost of a sync is spread over the load. Calls execute in order: a claim sees every result
# that was recorded before it. The statements of a call take microseconds and run on the event loop;
# only the commit, which waits for the disk, runs in the thread. With the statements in the thread,
# passing the GIL for each one would cost more than they do.
class SqliteWriter(Generic[S]):
    """A file opened to be written, and locked; `create_store` makes of its connection what calls work with.

    With `threaded=False` calls are committed where they are made, for virtual clocks, which must
    not run ahead of a thread. With `durable=False` nothing is synced, the file cannot be read by
    others and a crash corrupts it: for temporary files. `max_delay`: seconds that
    `submit_nowait` may delay a call, if more than 5 ms. Raises the `error` of the format when the
    file cannot be used.
    """

    def __init__(
        self,
        file_format: SqliteFormat,
        path: Path,
        create_store: Callable[[sqlite3.Connection], S],
        *,
        threaded: bool = True,
        durable: bool = True,
        max_delay: float = 0.0,
    ) -> None:
        self.path = path
        self._format = file_format
        self._max_delay = max(_MAX_DELAY, max_delay)
        file_format.require_file(path)  # first: creates no lock file next to a missing file
        self._lock = file_format.lock(path)
        try:
            self._connection = file_format.open(path, read_only=False)
            if not durable:
                self._connection.execute("PRAGMA synchronous = OFF")
                self._connection.execute("PRAGMA journal_mode = MEMORY")
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file = path.stat()
            self._wal = WalCheckpoints(self._connection)
            try:
                with file_format.translate_errors(path):
                    self.store = create_store(self._connection)
                    self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self._error: AsyncggError | None = None
        self._is_closed = False
        self._queued: list[_Call] = []
        self._flush_again = False  # whether to flush after the current commit
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # Executed, and being committed by the thread, which alone uses the connection until it is
        # done.
        self._committing: list[_Call] = []
        self._results: list[Any] = []
        self._commit_error: Exception | None = None
        self._commit_requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._threaded = threaded
        self._thread: threading.Thread | None = None

    def _prepare(self) -> None:
        """Change the file before the first call. Raises `sqlite3.Error`."""

    def submit(self, work: Callable[[S], T], *, retry_individually: bool = False) -> asyncio.Future[T]:
        """Execute `work` in the next transaction; the future is done once that is committed.

        A failed transaction fails every call in it and every later one with the `write_error` of the format.
        Calls with `retry_individually` are then retried one by one until one fails again, so that a
        failed claim does not lose a known outcome.
        """
        loop = self._use_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._error is not None:
            future.set_exception(self._error)
        elif not self._threaded:
            _resolve(self._transact([(work, future, retry_individually)]))
        else:
            self._queued.append((work, future, retry_individually))
            self._flush()
        return future

    def submit_nowait(self, work: Callable[[S], None], on_commit: _OnCommit) -> None:
        """`submit` with `retry_individually` and a callback instead of a future.

        `on_commit` is called with None after the commit, or with the error. Such calls are queued
        for up to `max_delay`, or until the next `submit`, which shares its transaction with them.
        """
        loop = self._use_running_loop()
        if self._error is not None:
            loop.call_soon(on_commit, self._error)
        elif not self._threaded:
            loop.call_soon(_resolve, self._transact([(work, on_commit, True)]))
        else:
            self._queued.append((work, on_commit, True))
            if self._timer is None:
                self._timer = loop.call_later(self._max_delay, self._flush)

    def close(self) -> None:
        """Execute what is queued, leave one self-contained file and release the lock.

        A second call does nothing. Blocks, so that it also works in a task that is being cancelled:
        for the last transaction, and up to half a second more while other processes read the
        journal.
        """
        if self._end_calls():
            self._close_file()

    async def close_in_thread(self) -> None:
        """As `close`; meanwhile other journals of this event loop are written."""
        if self._end_calls():
            await asyncio.to_thread(self._close_file)

    def _end_calls(self) -> bool:
        """Execute what is queued, and refuse later calls; whether this is the first call."""
        if self._is_closed:
            return False
        self._is_closed = True
        self._end_thread()
        if (completions := self._transact(self._queued)) and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon(_resolve, completions)
        self._error = self._error or self._format.write_error(f"{self.path} is closed")
        return True

    def _end_thread(self) -> None:
        """Wait for the commit in progress, if there is one, and end the thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._thread is None:
            return
        self._commit_requests.put(False)
        self._thread.join()
        self._thread = None
        completions = self._collect_results(self._commit_error)  # the thread's callback may come too late
        if completions and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon(_resolve, completions)

    def _use_running_loop(self) -> asyncio.AbstractEventLoop:
        """The running loop. A command runs several, one after the other; one may end before its last commit."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._end_thread()
            self._loop = loop
        return loop

    def _close_file(self) -> None:
        self._checkpoint()
        self._connection.close()
        self._lock.release()

    def _flush(self) -> None:
        """Execute the queued calls, unless a commit is in progress."""
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
        except Exception as error:  # noqa: BLE001 - the callers get every error
            self._resolve_later(self._on_failure(calls, error))
        else:
            self._committing = calls
            if self._thread is None:
                self._thread = threading.Thread(target=self._commit_loop, name="asyncgg-sqlite", daemon=True)
                self._thread.start()
            self._commit_requests.put(True)

    def _commit_loop(self) -> None:
        """Run the thread: commit at each request, until the request is to stop."""
        while self._commit_requests.get():
            try:
                self._connection.execute("COMMIT")
                self._wal.after_commit()
                self._commit_error = None
            except Exception as error:  # noqa: BLE001 - as above
                self._commit_error = error
            assert self._loop is not None
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._on_committed, self._commit_error)

    def _on_committed(self, error: Exception | None) -> None:
        _resolve(self._collect_results(error))
        if self._flush_again:
            self._flush()

    def _collect_results(self, error: Exception | None) -> list[_Completion]:
        """The results of the commit; empty when they are collected already."""
        calls, self._committing = self._committing, []
        if error is not None and calls:
            return self._on_failure(calls, error)
        return [(waiter, result, None) for (_, waiter, _), result in zip(calls, self._results, strict=False)]

    def _resolve_later(self, completions: list[_Completion]) -> None:
        assert self._loop is not None
        self._loop.call_soon(_resolve, completions)

    def _checkpoint(self) -> None:
        """End WAL mode. With a full disk or a remaining reader a WAL file stays."""
        for _ in range(_CLOSE_RETRIES):
            try:
                self._connection.execute("PRAGMA journal_mode = DELETE")
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_BUSY:
                    return
            else:
                return
            time.sleep(_CLOSE_RETRY_INTERVAL)  # SQLite does not wait here
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _transact(self, calls: list[_Call]) -> list[_Completion]:
        if not calls or self._error is not None:
            return self._reject(calls)
        try:
            results = self._execute(calls)
            self._connection.execute("COMMIT")
            self._wal.after_commit()
        except Exception as error:  # noqa: BLE001 - as above
            return self._on_failure(calls, error)
        return [(waiter, result, None) for (_, waiter, _), result in zip(calls, results, strict=True)]

    def _execute(self, calls: list[_Call]) -> list[Any]:
        self._require_in_place()
        self._connection.execute("BEGIN IMMEDIATE")
        return [work(self.store) for work, _, _ in calls]

    def _require_in_place(self) -> None:
        """Raise an error if the file was deleted or moved; SQLite goes on writing to it."""
        try:
            is_in_place = os.path.samestat(self.path.stat(), self._file)
        except FileNotFoundError:
            is_in_place = False
        except OSError:
            return  # unknown; if the file cannot be written, SQLite reports it
        if not is_in_place:
            raise self._format.write_error(
                f"{self.path} was deleted or moved during the run; later outcomes are not recorded"
            )

    def _reject(self, calls: list[_Call]) -> list[_Completion]:
        return [(waiter, None, self._error) for _, waiter, _ in calls]

    def _on_failure(self, calls: list[_Call], error: Exception) -> list[_Completion]:
        rollback(self._connection)
        self._error = self._format.translate(error, self.path, writing=True)
        completions: list[_Completion] = []
        retry_failed = False  # after that no call is retried: `mark_interrupted` relies on the outcomes before it
        for work, waiter, retry_individually in calls:
            completion: _Completion = (waiter, None, self._error)
            if retry_individually and not retry_failed:
                try:
                    completion = (waiter, self._execute([(work, waiter, True)])[0], None)
                    self._connection.execute("COMMIT")
                except Exception:  # noqa: BLE001 - the first error is reported
                    rollback(self._connection)
                    completion, retry_failed = (waiter, None, self._error), True
            completions.append(completion)
        return completions


def _resolve(completions: list[_Completion]) -> None:
    for waiter, result, error in completions:
        if not isinstance(waiter, asyncio.Future):
            waiter(error)
        elif waiter.done():  # cancelled
            continue
        elif error is None:
            waiter.set_result(result)
        else:
            waiter.set_exception(error)
