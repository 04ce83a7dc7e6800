"""`Run`: a run of any iterable of associations, with a stream of outcomes.

>>> async with asyncgg.Run(pairs, region="eu-west-1") as run:   # doctest: +SKIP
...     async for outcome in run.outcomes():
...         print(outcome.core, outcome.thing, outcome.state.name)
... print(run.summary.failed)
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

from asyncgg.engine import Engine, RunResult, StopReason
from asyncgg.errors import CredentialsError, InternalError, JournalError, SnapshotError, UsageError
from asyncgg.events import Event, Listener, Progress, ThingsFinished, listens_to
from asyncgg.journal import JournalReader
from asyncgg.manifest import Chunk, Row, from_async_iterable, from_iterable
from asyncgg.models import Outcome, RunState, Summary
from asyncgg.run_directory import RunDirectory
from asyncgg.runs.connection import connection_from_settings, verify_account
from asyncgg.runs.execute import RunMode, execute
from asyncgg.runs.plan import Plan
from asyncgg.runs.prepare import JournalBuilder, default_journal
from asyncgg.runs.scan import scan_with_settings
from asyncgg.settings import OUTPUT_SETTINGS, Settings, build_settings
from asyncgg.sharing import sharing
from asyncgg.state import StateKeeper, lease_seconds, require_no_pending_run, require_saved_run, show_saved
from asyncgg.transport import CallerIdentity, Endpoint, Transport, resolve_endpoint

Rows = Iterable[Row] | AsyncIterable[Row]
"""(core, thing) pairs, `Association` values, or mappings with the columns of a manifest."""

_LOG: Final = logging.getLogger("asyncgg.state")
_MAX_BUFFERED_OUTCOMES: Final = 20_000
"""Outcomes not yet consumed at which sending pauses. Sending resumes at half of that."""


class Run:
    """One run. Entering reads and validates all rows and starts; leaving waits for the end.

    After that `summary` and `result` are set. An exception in the block, or cancellation, ends the
    run at once; its journal is resumable. `settings` (or keywords) are those of `asyncgg.Settings`;
    the environment and files are not read (see `asyncgg.load_settings`). `transport` replaces AWS.
    With the setting `state` the run is kept there, under its lease, and `journal` is temporary.

    Raises on entering:
        UnfinishedRunError: the newest run of `state` has pending things; `resume` it first.
        ManifestError: bad rows without `skip_bad_rows`, or no rows.
        GuardError: more things than `max_things`, or not the account `expect_account`.
        CredentialsError: there are no usable credentials.
        UsageError: the protect list or the endpoint cannot be used.
        JournalError: the journal cannot be created or used.
        LeaseHeldError: another process runs `state`.

    Raises on leaving:
        StateWriteError: `state` cannot be saved; the message names the local files.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        settings: Settings | None = None,
        transport: Transport | None = None,
        listeners: Sequence[Listener] = (),
        **keywords: Any,
    ) -> None:
        self._rows: Rows | None = rows
        self._recorded_account = ""
        self._mode = RunMode.RESUME
        self._overrides: dict[str, Any] = keywords
        self._settings = settings or build_settings({}, keywords)
        self.journal = self._settings.journal or default_journal()
        self._setup(transport, listeners)

    @classmethod
    def from_journal(
        cls,
        journal: str | Path | None,
        *,
        mode: RunMode = RunMode.RESUME,
        transport: Transport | None = None,
        listeners: Sequence[Listener] = (),
        **keywords: Any,
    ) -> Self:
        """Run an existing journal, with its saved settings overridden by `keywords`.

        None: the newest run of the setting `state`. Raises `UsageError` unless one of both is given.
        """
        if (journal is None) is (keywords.get("state") is None):
            raise UsageError("give either a journal or state=LOCATION")
        run = cls.__new__(cls)
        run._rows = None
        run._mode = mode
        run._overrides = keywords
        run.journal = Path(journal or "run.journal")
        if journal is not None:
            run._load(run.journal)
        else:
            run._settings = build_settings({}, keywords)
        run._setup(transport, listeners)
        return run

    def _load(self, journal: Path) -> None:
        self.journal = journal
        with JournalReader(journal) as reader:
            self._settings = build_settings(reader.settings(), self._overrides)
            self._recorded_account = reader.meta().get("account", "")

    def _setup(self, transport: Transport | None, listeners: Sequence[Listener]) -> None:
        if self._settings.state is not None and self._settings.journal is not None:
            raise UsageError("give either state or journal: the journal is in the state")
        self._transport = transport
        self._listeners = (*listeners, self._on_event)
        self._outcomes: deque[Outcome] | None = None
        self._changed = asyncio.Event()
        self._engine: Engine | None = None
        self._task: asyncio.Task[tuple[RunResult, Summary]] | None = None
        self._state: StateKeeper | None = None
        self._exit_stack = AsyncExitStack()
        self.plan: Plan | None = None
        self.result: RunResult | None = None
        self.summary: Summary | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            with sharing():
                if self._settings.state is not None:
                    await self._open_state(self._settings.state, stack)
                await self._start()
            self._exit_stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        async with self._exit_stack:
            await self._wait(error)
            if self.summary is not None and self._state is not None:
                self.summary = show_saved(self.summary, self._state.location, RunDirectory(self.journal.parent))

    async def _wait(self, error: BaseException | None) -> None:
        """Wait for the end of the run; after an `error` end it now."""
        assert self._task is not None
        self._outcomes = None  # no further consumer
        if self._engine is not None:
            self._engine.resume()
        if error is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            return
        try:
            self.result, self.summary = await self._task
        finally:
            if not self._task.done():  # cancelled while waiting: the run must end too
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def _open_state(self, location: str, stack: AsyncExitStack) -> None:
        settings = self._settings
        if self._rows is None:
            await require_saved_run(location, connection_from_settings(settings))
        state = await stack.enter_async_context(
            StateKeeper(
                location,
                connection_from_settings(settings),
                lease_seconds=lease_seconds(settings.state_lease, settings.request_timeout),
                interval=settings.state_interval,
                on_message=_LOG.warning,
            )
        )
        newest = state.latest()
        if self._rows is not None:
            await asyncio.to_thread(require_no_pending_run, location, newest)
            self._settings = settings.model_copy(update={"journal": state.create_run().journal})
        elif newest is None or not newest.has_journal:
            raise JournalError(f"{location}: the state has no run to continue; check the location")
        else:
            await asyncio.to_thread(self._load, newest.journal)
            state.require_longer_lease(self._settings.request_timeout)
        self._state = state

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """Yield each final outcome after its commit. Sending waits for a slow consumer.

        Outcomes from before the first call are not repeated: call this before any other await.
        """
        assert self._task is not None
        if self._outcomes is None:
            self._outcomes = deque()
        while True:
            while self._outcomes:
                yield self._outcomes.popleft()
                if self._engine is not None and len(self._outcomes or ()) < _MAX_BUFFERED_OUTCOMES // 2:
                    self._engine.resume()
                if self._outcomes is None:
                    return
            if self._task.done():
                return
            self._changed.clear()
            await self._changed.wait()

    def stop(self, reason: str = "stopped by the program") -> None:
        """Send no more requests and wait for those in flight. The run is resumable."""
        if self._engine is None:
            raise InternalError("stop() was called before the run started")
        self._engine.stop(StopReason(RunState.INTERRUPTED, reason))

    @property
    def progress(self) -> Progress | None:
        """The current progress; None before the run started."""
        return self._engine.progress() if self._engine else None

    def _set_engine(self, engine: Engine) -> None:
        self._engine = engine

    @listens_to(ThingsFinished)
    def _on_event(self, event: Event) -> None:
        if isinstance(event, ThingsFinished) and self._outcomes is not None:
            self._outcomes.extend(event.outcomes)
            self._changed.set()
            if len(self._outcomes) > _MAX_BUFFERED_OUTCOMES and self._engine is not None:
                self._engine.pause()

    async def _start(self) -> None:
        target = builder = account = None
        if self._transport is None:
            target = await asyncio.to_thread(resolve_endpoint, connection_from_settings(self._settings))
        if self._rows is not None:
            builder, self.plan = await self._build_journal(self._rows, target)
        try:
            if target is not None:
                account, _ = await verify_account(target, self._settings, expected_from_journal=self._recorded_account)
            if builder is not None and builder.needs_snapshot:
                await self._scan_first(builder, target, account)
        except BaseException:
            if builder is not None:
                builder.discard()
            raise
        self._task = asyncio.create_task(
            execute(
                self.journal,
                self._settings,
                mode=self._mode,
                region=target.region if target else None,
                account=account,
                transport=self._transport,
                listeners=self._listeners,
                on_engine=self._set_engine,
                lease=self._state,
            ),
            name="asyncgg-run",
        )
        self._task.add_done_callback(lambda _: self._changed.set())

    async def _scan_first(
        self, builder: JournalBuilder, target: Endpoint | None, account: CallerIdentity | None
    ) -> None:
        if target is None:
            raise UsageError("snapshot: the cores cannot be listed with a transport of the program")
        path, cores = builder.snapshot_path, builder.cores()
        scan = await scan_with_settings(
            path, self._settings, target, account=account, cores=cores, listeners=self._listeners
        )
        if not scan.finished:
            error_type = CredentialsError if scan.is_auth_error else SnapshotError
            raise error_type(f"{path}: the scan did not complete ({scan.state}): {scan.reason}")
        await asyncio.to_thread(builder.commit_with_snapshot, scan.counts)

    async def _build_journal(self, rows: Rows, target: Endpoint | None) -> tuple[JournalBuilder, Plan]:
        with JournalBuilder(self._settings.journal, self._settings, source="<iterable>") as builder:
            self.journal = builder.path
            async for chunk in _chunks(rows):
                await asyncio.to_thread(builder.add, chunk)
            return builder, await asyncio.to_thread(builder.finish, target)


async def _chunks(rows: Rows) -> AsyncIterator[Chunk]:
    if isinstance(rows, AsyncIterable):
        async for chunk in from_async_iterable(rows):
            yield chunk
    else:
        for chunk in from_iterable(rows):
            yield chunk


async def run_to_completion(run: Run) -> Summary:
    """Enter and leave `run`; return its summary."""
    async with run:
        pass
    assert run.summary is not None
    return run.summary


async def run_prepared(builder: JournalBuilder, transport: Transport | None, listeners: Sequence[Listener]) -> Summary:
    """Run the journal of `builder`; an error before the first request removes the journal."""
    try:
        output = builder.settings.model_dump(include=set(OUTPUT_SETTINGS))
        return await run_to_completion(
            Run.from_journal(builder.path, transport=transport, listeners=listeners, **output)
        )
    except BaseException:
        builder.discard()  # keeps a journal from which something was sent
        raise
