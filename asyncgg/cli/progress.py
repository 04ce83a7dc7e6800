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

from asyncgg.cli.console import Console
from asyncgg.cli.log_events import EventFormatter, Notice
from asyncgg.events import Event, Progress, RunEnded
from asyncgg.formatting import format_duration
from asyncgg.models import Operation

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["ProgressDisplay", "ProgressView", "RateMeter", "format_progress", "progress_to_dict"]

_FIRST_LINE_AFTER: Final = 1.0
_LINE_INTERVAL: Final = 5.0
"""Seconds until the first line without a terminal, and between the later ones."""
_FRAME_INTERVAL: Final = 0.2
"""Seconds between two pictures of the live display."""


class RateMeter:
    """Requests per second over the last few seconds, from a counter looked at now and then."""

    def __init__(self, window: float = 3.0) -> None:
        self._window = window
        self._samples: deque[tuple[float, int]] = deque([(0.0, 0)])

    def update(self, now: float, sent: int) -> float:
        """Note that `sent` requests were sent by `now` (seconds since the start); the rate."""
        self._samples.append((now, sent))
        while len(self._samples) > 2 and now - self._samples[1][0] >= self._window:
            self._samples.popleft()
        first_at, first_sent = self._samples[0]
        return (sent - first_sent) / (now - first_at) if now > first_at else 0.0


def format_progress(progress: Progress, rate: float) -> str:
    """One line for a log."""
    percent = 100 * progress.finished / progress.total if progress.total else 100.0
    parts = [
        f"{progress.finished:,}/{progress.total:,} things ({percent:.0f} %)",
        f"{progress.failed:,} failed",
        *_format_parts(progress, rate),
    ]
    return ", ".join(parts)


def _format_parts(progress: Progress, rate: float) -> list[str]:
    is_done = not progress.pending
    mean = progress.sent / progress.seconds if progress.seconds else 0.0
    parts = [f"{mean:.1f} requests/s" if is_done else f"{rate:.1f} of {progress.rate:.1f} requests/s"]
    if progress.throttled:
        parts.append(f"{progress.throttled:,} throttled")
    if progress.seconds_left is not None and not is_done:
        parts.append(f"{format_duration(progress.seconds_left)} left")
    if progress.status:
        parts.append(progress.status)
    return parts


def progress_to_dict(progress: Progress, rate: float, operation: Operation) -> dict[str, Any]:
    """The same as the fields of a JSON line."""
    seconds_left = progress.seconds_left
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
        "seconds_left": None if seconds_left is None else round(seconds_left, 2),
        "note": progress.status,
    }


@dataclass(frozen=True, slots=True)
class ProgressView:
    """How the progress of one kind of work is told, each time with the rate of the last few seconds.

    The progress has at least `seconds` and `sent`.
    """

    format_line: Callable[[Any, float], str]
    """For a log."""
    to_dict: Callable[[Any, float], dict[str, Any]]
    """The fields of a JSON line."""
    render_live: Callable[[Any, float], RenderableType]
    """For a terminal."""


class _ProgressSource(Protocol):
    """Work that tells how it stands."""

    def progress(self) -> Any: ...


class _Backend(Protocol):
    """One way of showing it."""

    refresh_interval: float
    """Seconds between two looks."""

    def notice(self, notice: Notice) -> None: ...

    def show(self, progress: Any, rate: float, *, final: bool) -> None: ...

    def close(self) -> None: ...


class _LineBackend:
    """A line for each notice, and one every few seconds."""

    refresh_interval = _FIRST_LINE_AFTER

    def __init__(self, console: Console, view: ProgressView) -> None:
        self._console = console
        self._view = view
        self._last_shown_at: float | None = None

    def notice(self, notice: Notice) -> None:
        self._console.log_event(notice.fields, notice.text)

    def show(self, progress: Any, rate: float, *, final: bool) -> None:
        if (
            final
            or self._last_shown_at is None
            or progress.seconds - self._last_shown_at >= _LINE_INTERVAL - _FIRST_LINE_AFTER / 2
        ):
            self._last_shown_at = progress.seconds
            self._console.log_event(self._view.to_dict(progress, rate), self._view.format_line(progress, rate))

    def close(self) -> None:
        pass


class _LiveBackend:
    """A bar and a line of figures, redrawn in place."""

    refresh_interval = _FRAME_INTERVAL

    def __init__(self, console: Console, view: ProgressView) -> None:
        from rich.console import Console as RichConsole
        from rich.live import Live

        self._rich_console = RichConsole(file=console.stderr, highlight=False, markup=False, emoji=False)  # type: ignore[arg-type]  # Rich needs no more of a stream
        self._live = Live(console=self._rich_console, auto_refresh=False, transient=False, redirect_stdout=False)
        self._live.start()
        self._view = view

    def notice(self, notice: Notice) -> None:
        if notice.fields["event"] not in {"started", "ended"}:  # the bar says that
            self._live.console.print(notice.text, style="yellow")

    def show(self, progress: Any, rate: float, *, final: bool) -> None:
        self._live.update(self._view.render_live(progress, rate), refresh=True)

    def close(self) -> None:
        self._live.stop()


def render_live(progress: Progress, rate: float) -> RenderableType:
    """The live display at one moment."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    total = max(progress.total, 1)
    header = Table.grid(padding=(0, 1), expand=True)
    header.add_column(ratio=1)
    header.add_column(justify="right", no_wrap=True)
    header.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(total=total, completed=progress.finished, complete_style="cyan", finished_style="green")
    percent = int(100 * progress.finished / total)
    header.add_row(bar, Text(f"{progress.finished:,}/{progress.total:,} things"), Text(f"{percent} %"))
    failed = Text(f"{progress.failed:,} failed", style="bold red" if progress.failed else "")
    line = Text(" | ").join([failed, *(Text(part) for part in _format_parts(progress, rate))])
    line.no_wrap, line.overflow = True, "ellipsis"
    return Group(header, line)


class ProgressDisplay:
    """The view a run (or a sweep, with its own `form`) has of itself: give it `listen`, `watch` its engine."""

    def __init__(
        self, console: Console, operation: Operation = Operation.DISASSOCIATE, *, view: ProgressView | None = None
    ) -> None:
        self._console = console
        self._view = view or ProgressView(format_progress, partial(progress_to_dict, operation=operation), render_live)
        self._formatter = EventFormatter()
        self._meter = RateMeter()
        self._source: _ProgressSource | None = None
        self._backend: _Backend | None = None
        self._clock: Callable[[], float] = lambda: 0.0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Show it while the block runs."""
        self._clock = asyncio.get_running_loop().time
        self._backend = self._create_backend()
        ticker = asyncio.create_task(self._tick(), name="asyncgg-display")
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
            if self._backend is not None:
                self._backend.close()
            self._backend = None

    def watch(self, source: _ProgressSource) -> None:
        """Show this engine's, or this sweep's, progress."""
        self._source = source

    def listen(self, event: Event) -> None:
        """Be told of an event."""
        if isinstance(event, RunEnded):
            self.refresh_final()
        notice = self._formatter.format(event, self._clock())
        if notice is not None:
            self.notice(notice)

    def refresh_final(self) -> None:
        """Show how it ended."""
        self._refresh(final=True)

    def notice(self, notice: Notice) -> None:
        """Show a line."""
        if self._backend is not None:
            self._backend.notice(notice)

    async def _tick(self) -> None:
        while self._backend is not None:
            await asyncio.sleep(self._backend.refresh_interval)
            self._refresh()

    def _refresh(self, *, final: bool = False) -> None:
        if self._source is not None and self._backend is not None:
            progress = self._source.progress()
            self._backend.show(progress, self._meter.update(progress.seconds, progress.sent), final=final)

    def _create_backend(self) -> _Backend | None:
        if self._console.quiet:
            return None
        if self._console.log_json or not self._console.stderr.isatty() or _is_dumb_terminal():
            return _LineBackend(self._console, self._view)
        return _LiveBackend(self._console, self._view)


def _is_dumb_terminal() -> bool:
    import os

    return os.environ.get("TERM", "") in {"", "dumb", "unknown"}
