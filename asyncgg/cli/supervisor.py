"""Rule: one start of a journal as the command line does it lives here: loop, signals, display, summary, exit code."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from asyncgg.cli.console import Console
from asyncgg.cli.log_events import Notice
from asyncgg.cli.progress import ProgressDisplay
from asyncgg.cli.signals import cancel_on_signal, stop_on_signal
from asyncgg.engine import Engine, RunResult, StopReason
from asyncgg.errors import AsyncggError
from asyncgg.events import Event, RunStarted
from asyncgg.journal import JournalReader, parse_operation
from asyncgg.models import RunState, Summary
from asyncgg.report import format_summary, summary_to_dict
from asyncgg.report.summary import next_commands
from asyncgg.runs import RunMode, execute, exit_code
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity

__all__ = ["NotStartedError", "run_async", "run_journal", "write_summary"]

T = TypeVar("T")


class NotStartedError(KeyboardInterrupt):
    """It was stopped before its first request."""


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on uvloop where that is installed, else on asyncio's own loop.

    Raises KeyboardInterrupt when a signal cancelled it; where `stopping` is in force, that decides.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        pass
    task: asyncio.Task[Any] | None = None
    signalled = False

    async def run_work() -> T:
        nonlocal task
        task = asyncio.current_task()
        if signalled:
            work.close()
            raise asyncio.CancelledError
        return await work

    def cancel() -> None:
        nonlocal signalled
        signalled = True
        if task is not None and not task.done():
            task.get_loop().call_soon_threadsafe(task.cancel)

    with cancel_on_signal(cancel), asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(run_work())
        except asyncio.CancelledError:
            if not signalled:
                raise
            raise KeyboardInterrupt from None


def run_journal(
    path: Path,
    settings: Settings,
    console: Console,
    *,
    mode: RunMode,
    region: str | None,
    account: CallerIdentity | None,
    on_start: Callable[[], object] = lambda: None,
) -> tuple[RunResult, Summary]:
    """Run the journal to its end, showing it, stoppable by signals. `on_begin` is called before the first request.

    Raises `NotStartedError` when a signal came before that, and whatever `execute` raises; in the midst of the run
    the summary is written first.
    """
    started = False

    def mark_started() -> None:
        nonlocal started
        started = True
        on_start()

    try:
        with JournalReader(path) as reader:
            display = ProgressDisplay(console, parse_operation(reader.meta().get("operation", ""), path))
        return run_async(_Start(path, settings, display, mode, region, account, mark_started).run())
    except AsyncggError as error:
        if started:
            _write_partial_summary(path, console, error)
        raise


class _Start:
    def __init__(
        self,
        path: Path,
        settings: Settings,
        display: ProgressDisplay,
        mode: RunMode,
        region: str | None,
        account: CallerIdentity | None,
        on_begin: Callable[[], object],
    ) -> None:
        self._path = path
        self._settings = settings
        self._display = display
        self._how: dict[str, Any] = {"mode": mode, "region": region, "account": account}
        self._on_begin = on_begin
        self._engine: Engine | None = None
        self._begun = False

    async def run(self) -> tuple[RunResult, Summary]:
        task = asyncio.create_task(
            execute(
                self._path,
                self._settings,
                **self._how,
                listeners=[self._listen, self._display.listen],
                on_engine=self._watch,
            ),
            name="asyncgg-run",
        )
        async with self._display.running():
            with stop_on_signal(lambda reason: self._stop(task, reason), task.cancel):
                await asyncio.wait((task,))
        if not task.cancelled():
            return task.result()
        if not self._begun:
            raise NotStartedError("interrupted; nothing was sent")
        with JournalReader(self._path) as reader:
            return RunResult(RunState.INTERRUPTED, "cut off by a second signal"), reader.summary()

    def _watch(self, engine: Engine) -> None:
        self._engine = engine
        self._display.watch(engine)

    def _listen(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._begun = True
            self._on_begin()

    def _stop(self, task: asyncio.Task[Any], reason: str) -> None:
        if self._engine is None or not self._begun:
            task.cancel()
        else:
            self._engine.stop(StopReason(RunState.INTERRUPTED, reason))
            self._display.notice(Notice("a second signal cuts off what is in flight", {"event": "hint"}))


def _write_partial_summary(path: Path, console: Console, error: AsyncggError) -> None:
    """Write what is known of a run that `error` broke off (a full disk, say): its outcomes count none the less."""
    with contextlib.suppress(AsyncggError), JournalReader(path) as reader:
        summary = reader.summary()
        lines = format_summary(summary)
        lines += ["next:", *(f"  {command}" for command in next_commands(summary))]
        console.write_result(summary_to_dict(summary, exit_code=error.exit_code, reason=str(error)), lines)


def write_summary(console: Console, result: RunResult, summary: Summary, *, suggest_next: bool = True) -> int:
    """Write the summary; the exit code."""
    summary = replace(summary, state=result.state)
    code = exit_code(result)
    lines = format_summary(summary, reason=result.reason)
    if suggest_next and (commands := next_commands(summary)):
        lines += ["next:", *(f"  {command}" for command in commands)]
    if console.as_json and not console.quiet:
        console.print(*lines)
    console.write_result(summary_to_dict(summary, exit_code=code, reason=result.reason), lines)
    return code
