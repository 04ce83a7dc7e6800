"""Rule: how a run shows itself while it goes lives here: a live bar on a terminal, lines elsewhere, or nothing.

All of it goes to standard error and none of it can stop the run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from asyncgg.cli.notices import Notice, Notices
from asyncgg.cli.output import Output
from asyncgg.events import Event, Progress, RunEnded
from asyncgg.model import Operation
from asyncgg.report.summary import format_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Display", "Form", "RateMeter", "progress_line", "progress_record"]

_FIRST: Final = 1.0
_EVERY: Final = 5.0
"""Seconds until the first line without a terminal, and between the later ones."""
_FRAME: Final = 0.2
"""Seconds between two pictures of the live display."""


class RateMeter:
    """Requests per second over the last few seconds, from a counter looked at now and then."""

    def __init__(self, seconds: float = 3.0) -> None:
        self._seconds = seconds
        self._seen: deque[tuple[float, int]] = deque([(0.0, 0)])

    def look(self, now: float, sent: int) -> float:
        """Note that `sent` requests were sent by `now` (seconds since the start); the rate."""
        self._seen.append((now, sent))
        while len(self._seen) > 2 and now - self._seen[1][0] >= self._seconds:
            self._seen.popleft()
        then, before = self._seen[0]
        return (sent - before) / (now - then) if now > then else 0.0


def progress_line(progress: Progress, rate: float) -> str:
    """One line for a log."""
    percent = 100 * progress.finished / progress.total if progress.total else 100.0
    parts = [
        f"{progress.finished:,}/{progress.total:,} things ({percent:.0f} %)",
        f"{progress.failed:,} failed",
        *_parts(progress, rate),
    ]
    return ", ".join(parts)


def _parts(progress: Progress, rate: float) -> list[str]:
    over = not progress.pending
    mean = progress.sent / progress.seconds if progress.seconds else 0.0
    parts = [f"{mean:.1f} requests/s" if over else f"{rate:.1f} of {progress.rate:.1f} requests/s"]
    if progress.throttled:
        parts.append(f"{progress.throttled:,} throttled")
    if progress.seconds_left is not None and not over:
        parts.append(f"{format_duration(progress.seconds_left)} left")
    if progress.status:
        parts.append(progress.status)
    return parts


def progress_record(progress: Progress, rate: float, operation: Operation) -> dict[str, Any]:
    """The same as the fields of a JSON line."""
    left = progress.seconds_left
    return {
        "event": "progress",
        "total": progress.total,
        operation.past_participle: progress.disassociated,
        "failed": progress.failed,
        "pending": progress.pending,
        "in_flight": progress.in_flight,
        "sent": progress.sent,
        "throttled": progress.throttled,
        "retried": progress.retried,
        "rate_now": round(rate, 2),
        "rate": round(progress.rate, 2),
        "ceiling": round(progress.ceiling, 2),
        "seconds": round(progress.seconds, 2),
        "seconds_left": None if left is None else round(left, 2),
        "note": progress.status,
    }


@dataclass(frozen=True, slots=True)
class Form:
    """How the progress of one kind of work is told, each time with the rate of the last few seconds.

    The progress has at least `seconds` and `sent`.
    """

    line: Callable[[Any, float], str]
    """For a log."""
    record: Callable[[Any, float], dict[str, Any]]
    """The fields of a JSON line."""
    picture: Callable[[Any, float], RenderableType]
    """For a terminal."""


class _Watched(Protocol):
    """Work that tells how it stands."""

    def progress(self) -> Any: ...


class _View(Protocol):
    """One way of showing it."""

    frame: float
    """Seconds between two looks."""

    def notice(self, notice: Notice) -> None: ...

    def show(self, progress: Any, rate: float, *, last: bool) -> None: ...

    def close(self) -> None: ...


class _Lines:
    """A line for each notice, and one every few seconds."""

    frame = _FIRST

    def __init__(self, output: Output, form: Form) -> None:
        self._output = output
        self._form = form
        self._shown: float | None = None

    def notice(self, notice: Notice) -> None:
        self._output.tell(notice.fields, notice.text)

    def show(self, progress: Any, rate: float, *, last: bool) -> None:
        if last or self._shown is None or progress.seconds - self._shown >= _EVERY - _FIRST / 2:
            self._shown = progress.seconds
            self._output.tell(self._form.record(progress, rate), self._form.line(progress, rate))

    def close(self) -> None:
        pass


class _Live:
    """A bar and a line of figures, redrawn in place."""

    frame = _FRAME

    def __init__(self, output: Output, form: Form) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=output.errors, highlight=False, markup=False, emoji=False)  # type: ignore[arg-type]  # Rich needs no more of a stream
        self._live = Live(console=self._console, auto_refresh=False, transient=False, redirect_stdout=False)
        self._live.start()
        self._form = form

    def notice(self, notice: Notice) -> None:
        if notice.fields["event"] not in {"started", "ended"}:  # the bar says that
            self._live.console.print(notice.text, style="yellow")

    def show(self, progress: Any, rate: float, *, last: bool) -> None:
        self._live.update(self._form.picture(progress, rate), refresh=True)

    def close(self) -> None:
        self._live.stop()


def picture(progress: Progress, rate: float) -> RenderableType:
    """The live display at one moment."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    total = max(progress.total, 1)
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    head.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(total=total, completed=progress.finished, complete_style="cyan", finished_style="green")
    percent = int(100 * progress.finished / total)
    head.add_row(bar, Text(f"{progress.finished:,}/{progress.total:,} things"), Text(f"{percent} %"))
    failed = Text(f"{progress.failed:,} failed", style="bold red" if progress.failed else "")
    line = Text(" | ").join([failed, *(Text(part) for part in _parts(progress, rate))])
    line.no_wrap, line.overflow = True, "ellipsis"
    return Group(head, line)


class Display:
    """The view a run (or a sweep, with its own `form`) has of itself: give it `listen`, `watch` its engine."""

    def __init__(
        self, output: Output, operation: Operation = Operation.DISASSOCIATE, *, form: Form | None = None
    ) -> None:
        self._output = output
        self._form = form or Form(progress_line, partial(progress_record, operation=operation), picture)
        self._notices = Notices()
        self._meter = RateMeter()
        self._engine: _Watched | None = None
        self._view: _View | None = None
        self._clock: Callable[[], float] = lambda: 0.0

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show it while the block runs."""
        self._clock = asyncio.get_running_loop().time
        self._view = self._choose()
        ticker = asyncio.create_task(self._tick(), name="asyncgg-display")
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
            if self._view is not None:
                self._view.close()
            self._view = None

    def watch(self, engine: _Watched) -> None:
        """Show this engine's, or this sweep's, progress."""
        self._engine = engine

    def listen(self, event: Event) -> None:
        """Be told of an event."""
        if isinstance(event, RunEnded):
            self.last_look()
        notice = self._notices.take(event, self._clock())
        if notice is not None:
            self.notice(notice)

    def last_look(self) -> None:
        """Show how it ended."""
        self._look(last=True)

    def notice(self, notice: Notice) -> None:
        """Show a line."""
        if self._view is not None:
            self._view.notice(notice)

    async def _tick(self) -> None:
        while self._view is not None:
            await asyncio.sleep(self._view.frame)
            self._look()

    def _look(self, *, last: bool = False) -> None:
        if self._engine is not None and self._view is not None:
            progress = self._engine.progress()
            self._view.show(progress, self._meter.look(progress.seconds, progress.sent), last=last)

    def _choose(self) -> _View | None:
        if self._output.quiet:
            return None
        if self._output.log_json or not self._output.errors.isatty() or _dumb():
            return _Lines(self._output, self._form)
        return _Live(self._output, self._form)


def _dumb() -> bool:
    import os

    return os.environ.get("TERM", "") in {"", "dumb", "unknown"}
