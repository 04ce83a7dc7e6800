"""Keeps a state: takes the lease, restores the files, saves them at an interval and at the end."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from asyncgg.errors import AsyncggError, LeaseLostError, StateWriteError, UsageError
from asyncgg.run_directory import RunDirectory
from asyncgg.state.lease import Lease
from asyncgg.state.restore import download_run
from asyncgg.state.store import StateStore, open_store
from asyncgg.state.working_folder import FileCopy, WorkingFolder
from asyncgg.transport import ConnectionConfig

_MAX_SAVE_SHARE: Final = 0.1
"""The part of the time that saves may take: the interval of a large journal grows."""
_MAX_FAILED_SAVES: Final = 3
_STOPPING_INTERVAL: Final = 1.0
"""Seconds between saves while requests in flight end: the process can be killed at any moment."""
_FINAL_SAVE_TIMEOUT: Final = 20.0
"""Seconds: an orchestrator kills a container 30 s after SIGTERM."""


class StateKeeper(AbstractAsyncContextManager["StateKeeper"]):
    """The state at `location`, run by this process from entering to leaving, in one event loop.

    It is the `SendingLease` of the runs in `folder`. `lease_seconds`: as `Lease`. `interval`: seconds
    between saves. `client`: as `open_store`. `temporary_folder`: where the local copy is made, by
    default in that of the system. `on_message` gets lines for people. Leaving saves what changed and
    releases the lease.

    Raises on entering:
        LeaseHeldError: another process runs the state.
        UsageError, CredentialsError, StateWriteError: the store cannot be used.
        JournalError: the state is damaged, or of another version.

    Raises on leaving:
        StateWriteError: the state cannot be saved. The files stay in `folder`.
    """

    def __init__(
        self,
        location: str,
        connection: ConnectionConfig,
        *,
        lease_seconds: float,
        interval: float,
        keep_runs: int = 30,
        client: Any = None,
        temporary_folder: Path | None = None,
        on_message: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.location = location
        self.on_message = on_message
        self._connection = connection
        self._lease_seconds = lease_seconds
        self._interval = interval
        self._keep_runs = keep_runs
        self._client = client
        self._temporary_folder = temporary_folder
        self._root: Path
        self._files: WorkingFolder
        self._lease: Lease
        self._store: StateStore
        self._exit_stack: AsyncExitStack
        self._saving = asyncio.Lock()
        self._leaving = asyncio.Event()
        self._saver: asyncio.Task[None]
        self._stop_saver: asyncio.Task[None] | None = None
        self._is_sending = False
        self._on_lost: list[Callable[[str], object]] = []
        self._keys = 0

    @property
    def folder(self) -> Path:
        """The local folder of the runs."""
        return self._files.folder

    @property
    def lost_reason(self) -> str:
        """Why the lease is lost, so that nothing may be sent; empty while it is held."""
        return self._lease.lost_reason

    def latest(self) -> RunDirectory | None:
        """The newest run of the state."""
        return self._files.runs.latest()

    def runs_with_journal(self) -> list[str]:
        """The names of the saved runs that sent something, or were about to; oldest first."""
        return self._lease.document.runs(with_journal=True)

    async def open_run(self, name: str) -> RunDirectory:
        """Download an older run, unless it is there; what changes in it is saved, too.

        Raises `UsageError` if the state has no such run, `JournalError` if it is damaged.
        """
        async with self._saving:
            return await download_run(self._store, self._lease.document, self._files, name)

    def create_run(self, *, prune: bool = True) -> RunDirectory:
        """Create the folder of a new run, and delete the oldest runs unless `prune` is false."""
        run = self._files.runs.create(time.time())
        if prune:
            self._files.runs.prune(run)
        return run

    async def __aenter__(self) -> Self:
        self._root = Path(await asyncio.to_thread(tempfile.mkdtemp, None, "asyncgg-state-", self._temporary_folder))
        self._files = WorkingFolder(self._root, self._keep_runs)
        try:
            async with AsyncExitStack() as stack:
                self._store = await stack.enter_async_context(open_store(self.location, self._connection, self._client))
                self._lease = Lease(self._store, self._lease_seconds, self._connection.request_timeout)
                stack.push_async_callback(self._lease.release)
                await self._lease.acquire(self.on_message)
                renewing = asyncio.create_task(self._lease.keep_renewed(self._lost), name="asyncgg-lease")
                stack.push_async_callback(asyncio.wait, (renewing,))
                stack.callback(renewing.cancel)
                await self._restore()
                self._saver = asyncio.create_task(self._save_at_interval(), name="asyncgg-saver")
                self._exit_stack = stack.pop_all()
        except BaseException:
            shutil.rmtree(self._root, ignore_errors=True)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._is_sending = False
        try:
            async with self._exit_stack:
                self._leaving.set()
                await asyncio.wait((self._saver, *([self._stop_saver] if self._stop_saver else [])))
                await self._save_at_end()
        except AsyncggError as failure:
            hint = f"the run is in {self.folder}"
            if error is None and not isinstance(failure, LeaseLostError):
                failure.add_note(hint)
                raise
            self.on_message(f"warning: {failure}; {hint}")
        else:
            await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)

    # --- the right to send ---

    def require_longer_lease(self, request_timeout: float) -> None:
        """Raise `UsageError` if the lease can run out before a request has ended."""
        if request_timeout > self._connection.request_timeout:
            raise UsageError(
                f"the run has a request timeout of {request_timeout:g} s; give --request-timeout"
                f" {request_timeout:g}s too, so that the lease of the state is longer"
            )

    async def begin_sending(self, on_lost: Callable[[str], object]) -> None:
        """As `asyncgg.runs.execute.SendingLease`."""
        self.when_lost(on_lost)
        await self._save(begin_sending=True)

    def when_lost(self, on_lost: Callable[[str], object]) -> None:
        """Call `on_lost` with a reason when the lease is lost."""
        self._on_lost.append(on_lost)

    def may_send(self) -> bool:
        """As `asyncgg.runs.execute.SendingLease`; can be called from every thread."""
        return self._is_sending and self._lease.may_send()

    def forbid_sending(self) -> None:
        """Allow no further request; can be called from every thread."""
        self._is_sending = False

    def end_sending(self) -> None:
        """As `asyncgg.runs.execute.SendingLease`; does not wait for the save."""
        self.forbid_sending()
        if self._stop_saver is None or self._stop_saver.done():
            self._stop_saver = asyncio.get_running_loop().create_task(self._save_while_stopping())

    async def _save_while_stopping(self) -> None:
        """Save at once, and then what the requests in flight become."""
        while not self._is_sending:
            with suppress(AsyncggError):  # leaving saves again
                await self._save()
            if await self._wait_for_leaving(_STOPPING_INTERVAL):
                return

    # --- saving ---

    async def _restore(self) -> None:
        document = self._lease.document
        await asyncio.to_thread(self._files.create_folders, document)
        if runs := document.runs():
            await download_run(self._store, document, self._files, runs[-1])
        if not self._lease.document.clean:
            self.on_message(
                f"{self.location} was not saved at the end of its last start: what was pending was possibly sent"
            )
            await self._files.mark_possibly_sent()

    async def _save_at_interval(self) -> None:
        failed, pause = 0, self._interval
        while not await self._wait_for_leaving(pause):
            started = asyncio.get_running_loop().time()
            try:
                await self._save()
                failed = 0
            except AsyncggError as error:
                failed += 1
                self.on_message(f"warning: {self.location}: the state could not be saved: {error}")
                if failed == _MAX_FAILED_SAVES:
                    self._lost(f"the state could not be saved {failed} times in a row: {error}")
            seconds = asyncio.get_running_loop().time() - started
            pause = max(self._interval - seconds, seconds / _MAX_SAVE_SHARE)

    async def _wait_for_leaving(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        return self._leaving.is_set()

    async def _save(self, *, begin_sending: bool = False) -> None:
        async with self._saving:
            clean = not (self._is_sending or begin_sending)
            document = self._lease.document
            files, saved = self._files.kept(document), list[FileCopy]()
            try:
                copies = self._files.copy_changed(self._make_key, self.location, is_running=not clean)
                while (copy := await asyncio.to_thread(next, copies, None)) is not None:
                    await self._store.upload(copy.path, copy.saved.key)
                    files[copy.name] = copy.saved
                    saved.append(copy)
                if files != document.files or clean != document.clean:
                    await self._lease.publish(
                        replace(self._lease.document, files=files, clean=clean, saved_at=time.time())
                    )
            except (OSError, sqlite3.Error, ValueError) as error:
                raise StateWriteError(f"{self.location}: cannot copy the journal: {error}") from None
            self._files.mark_saved(saved)
            if begin_sending:
                if not self._lease.may_send():  # lost before there was a run to stop
                    raise LeaseLostError(self._lease.lost_reason)
                self._is_sending = True
            keys = {file.key for file in files.values()}
            for file in document.files.values():
                if file.key not in keys:
                    with suppress(AsyncggError):
                        await self._store.delete(file.key)

    async def _save_at_end(self) -> None:
        failure = StateWriteError(f"{self.location}: no answer")
        try:
            async with asyncio.timeout(_FINAL_SAVE_TIMEOUT):
                while True:
                    try:
                        return await self._save()
                    except StateWriteError as error:
                        failure = error
                        await asyncio.sleep(1.0)
        except TimeoutError:
            raise StateWriteError(f"the state could not be saved at the end: {failure}") from None

    def _lost(self, reason: str) -> None:
        self._is_sending = False
        for on_lost in self._on_lost:
            with suppress(RuntimeError):  # its event loop is closed: its work has ended
                on_lost(reason)

    def _make_key(self, name: str) -> str:
        self._keys += 1
        return f"files/{name}.{self._lease.id}-{self._keys}"
