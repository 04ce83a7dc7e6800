"""A state for programs that are not one event loop: its keeper runs in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any, Final, Self

from asyncgg.errors import StateWriteError
from asyncgg.run_directory import RunDirectory
from asyncgg.state.keeper import StateKeeper
from asyncgg.transport import ConnectionConfig

_CANCEL_TIMEOUT: Final = 20.0
"""Seconds for which an interrupted start waits until its lease is released."""


# The lease is renewed while a command imports a manifest, asks for a confirmation, or changes from one
# event loop to the next.
class StateSession(AbstractContextManager["StateSession"]):
    """A `StateKeeper` in a thread with an event loop of its own; the arguments and errors are the same.

    `on_message` and the functions of `when_lost` are called in that thread.
    """

    def __init__(self, location: str, connection: ConnectionConfig, **options: Any) -> None:
        self.location = location
        self._keeper = StateKeeper(location, connection, **options)
        self._loop: asyncio.AbstractEventLoop
        self._main: asyncio.Task[None] | None = None
        self._thread: threading.Thread
        self._leaving: asyncio.Event
        self._entered: Future[None] = Future()
        self._ended: Future[None] = Future()

    @property
    def folder(self) -> Path:
        """As `StateKeeper.folder`."""
        return self._keeper.folder

    def latest(self) -> RunDirectory | None:
        """As `StateKeeper.latest`."""
        return self._keeper.latest()

    def runs_with_journal(self) -> list[str]:
        """As `StateKeeper.runs_with_journal`."""
        return self._keeper.runs_with_journal()

    def open_run(self, name: str) -> RunDirectory:
        """As `StateKeeper.open_run`."""
        return asyncio.run_coroutine_threadsafe(self._keeper.open_run(name), self._loop).result()

    def create_run(self, *, prune: bool = True) -> RunDirectory:
        """As `StateKeeper.create_run`."""
        return self._keeper.create_run(prune=prune)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=copy_context().run, args=(asyncio.run, self._run()), name="asyncgg-state", daemon=True
        )
        self._thread.start()
        try:
            self._entered.result()
        except BaseException:
            if self._main is not None:
                with suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._main.cancel)
            self._thread.join(_CANCEL_TIMEOUT)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._loop.call_soon_threadsafe(self._leaving.set)
        try:
            self._ended.result()
        except StateWriteError as failure:
            if error is None:
                raise
            self._keeper.on_message("; ".join([f"warning: {failure}", *failure.__notes__]))

    async def _run(self) -> None:
        self._loop, self._main, self._leaving = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
        try:
            async with self._keeper:
                self._entered.set_result(None)
                await self._leaving.wait()
        except BaseException as error:  # noqa: BLE001 - raised where the session is entered or left
            (self._ended if self._entered.done() else self._entered).set_exception(error)
        else:
            self._ended.set_result(None)

    # --- the right to send ---

    def require_longer_lease(self, request_timeout: float) -> None:
        """As `StateKeeper.require_longer_lease`."""
        self._keeper.require_longer_lease(request_timeout)

    async def begin_sending(self, on_lost: Callable[[str], object]) -> None:
        """As `asyncgg.runs.execute.SendingLease`."""
        work = self._keeper.begin_sending(on_lost)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def when_lost(self, on_lost: Callable[[str], object]) -> None:
        """As `StateKeeper.when_lost`."""
        self._keeper.when_lost(on_lost)

    def may_send(self) -> bool:
        """As `asyncgg.runs.execute.SendingLease`."""
        return self._keeper.may_send()

    def end_sending(self) -> None:
        """As `asyncgg.runs.execute.SendingLease`; does not wait for the save."""
        self._keeper.forbid_sending()
        self._loop.call_soon_threadsafe(self._keeper.end_sending)
