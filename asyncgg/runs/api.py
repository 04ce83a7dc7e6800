"""Rule: the face of asyncgg for programs: a run in a few lines, from any iterable, with a stream of outcomes.

>>> async with asyncgg.Run(pairs, region="eu-west-1") as run:   # doctest: +SKIP
...     async for outcome in run.outcomes():
...         print(outcome.core, outcome.thing, outcome.state.name)
... print(run.summary.failed)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from asyncgg.engine import Engine, RunResult, StopReason
from asyncgg.errors import AsyncggError, InternalError
from asyncgg.events import Event, Listener, Progress, ThingsFinished
from asyncgg.journal import JournalReader
from asyncgg.manifest import Chunk, Row, from_async_iterable, from_iterable, load_protect_list
from asyncgg.models import Outcome, RunState, Summary
from asyncgg.runs.account import recorded_account, verify_account
from asyncgg.runs.execute import RunMode, connection_from_settings, execute
from asyncgg.runs.plan import Plan
from asyncgg.runs.prepare import JournalBuilder, default_journal
from asyncgg.settings import Settings, build_settings
from asyncgg.transport import CallerIdentity, Endpoint, Transport, resolve_endpoint

__all__ = ["Rows", "Run", "disassociate", "disassociate_sync", "resume", "retry", "run_prepared"]

Rows = Iterable[Row] | AsyncIterable[Row]
"""(core, thing) pairs, `Association`s, or mappings with the columns of a manifest."""

_MAX_BUFFERED_OUTCOMES: Final = 20_000
"""Outcomes nobody has fetched yet, at which sending waits for the consumer; it goes on at half of it."""


class Run:
    """One run: entering it reads and checks all rows, leaving it waits for the end.

    Leaving by an exception, or being cancelled, ends the run at once; its journal is resumable. After that `summary`
    and `result` are set. `settings` are those of `asyncgg.Settings`; neither environment nor files are read for them
    (see `asyncgg.load_settings`). `transport` replaces AWS, for tests.

    Raises when entered:
        ManifestError: bad rows without `skip_bad_rows`, or no rows.
        GuardError: `max_things` or `expect_account` forbids it.
        CredentialsError, UsageError, JournalError: as their texts say.
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
        self._mode = RunMode.RESUME
        self._settings = settings or build_settings({}, keywords)
        self.journal = self._settings.journal or default_journal()
        self._setup(transport, listeners)

    @classmethod
    def from_journal(
        cls,
        journal: str | Path,
        *,
        mode: RunMode = RunMode.RESUME,
        transport: Transport | None = None,
        listeners: Sequence[Listener] = (),
        **keywords: Any,
    ) -> Self:
        """Another start of a journal, with its own settings overruled by `keywords`."""
        run = cls.__new__(cls)
        run._rows = None
        run._mode = mode
        run.journal = Path(journal)
        with JournalReader(run.journal) as reader:
            run._settings = build_settings(reader.settings(), keywords)
        run._setup(transport, listeners)
        return run

    def _setup(self, transport: Transport | None, listeners: Sequence[Listener]) -> None:
        self._transport = transport
        self._listeners = (*listeners, self._on_event)
        self._outcomes: deque[Outcome] | None = None
        self._changed = asyncio.Event()
        self._engine: Engine | None = None
        self._task: asyncio.Task[tuple[RunResult, Summary]] | None = None
        self.plan: Plan | None = None
        self.result: RunResult | None = None
        self.summary: Summary | None = None

    async def __aenter__(self) -> Self:
        target = await self._resolve_endpoint()
        builder = None
        if self._rows is not None:
            builder, self.plan = await self._build_journal(self._rows, target)
        try:
            account = await self._verify_account(target)
        except AsyncggError:
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
            ),
            name="asyncgg-run",
        )
        self._task.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._outcomes = None  # nobody fetches any more
        if self._engine is not None:
            self._engine.resume()
        if error is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            return
        try:
            self.result, self.summary = await self._task
        finally:
            if not self._task.done():  # we are being cancelled: the run is too, and its journal is left in order
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """Each final outcome once it is committed. Sending waits for a consumer that is slower than the service.

        Those that came before the first call of it are not repeated; call it before awaiting anything else.
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
        """Send nothing new, let what is in flight end; the run is resumable."""
        if self._engine is None:
            raise InternalError("stop() before the run was begun")
        self._engine.stop(StopReason(RunState.INTERRUPTED, reason))

    @property
    def progress(self) -> Progress | None:
        """How it stands; None before it began."""
        return self._engine.progress() if self._engine else None

    def _set_engine(self, engine: Engine) -> None:
        self._engine = engine

    def _on_event(self, event: Event) -> None:
        if isinstance(event, ThingsFinished) and self._outcomes is not None:
            self._outcomes.extend(event.outcomes)
            self._changed.set()
            if len(self._outcomes) > _MAX_BUFFERED_OUTCOMES and self._engine is not None:
                self._engine.pause()

    async def _resolve_endpoint(self) -> Endpoint | None:
        if self._transport is not None:
            return None
        return await asyncio.to_thread(resolve_endpoint, connection_from_settings(self._settings))

    async def _verify_account(self, target: Endpoint | None) -> CallerIdentity | None:
        if target is None:
            return None
        expected = "" if self._rows is not None else recorded_account(self.journal)
        return (
            await verify_account(
                connection_from_settings(self._settings), target, self._settings, expected_from_journal=expected
            )
        )[0]

    async def _build_journal(self, rows: Rows, target: Endpoint | None) -> tuple[JournalBuilder, Plan]:
        protect = load_protect_list(str(self._settings.protect)) if self._settings.protect else None
        builder = JournalBuilder(self.journal, self._settings, source="<iterable>", protect=protect)
        try:
            async for chunk in _chunks(rows):
                await asyncio.to_thread(builder.add, chunk)
        except BaseException:
            builder.discard()
            raise
        return builder, await asyncio.to_thread(builder.finish, target)


async def _chunks(rows: Rows) -> AsyncIterator[Chunk]:
    if isinstance(rows, AsyncIterable):
        async for chunk in from_async_iterable(rows):
            yield chunk
    else:
        for chunk in from_iterable(rows):
            yield chunk


async def _run_to_completion(run: Run) -> Summary:
    async with run:
        pass
    assert run.summary is not None
    return run.summary


async def disassociate(rows: Rows, **keywords: Any) -> Summary:
    """Disassociate all `rows` and return the summary; keywords and errors as for `Run`."""
    return await _run_to_completion(Run(rows, **keywords))


async def resume(journal: str | Path, **keywords: Any) -> Summary:
    """Go on where a stopped run was; keywords and errors as for `Run.from_journal`."""
    return await _run_to_completion(Run.from_journal(journal, mode=RunMode.RESUME, **keywords))


async def retry(journal: str | Path, **keywords: Any) -> Summary:
    """Try again only what failed, in a new pass of the same journal; keywords and errors as for `Run.from_journal`."""
    return await _run_to_completion(Run.from_journal(journal, mode=RunMode.RETRY, **keywords))


def disassociate_sync(rows: Iterable[Row], **keywords: Any) -> Summary:
    """The same as `disassociate`, for a program without an event loop."""
    return asyncio.run(disassociate(rows, **keywords))


async def run_prepared(builder: JournalBuilder, transport: Transport | None, listeners: Sequence[Listener]) -> Summary:
    """Run a journal that was just made, to its end; one from which nothing was sent does not stay."""
    run = Run.from_journal(builder.path, transport=transport, listeners=listeners)
    try:
        async with run:
            pass
    except BaseException:
        builder.discard()  # which leaves it alone once something was sent
        raise
    assert run.summary is not None
    return run.summary
