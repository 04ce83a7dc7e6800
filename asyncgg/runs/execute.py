"""Executes a journal: opens the journal, builds the lane, runs the engine, returns the summary."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Protocol

from asyncgg.classify import CodeTable
from asyncgg.engine import Engine, EngineOptions, Lane, RunResult, StopReason
from asyncgg.errors import JournalError
from asyncgg.events import Event, Listener, Stopping
from asyncgg.inventory import ScanResult
from asyncgg.journal import JournalReader, JournalStore, JournalWriter, parse_operation
from asyncgg.models import Operation, RunState, Summary
from asyncgg.ratelimit import RampPlan
from asyncgg.report import EXIT_CODES
from asyncgg.retry_policy import RetryPolicy
from asyncgg.runs.connection import connection_from_settings
from asyncgg.runs.plan import rate_policy
from asyncgg.runs.prepare import AWAITS_SNAPSHOT
from asyncgg.runs.provenance import record_start
from asyncgg.settings import Settings
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.observers import open_telemetry
from asyncgg.transport import CallerIdentity, Transport, open_transport


class RunMode(Enum):
    """Which things of a journal are sent."""

    RESUME = "resume"
    """All pending things, in the first start and in later ones."""
    RETRY = "retry"
    """Only failed things."""


class SendingLease(Protocol):
    """The right to send for a journal that several hosts could run; see `asyncgg.state`."""

    async def begin_sending(self, on_lost: Callable[[str], object]) -> None:
        """Save the journal; from then on `may_send` is true. `on_lost` gets a reason, in any thread.

        Raises `LeaseLostError`, and an `AsyncggError` if the journal cannot be saved.
        """

    def may_send(self) -> bool:
        """Whether a request may be sent now."""

    def end_sending(self) -> None:
        """Nothing is sent any more: save the journal, also while requests are in flight."""


def engine_options(
    settings: Settings, operation: Operation = Operation.DISASSOCIATE, *, associations_verified: bool = False
) -> EngineOptions:
    """The engine options for these settings.

    `associations_verified`: they were listed, so by default a core that is missing now was deleted.
    """
    return EngineOptions(
        concurrency=settings.concurrency,
        per_core=settings.per_core,
        retry=RetryPolicy(settings.max_attempts, settings.max_attempts_unknown),
        codes=CodeTable(
            settings.codes,
            operation,
            absent_ok=settings.absent == "ok",
            missing_cores_ok=(settings.missing_cores or ("ok" if associations_verified else "fail")) == "ok",
        ),
        abort_at=settings.abort_at,
        abort_after=settings.abort_after,
        deadline=settings.deadline,
        stall_timeout=settings.stall_timeout,
        continue_when_denied=settings.continue_when_denied,
    )


async def execute(
    path: Path,
    settings: Settings,
    *,
    mode: RunMode = RunMode.RESUME,
    region: str | None = None,
    account: CallerIdentity | None = None,
    transport: Transport | None = None,
    listeners: Sequence[Listener] = (),
    on_engine: Callable[[Engine], None] | None = None,
    before_sending: Callable[[], Awaitable[object]] | None = None,
    limit: int | None = None,
    ramp: RampPlan | None = None,
    lease: SendingLease | None = None,
    commit_interval: float = 0.0,
) -> tuple[RunResult, Summary]:
    """Run the journal at `path` to completion, for its own operation.

    `region` decides the documented quota. `transport` replaces the one built from the settings; its
    operation must be that of the journal. `on_engine` gets the engine before its first request;
    `before_sending` is then awaited, when all else is ready. `limit` and `ramp` as for
    `EngineOptions`. With a `lease` nothing is sent without it. `commit_interval`: seconds between
    two commits, to save CPU time if many runs share a process; after a crash, the requests of about
    three intervals count as possibly sent.

    Raises `JournalError` if the journal cannot be used, `UsageError` as `open_telemetry`,
    `JournalWriteError` if the journal can no longer be written, and the exceptions of listeners.
    After cancellation the journal is resumable.
    """
    ahead = 2 * commit_interval  # batches are claimed again when half of them have been sent
    journal = await _open_journal(path, ahead)
    try:
        operation, associations_verified, labels = await _start(journal, mode, account)
        if account is not None:  # so that a later start cannot use another account
            await journal.submit(lambda store: store.put(account=account.account, arn=account.arn))
            labels = replace(labels, account=account.account)
        async with AsyncExitStack() as stack:
            telemetry = await stack.enter_async_context(open_telemetry(settings, labels))
            if transport is None:
                opening = open_transport(connection_from_settings(settings), settings.transport, operation)
                transport = await stack.enter_async_context(opening)
            options = replace(
                engine_options(settings, operation, associations_verified=associations_verified),
                claim_ahead=ahead,
                limit=limit,
                ramp=ramp,
            )
            may_send = (lambda: True) if lease is None else lease.may_send
            lane = Lane(transport, rate_policy(settings, region), retry=options.retry, may_send=may_send)
            lease_listeners = [] if lease is None else [_end_on_stop(lease)]
            engine = Engine(journal, lane, options, [*listeners, *telemetry.listeners, *lease_listeners])
            telemetry.watching(on_engine)(engine)
            if before_sending is not None:
                await engine.load()
                await before_sending()
            if lease is not None:
                await lease.begin_sending(_stop_threadsafe(engine))
            result = await engine.run()
        await journal.close_in_thread()
    finally:
        journal.close()
        if lease is not None:
            lease.end_sending()
    with JournalReader(path) as reader:
        return result, reader.summary()


def _end_on_stop(lease: SendingLease) -> Listener:
    def listen(event: Event) -> None:
        if isinstance(event, Stopping):
            lease.end_sending()

    return listen


def _stop_threadsafe(engine: Engine) -> Callable[[str], object]:
    loop = asyncio.get_running_loop()

    def stop(reason: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(engine.stop, StopReason(RunState.ABORTED, reason))

    return stop


async def _open_journal(path: Path, max_delay: float) -> JournalWriter:
    """Open the journal in a thread; cancellation leaves no lock."""
    with ThreadPoolExecutor(1) as thread:
        opening = thread.submit(JournalWriter, path, max_delay=max_delay)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            if not opening.cancel() and opening.exception() is None:  # waits for the thread, about a second at most
                opening.result().close()
            raise


async def _start(
    journal: JournalWriter, mode: RunMode, account: CallerIdentity | None
) -> tuple[Operation, bool, TelemetryLabels]:
    """Queue the things of `mode`; returns the operation, whether the things had been listed, and labels."""

    def start_pass(store: JournalStore) -> tuple[str, bool, TelemetryLabels]:
        if store.get(AWAITS_SNAPSHOT):
            raise JournalError(f"{journal.path}: its cores are to be listed first; resume the campaign in its folder")
        record_start(store, mode.value, time.time(), account.arn if account else "")
        if mode is RunMode.RETRY:
            store.begin_retry()
        else:
            store.begin_resume()
        labels = TelemetryLabels("", *(store.get(key) for key in ("account", "region", "policy_name", "target")))
        return store.get("operation"), bool(store.get("provenance")), labels

    name, associations_verified, labels = await journal.submit(start_pass)
    operation = parse_operation(name, journal.path)
    return operation, associations_verified, replace(labels, work=operation.value)


def exit_code(result: RunResult | ScanResult) -> int:
    """The exit code of the command line (a contract): 5 for credentials, else by state."""
    return 5 if result.is_auth_error else EXIT_CODES[result.state]
