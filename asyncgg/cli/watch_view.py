"""The pane of `asyncgg watch`, and its line where there is no terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from asyncgg.cli.run_status import RunStatus
from asyncgg.formatting import format_count, format_counts, format_duration, format_percent

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

HISTORY_SECONDS: Final = 45
"""Seconds that the sparkline shows, one character each."""
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS: Final = " .:-=+*#%"
_MAX_NAMES: Final = 3
_NARROW: Final = 36
_SPARKLINE_EDGE: Final = 23
"""Columns to the left and right of the sparkline."""


def sparkline(values: Sequence[float], top: float, blocks: str = _BLOCKS) -> str:
    """One character per value, from 0 to `top`; anything above 0 is visible."""
    last = len(blocks) - 1
    return "".join(
        blocks[min(last, max(1, round(last * value / top)))] if value > 0 and top > 0 else blocks[0] for value in values
    )


def format_watch_line(status: RunStatus) -> str:
    """The status in one line for a log."""
    summary = status.summary
    finished = summary.total - summary.pending
    parts = [
        f"{finished:,}/{summary.total:,} things ({format_percent(finished, summary.total)})",
        f"{summary.failed:,} failed",
    ]
    if not status.running:
        return ", ".join([*parts, f"{summary.state}, waiting for resume or retry", *_saved(status)])
    parts.append(f"{status.rate:.1f} requests/s (limit {status.limit:.1f})")
    parts += format_counts((summary.throttled, "throttled"))
    if status.requests_left:
        parts.append(f"{format_duration(status.seconds_left)} left")
    if status.retry_wait is not None:
        parts.append(status.retry_wait.describe(status.now))
    return ", ".join([*parts, *_saved(status)])


def _saved(status: RunStatus) -> list[str]:
    return [f"saved {status.copy}"] if status.copy else []


def render_pane(
    status: RunStatus, cores: Sequence[tuple[str, int]], *, width: int = 80, ascii_only: bool = False
) -> RenderableType:
    """The status as a few lines of `width` columns. `cores` have failed things, most first.

    On a narrow terminal labels stand above their values, so that no word is broken.
    """
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    summary, is_narrow = status.summary, width < _NARROW
    finished = summary.total - summary.pending
    percent = format_percent(finished, summary.total)
    blocks = _ASCII_BLOCKS if ascii_only else _BLOCKS
    texts = _rows(status, cores, blocks, seconds=max(5, min(HISTORY_SECONDS, width - _SPARKLINE_EDGE)))
    if is_narrow:
        state = "running" if status.running else summary.state.value
        lines: list[RenderableType] = [Text(summary.journal, style="bold"), Text(f"{state}, {percent}")]
        for label, text in texts:
            lines += [Text(label), Padding(text, (0, 0, 0, 2))] if label else [Padding(text, (0, 0, 0, 2))]
        return Group(*lines)
    heading = Table.grid(expand=True, padding=(0, 1))
    heading.add_column(ratio=1, overflow="fold")
    heading.add_column(justify="right", no_wrap=True)
    state = "running" if status.running else summary.state.value
    heading.add_row(
        Text(summary.journal, style="bold"),
        Text(f"{state}, {format_duration(summary.seconds, whole=True)}", style="cyan" if status.running else "yellow"),
    )
    bar = ProgressBar(total=max(summary.total, 1), completed=finished, complete_style="cyan", finished_style="green")
    heading.add_row(bar, Text(f"{finished:,}/{summary.total:,} things ({percent})"))
    rows = Table.grid(padding=(0, 1))
    rows.add_column(width=10, no_wrap=True)
    rows.add_column(overflow="fold")
    for label, text in texts:
        rows.add_row(f"  {label}", text)
    return Group(heading, rows)


def _rows(status: RunStatus, cores: Sequence[tuple[str, int]], blocks: str, *, seconds: int) -> list[tuple[str, Text]]:
    from rich.text import Text

    summary, failed_style = status.summary, "bold red"
    things = Text(f"{summary.disassociated:,} {summary.operation.past_participle}, {summary.already:,} already, ")
    things.append(f"{summary.failed:,} failed", style=failed_style if summary.failed else "")
    rows = [("things", things.append(f", {summary.pending:,} pending"))]
    if status.running:
        rows.append(("rate", Text(f"{status.rate:.1f} requests/s, limit {status.limit:.1f}, quota {status.quota:g}")))
        history = status.activity.per_second(status.now, seconds)
        line = Text(sparkline(history, max(status.quota, *history), blocks), style="cyan")
        rows.append(("", line.append(f"| last {seconds} s", style="default")))
        if status.activity.limit is not None:
            rows.append(("limit", Text(status.format_limit())))
    if summary.throttled:
        rows.append(("throttled", Text(f"{format_count(summary.throttled, 'request')}", style="yellow")))
    if summary.failures:
        rows.append(("codes", Text(_first_names(list(summary.failures.items())), style=failed_style)))
    if cores:
        rows.append(("cores", Text(f"failures on {_first_names(cores)}")))
    if status.retry_wait is not None:
        rows.append(("retry", Text(status.retry_wait.describe(status.now), style="yellow")))
    if left := status.format_left():
        rows.append(("left", Text(left)))
    if status.copy:
        rows.append(("saved", Text(status.copy)))
    if not status.running:
        if status.reason:
            rows.append(("reason", Text(status.reason)))
        rows.append(("waiting", Text("for resume or retry; Ctrl-C ends this display", style="yellow")))
    return rows


def _first_names(counts: Sequence[tuple[str, int]]) -> str:
    """The first few names with their counts, and how many more there are."""
    parts = [f"{name or '(no code)'} {count:,}" for name, count in counts[:_MAX_NAMES]]
    if len(counts) > _MAX_NAMES:
        parts.append(f"{len(counts) - _MAX_NAMES:,} more")
    return ", ".join(parts)
