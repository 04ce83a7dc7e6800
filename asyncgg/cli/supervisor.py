"""Runs the work of a command with an event loop, a progress display and signal handling."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from asyncgg.cli.console import Console
from asyncgg.cli.context import CommandContext
from asyncgg.cli.log_events import Notice
from asyncgg.cli.progress import ProgressDisplay
from asyncgg.cli.signals import cancel_on_signal, stop_on_signal
from asyncgg.engine import Engine, RunResult, StopReason
from asyncgg.errors import AsyncggError, GuardError, UsageError
from asyncgg.events import Event, RunStarted, listens_to
from asyncgg.journal import JournalReader, parse_operation
from asyncgg.models import RunState, Summary
from asyncgg.report import format_summary, summary_to_dict
from asyncgg.report.summary import format_next_commands
from asyncgg.runs import RunMode, execute, exit_code
from asyncgg.transport import CallerIdentity

T = TypeVar("T")
_GC_THRESHOLDS: Final = (50_000, 20, 20)


class NotStartedError(KeyboardInterrupt):
    """A signal stopped the work before its first request."""


class StoppedTwiceError(KeyboardInterrupt):
    """A second signal aborted requests in flight."""


@contextlib.contextmanager
def noting_nothing_sent(
    is_started: Callable[[], bool] = lambda: False, *, but: tuple[type[AsyncggError], ...] = ()
) -> Iterator[None]:
    """Add to an error in the block that nothing was sent, unless the run `is_started`.

    Errors of usage, of guards and of the types `but` stay as they are, since these never come later.
    Raises `NotStartedError` instead of another KeyboardInterrupt before the start.
    """
    try:
        yield
    except NotStartedError:
        raise
    except AsyncggError as error:
        if not (is_started() or isinstance(error, (UsageError, GuardError, *but))):
            error.add_note("nothing was sent")
        raise
    except KeyboardInterrupt:
        if not is_started():
            raise NotStartedError("interrupted; nothing was sent") from None
        raise


@dataclass(slots=True)
class Supervision:
    """What supervised work and its supervisor share."""

    display: ProgressDisplay
    stop: Callable[[str], object] | None = None
    """Stops the work gracefully, given the reason. The work sets it before its first request."""


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on uvloop if it is installed, else on asyncio's own loop.

    Raises KeyboardInterrupt if a signal cancelled it; within `stop_on_signal`, that decides.
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

    with _fewer_collections(), cancel_on_signal(cancel), asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(run_work())
        except asyncio.CancelledError:
            if not signalled:
                raise
            raise KeyboardInterrupt from None


@contextlib.contextmanager
def _fewer_collections() -> Iterator[None]:
    """Collect garbage in cycles less often: a request makes some hundred objects and hardly any cycle.

    Python's defaults cost 0.06 ms of CPU per request. A library leaves this to its program.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def run_supervised(
    work: Callable[[Supervision], Coroutine[Any, Any, T]],
    display: ProgressDisplay,
    *,
    abort_message: str = "aborted by a second signal",
    show_end: bool = True,
) -> T:
    """Run `work` with its display. The first signal stops it, the second one cancels it.

    Raises:
        NotStartedError: a signal came before the work set `Supervision.stop`.
        StoppedTwiceError: the second signal; its message is `abort_message`.
    """
    supervision = Supervision(display)
    task = run_async(_supervise(work, supervision, show_end))
    if not task.cancelled():
        return task.result()
    if supervision.stop is None:
        raise NotStartedError("interrupted; nothing was sent")
    raise StoppedTwiceError(abort_message)


async def _supervise(
    work: Callable[[Supervision], Coroutine[Any, Any, T]], supervision: Supervision, show_end: bool
) -> asyncio.Task[T]:
    """The finished task of `work`."""
    task = asyncio.create_task(work(supervision), name="asyncgg-work")
    display = supervision.display

    def stop(reason: str) -> None:
        if supervision.stop is None:
            task.cancel()
        else:
            supervision.stop(reason)
            display.notice(Notice("Press Ctrl-C again to abort in-flight requests", {"event": "hint"}))

    async with display.running():
        with stop_on_signal(stop, task.cancel):
            await asyncio.wait((task,))
            if show_end:
                with contextlib.suppress(Exception):  # the source may have failed before it had any progress
                    display.refresh_final()
    return task


def run_journal(
    path: Path,
    context: CommandContext,
    *,
    mode: RunMode,
    region: str | None,
    account: CallerIdentity | None,
    on_start: Callable[[], object] = lambda: None,
) -> tuple[RunResult, Summary]:
    """Run the journal to its end. `on_start` is called before the first request.

    Raises `NotStartedError` if a signal came before that, and what `execute` raises; if the run
    had started, its summary is written first.
    """
    with JournalReader(path) as reader:
        display = ProgressDisplay(context.console, parse_operation(reader.meta().get("operation", ""), path))
    started = False

    async def work(supervision: Supervision) -> tuple[RunResult, Summary]:
        engine: Engine | None = None

        def watch(created: Engine) -> None:
            nonlocal engine
            engine = created
            display.watch(created)

        def stop(reason: str) -> None:
            assert engine is not None
            engine.stop(StopReason(RunState.INTERRUPTED, reason))

        @listens_to(RunStarted)
        def listen(_: Event) -> None:
            nonlocal started
            started = True
            supervision.stop = stop
            on_start()

        return await execute(
            path,
            context.settings,
            mode=mode,
            region=region,
            account=account,
            listeners=[listen, display.listen],
            on_engine=watch,
            lease=context.state,
        )

    try:
        result, summary = run_supervised(work, display, show_end=False)
        return result, context.show_saved(summary)
    except StoppedTwiceError as error:
        with JournalReader(path) as reader:
            return RunResult(RunState.INTERRUPTED, str(error)), reader.summary()
    except AsyncggError as error:
        if started:
            _write_partial_summary(path, context.console, error)
        raise


def _write_partial_summary(path: Path, console: Console, error: AsyncggError) -> None:
    """Write the summary of a run that `error` ended, a full disk for example."""
    with contextlib.suppress(AsyncggError), JournalReader(path) as reader:
        write_failed_summary(console, reader.summary(), error)


def write_failed_summary(console: Console, summary: Summary, error: AsyncggError) -> None:
    """Write the summary of a run after which the command failed with `error`."""
    document = summary_to_dict(summary, exit_code=error.exit_code, reason=str(error))
    lines = format_summary(summary) + format_next_commands(summary, error.exit_code)
    console.write_result(document, lines)


def write_summary(console: Console, result: RunResult, summary: Summary, *, suggest_next: bool = True) -> int:
    """Write the summary and return the exit code."""
    summary = replace(summary, state=result.state)
    code = exit_code(result)
    document = summary_to_dict(summary, exit_code=code, reason=result.reason)
    lines = format_summary(summary, reason=result.reason)
    if suggest_next:
        lines += format_next_commands(summary, code)
    else:
        document["next"] = []
    console.write_result(document, lines, always_print=True)
    return code
