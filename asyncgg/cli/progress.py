"""Shows progress on standard error, as a live bar on a terminal and as lines elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from asyncgg.cli.console import Console
from asyncgg.cli.log_events import EventFormatter, Notice
from asyncgg.cli.wrapping import wrap_lines
from asyncgg.events import Event, Progress, RunEnded, listens_to
from asyncgg.formatting import format_counts, format_duration, format_percent
from asyncgg.models import Operation
from asyncgg.telemetry.labels import ProgressSource
from asyncgg.telemetry.messages import MESSAGES

if TYPE_CHECKING:
    from rich.console import RenderableType

_FIRST_LINE_AFTER: Final = 1.0
_LINE_INTERVAL: Final = 5.0
"""Seconds until the first line without a terminal, and between later ones."""
_FRAME_INTERVAL: Final = 0.2
"""Seconds between two frames of the live display."""


_MIN_RATE_WINDOW: Final = 1.0
"""Seconds over which a rate is measured at least."""
_LIMIT_TOLERANCE: Final = 0.05
"""Relative change of the limit from which on it is another one."""


class RateMeter:
    """Requests per second over the last few seconds, from samples of a counter.

    After a change of the limit it covers the time since then, but at least `_MIN_RATE_WINDOW`.
    """

    def __init__(self, window: float = 3.0) -> None:
        self._window = window
        self._samples: deque[tuple[float, int]] = deque([(0.0, 0)])
        self._limit, self._limit_since = 0.0, 0.0

    def update(self, now: float, sent: int, limit: float) -> float:
        """Record that `sent` requests were sent by `now`, in seconds; return the rate."""
        if abs(limit - self._limit) > _LIMIT_TOLERANCE * self._limit:
            self._limit, self._limit_since = limit, now
        window = min(self._window, max(_MIN_RATE_WINDOW, now - self._limit_since))
        self._samples.append((now, sent))
        while len(self._samples) > 2 and now - self._samples[1][0] >= window:
            self._samples.popleft()
        first_at, first_sent = self._samples[0]
        return (sent - first_sent) / max(now - first_at, _MIN_RATE_WINDOW)


@dataclass(frozen=True, slots=True)
class ProgressView:
    """How one kind of progress is shown; rates are those of the last few seconds."""

    fraction: Callable[[Any], tuple[float, float]]
    """What is done, and the total."""
    label: Callable[[Any], str]
    """The same as text."""
    details: Callable[[Any, float], list[str]]
    """Further figures, given the rate."""
    to_dict: Callable[[Any, float], dict[str, Any]]
    """The fields of a JSON line, given the rate."""

    def format_line(self, progress: Any, rate: float) -> str:
        """One line for a log."""
        return ", ".join(filter(None, [self.label(progress), *self.details(progress, rate), status_of(progress)]))


def status_of(progress: Any) -> str:
    """Why no requests are sent now; empty if they are, or if this kind of progress does not know."""
    return getattr(progress, "status", "")


def format_rate(progress: Any, rate: float) -> str:
    """The rate of the last few seconds and its limit, which is adapting while it is below the maximum."""
    digits = 0 if progress.rate >= 10 else 1
    adapting = ", adapting" if progress.rate < progress.ceiling else ""
    return f"{rate:.{digits}f} requests/s (limit {progress.rate:.{digits}f}{adapting})"


def run_view(operation: Operation) -> ProgressView:
    """The view of a run's `Progress`."""
    return ProgressView(
        lambda progress: (progress.finished, progress.total),
        _run_label,
        _run_details,
        partial(progress_to_dict, operation=operation),
    )


def _run_label(progress: Progress) -> str:
    percent = format_percent(progress.finished, progress.total)
    return f"{progress.finished:,}/{progress.total:,} things ({percent})"


def _run_details(progress: Progress, rate: float) -> list[str]:
    is_done = not progress.pending
    mean = progress.sent / progress.seconds if progress.seconds else 0.0
    details = [
        f"{progress.failed:,} failed",
        f"{mean:.1f} requests/s" if is_done else format_rate(progress, rate),
    ]
    details += format_counts((progress.throttled, "throttled"))
    if progress.seconds_left is not None and not is_done:
        details.append(f"{format_duration(progress.seconds_left)} left")
    return details


def progress_to_dict(progress: Progress, rate: float, operation: Operation) -> dict[str, Any]:
    """The fields of a run's JSON line."""
    fields = progress_event(progress, rate)
    return fields | {operation.past_participle: fields.pop("disassociated")}


def progress_event(progress: Any, rate: float) -> dict[str, Any]:
    """The fields of a progress, a dataclass, for a JSON line, with the `rate` of the last few seconds."""
    fields = {"event": "progress", **asdict(progress), "rate_now": rate}
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in fields.items()}


class _LineBackend:
    """A line for each notice, and one every few seconds."""

    refresh_interval: Final = _FIRST_LINE_AFTER

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

    refresh_interval: Final = _FRAME_INTERVAL

    def __init__(self, console: Console, view: ProgressView) -> None:
        from rich.console import Console as RichConsole
        from rich.live import Live

        self._rich_console = RichConsole(file=console.stderr, highlight=False, markup=False, emoji=False)  # type: ignore[arg-type]  # Rich needs no more of a stream
        self._live = Live(console=self._rich_console, auto_refresh=False, transient=False, redirect_stdout=False)
        self._live.start()
        self._view = view
        self._last: tuple[Any, float] | None = None

    def notice(self, notice: Notice) -> None:
        if notice.fields.get("event") not in {"started", "ended"}:  # the bar shows these
            lines = wrap_lines([notice.text], self._live.console.width)
            self._live.console.print("\n".join(lines), style="yellow", soft_wrap=True)

    def show(self, progress: Any, rate: float, *, final: bool) -> None:
        self._last = (progress, rate)
        self._live.update(render_live(self._view, progress, rate), refresh=True)

    def close(self) -> None:
        if self._last is not None:
            self._live.update(render_live(self._view, *self._last, final=True))
        self._live.stop()


def render_live(view: ProgressView, progress: Any, rate: float, *, final: bool = False) -> RenderableType:
    """The lines of the live display; the last ones, which stay, have no status."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done, total = view.fraction(progress)
    header = Table.grid(padding=(0, 1), expand=True)
    header.add_column(ratio=1)
    header.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(total=max(total, 1), completed=done, complete_style="cyan", finished_style="green")
    header.add_row(bar, Text(view.label(progress)))
    line = Text(" | ".join(view.details(progress, rate)), no_wrap=True, overflow="ellipsis")
    line.highlight_regex(r"\b[1-9][\d,]* failed", "bold red")
    status = "" if final else status_of(progress)
    return Group(header, line, Text(status, style="yellow")) if status else Group(header, line)


class ProgressDisplay:
    """Shows the progress of the watched source, and the notices of its events."""

    def __init__(
        self, console: Console, operation: Operation = Operation.DISASSOCIATE, *, view: ProgressView | None = None
    ) -> None:
        self._console = console
        self._view = view or run_view(operation)
        self._formatter = EventFormatter()
        self._meter = RateMeter()
        self._source: ProgressSource | None = None
        self._backend: _LineBackend | _LiveBackend | None = None
        self._clock: Callable[[], float] = lambda: 0.0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Refresh the display while the block runs."""
        self._clock = asyncio.get_running_loop().time
        with self.open():
            ticker = asyncio.create_task(self._tick(), name="asyncgg-display")
            try:
                yield
            finally:
                ticker.cancel()
                await asyncio.gather(ticker, return_exceptions=True)

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[Any], None]]:
        """Show the display during the block, which calls the yielded function with its progress."""
        self._backend = self._create_backend()
        if self._backend is not None:
            self._console.show_record = lambda fields, text: self.notice(Notice(text, dict(fields)))
        shown_at = time.monotonic()

        def show(progress: Any) -> None:
            nonlocal shown_at
            now = time.monotonic()
            if self._backend is not None and now - shown_at >= self._backend.refresh_interval:
                shown_at = now
                self._backend.show(progress, 0.0, final=False)

        try:
            yield show
        finally:
            self._console.show_record = None
            if self._backend is not None:
                self._backend.close()
            self._backend = None

    def watch(self, source: ProgressSource) -> None:
        """Show the progress of this source from now on."""
        self._source = source

    @listens_to(*MESSAGES)
    def listen(self, event: Event) -> None:
        """Show the notice of an event, if it has one."""
        if isinstance(event, RunEnded):
            self.refresh_final()
        if self._console.verbose:  # the log has every event
            return
        notice = self._formatter.format(event, self._clock())
        if notice is not None:
            self.notice(notice)

    def refresh_final(self) -> None:
        """Show the last progress."""
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
            self._backend.show(
                progress, self._meter.update(progress.seconds, progress.sent, progress.rate), final=final
            )

    def _create_backend(self) -> _LineBackend | _LiveBackend | None:
        if self._console.quiet:
            return None
        is_dumb = os.environ.get("TERM", "") in {"", "dumb", "unknown"}
        if self._console.log_json or is_dumb or not self._console.stderr.isatty():
            return _LineBackend(self._console, self._view)
        return _LiveBackend(self._console, self._view)
