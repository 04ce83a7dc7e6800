"""The `asyncgg watch` command."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asyncgg.cli.console import Console
from asyncgg.cli.options import DEBUG, JOURNAL_OR_STATE, READ_STATE, make_command
from asyncgg.cli.run_status import RunStatus
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.state import describe_copy, open_journal, state_connection
from asyncgg.cli.watch_view import HISTORY_SECONDS, format_watch_line, render_pane
from asyncgg.decommission.journal import is_decommission
from asyncgg.errors import UsageError
from asyncgg.fleet.folder import is_campaign
from asyncgg.formatting import format_count
from asyncgg.journal import JournalReader
from asyncgg.journal.activity import failing_cores
from asyncgg.models import RunState
from asyncgg.report import format_summary, summary_to_dict
from asyncgg.report.summary import format_next_commands

if TYPE_CHECKING:
    from rich.console import RenderableType

    from asyncgg.state import StateDocument

T = TypeVar("T")

_EPILOG = """
\b
Examples:
  asyncgg watch RUN.journal
  asyncgg watch RUN.journal >> watch.log
  asyncgg watch CAMPAIGN
  asyncgg watch model-7.journal
  asyncgg watch --state s3://bucket/runs

The run can be in another terminal. If it is stopped, the display waits until it is resumed or retried. It
ends with the run, or with Ctrl-C. It only reads the journal. The newest run of a state is shown as it was
saved last; its process saves it every 30 s.
"""

_PANE_INTERVAL: Final = 1.0
_LINE_INTERVAL: Final = 2.0
"""Seconds between two updates of the pane on a terminal, and between two lines elsewhere."""
_STATE_INTERVAL: Final = 5.0
"""Seconds between two looks at a state."""
_MAX_LOAD: Final = 0.1
"""Fraction of the time that may be spent on reading the journal."""


_Status = tuple[RunStatus, list[tuple[str, int]]]
"""The status of a run, and its cores with failures."""


@make_command(JOURNAL_OR_STATE, READ_STATE, DEBUG, epilog=_EPILOG)
def command(journal: Path | None, **arguments: Any) -> int:
    """Show counts, rate and time left of a run until it ends."""
    with contextlib.suppress(KeyboardInterrupt), raise_on_signal():
        if journal is not None and is_campaign(journal):
            from asyncgg.cli.campaign_watch import watch_campaign

            watch_campaign(journal, _open_display)
            return 0
        if journal is not None and is_decommission(journal):
            _watch_decommission(journal)
            return 0
        status = _watch(_Watched(journal, arguments))
        lines = format_summary(status.summary, reason=status.reason) + format_next_commands(status.summary)
        Console().write_result(summary_to_dict(status.summary), lines)
    return 0


class _Watched:
    """The journal that is watched, or the newest one of a state."""

    def __init__(self, journal: Path | None, arguments: Mapping[str, Any]) -> None:
        self._journal, self._arguments = journal, arguments
        self._location = ""
        self._read: _Status | None = None
        self._document: StateDocument | None = None

    @property
    def min_interval(self) -> float:
        """Seconds between two readings, at least."""
        return _STATE_INTERVAL if self._location else 0.0

    def read(self) -> _Status:
        """The status, and the cores with failures. A copy is downloaded only if it changed."""
        if self._read is None or self._has_changed():
            with open_journal(self._journal, None, self._arguments) as opened, JournalReader(opened.path) as reader:
                self._read = (opened.read_status(reader, seconds=HISTORY_SECONDS), failing_cores(reader))
                self._location, self._document = opened.location, opened.document
        status, cores = self._read
        if self._document is not None:
            status = replace(status, copy=describe_copy(self._document, time.time()))
        return status, cores

    def _has_changed(self) -> bool:
        if self._document is None:
            return True
        from asyncgg.state import read_document

        now = read_document(self._location, state_connection(self._arguments))
        before, self._document = self._document, replace(self._document, holder=now.holder)
        return (now.files, now.clean, now.holder is None) != (before.files, before.clean, before.holder is None)


def _watch(watched: _Watched) -> RunStatus:
    """Show the run until it ends, and return its last status."""

    def format_line(moment: _Status) -> str:
        return format_watch_line(moment[0])

    def render(moment: _Status, width: int, _height: int, *, ascii_only: bool) -> RenderableType:
        return render_pane(*moment, width=width, ascii_only=ascii_only)

    def state(moment: _Status) -> RunState:
        return RunState.RUNNING if moment[0].running else moment[0].summary.state

    return _follow(watched.read, state, format_line, render, lambda: watched.min_interval)[0]


def _watch_decommission(path: Path) -> None:
    """Show the stage of a decommission until it ends, and write its result."""
    from asyncgg.decommission.journal import DecommissionJournal
    from asyncgg.decommission.report import format_summary_lines, needs_resume, summarize_saved

    def read() -> dict[str, Any]:
        with DecommissionJournal(path, read_only=True) as book:
            return summarize_saved(book)

    def state(summary: dict[str, Any]) -> RunState:
        is_waiting = summary["stage"] != "plan" and needs_resume(summary["devices"])
        return RunState(summary["state"]) if is_waiting else RunState.COMPLETE

    def format_line(summary: dict[str, Any]) -> str:
        counts = summary["devices"]
        parts = [f"{summary['stage']}: {counts['done']:,}/{format_count(counts['total'], 'device')} done"]
        parts += [f"{counts[name]:,} {name}" for name in ("refused", "failed") if counts[name]]
        return ", ".join([*parts, "running" if state(summary) is RunState.RUNNING else "waiting for resume"])

    def render(summary: dict[str, Any], *_: int, **_options: object) -> RenderableType:
        from rich.text import Text

        return Text("\n".join(format_summary_lines(summary)))

    summary = _follow(read, state, format_line, render)
    Console().write_result(summary, format_summary_lines(summary))


def _follow(
    read: Callable[[], T],
    state: Callable[[T], RunState],
    format_line: Callable[[T], str],
    render: Callable[..., RenderableType],
    min_interval: Callable[[], float] = lambda: 0.0,
) -> T:
    """Show what `read` returns until it has ended, and return the last; `min_interval`: seconds, known after a read."""
    was_running = False
    with _open_display(format_line, render) as (show, interval):
        while True:
            started = time.monotonic()
            moment = read()
            seconds = time.monotonic() - started
            is_running = state(moment) is RunState.RUNNING
            if not is_running and (was_running or state(moment) is RunState.COMPLETE):
                return moment
            was_running = was_running or is_running
            show(moment)
            time.sleep(max(interval, min_interval(), seconds / _MAX_LOAD))


def _write_lines(format_line: Callable[[Any], str]) -> Callable[[Any], object]:
    """Write a line for each status that differs from the last, so that the log of a stopped run does not grow."""
    last = ""

    def show(moment: Any) -> None:
        nonlocal last
        line = format_line(moment)
        if line != last:
            last = line
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    return show


@contextlib.contextmanager
def _open_display(
    format_line: Callable[[Any], str], render: Callable[..., RenderableType]
) -> Iterator[tuple[Callable[[Any], object], float]]:
    """What shows a moment, by `render` on a terminal and by `format_line` elsewhere, and the seconds between two."""
    if sys.stdout is None:
        raise UsageError("standard output is closed; there is nothing to show a run on")
    if not sys.stdout.isatty() or os.environ.get("TERM", "") in {"", "dumb", "unknown"}:
        yield _write_lines(format_line), _LINE_INTERVAL
        return
    from rich.console import Console as RichConsole
    from rich.live import Live

    console = RichConsole(highlight=False, markup=False, emoji=False)
    ascii_only = not console.encoding.lower().startswith("utf")
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield (
            lambda moment: live.update(
                render(moment, console.width, console.height, ascii_only=ascii_only), refresh=True
            ),
            _PANE_INTERVAL,
        )
