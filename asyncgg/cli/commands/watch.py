"""The `asyncgg watch` command."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from asyncgg.cli.console import Console
from asyncgg.cli.options import DEBUG, JOURNAL_ARGUMENT, make_command
from asyncgg.cli.run_status import RunStatus, read_status
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.watch_view import HISTORY_SECONDS, format_watch_line, render_pane
from asyncgg.errors import UsageError
from asyncgg.journal import JournalReader
from asyncgg.journal.activity import failing_cores
from asyncgg.models import RunState
from asyncgg.report import format_summary, summary_to_dict
from asyncgg.report.summary import format_next_commands

_EPILOG = """
\b
Examples:
  asyncgg watch RUN.journal
  asyncgg watch RUN.journal >> watch.log

The run can be in another terminal. If it is stopped, the display waits until it is resumed or retried. It
ends with the run, or with Ctrl-C. It only reads the journal.
"""

_PANE_INTERVAL: Final = 1.0
_LINE_INTERVAL: Final = 2.0
"""Seconds between two updates of the pane on a terminal, and between two lines elsewhere."""
_MAX_LOAD: Final = 0.1
"""Fraction of the time that may be spent on reading the journal."""


class _StatusDisplay(Protocol):
    def __call__(self, status: RunStatus, cores: list[tuple[str, int]], /) -> object: ...


@make_command(JOURNAL_ARGUMENT, DEBUG, epilog=_EPILOG)
def command(journal: Path, **_: Any) -> int:
    """Show counts, rate and time left of a run until it ends."""
    with contextlib.suppress(KeyboardInterrupt), raise_on_signal():
        status = _watch(journal)
        lines = format_summary(status.summary, reason=status.reason) + format_next_commands(status.summary)
        Console().write_result(summary_to_dict(status.summary), lines)
    return 0


def _watch(journal: Path) -> RunStatus:
    """Show the run of `journal` until it ends, and return its last status."""
    was_running = False
    status, cores, seconds = _read(journal)
    with _open_display() as (show, interval):
        while status.running or not (was_running or status.summary.state is RunState.COMPLETE):
            was_running = was_running or status.running
            show(status, cores)
            time.sleep(max(interval, seconds / _MAX_LOAD))
            status, cores, seconds = _read(journal)
    return status


def _read(journal: Path) -> tuple[RunStatus, list[tuple[str, int]], float]:
    """The status, the cores with failures, and the seconds that reading took."""
    started = time.monotonic()
    with JournalReader(journal) as reader:
        status = read_status(reader, time.time(), seconds=HISTORY_SECONDS)
        cores = failing_cores(reader)
    return status, cores, time.monotonic() - started


def _write_lines() -> _StatusDisplay:
    """Write a line for each status that differs from the last, so that the log of a stopped run does not grow."""
    last = ""

    def show(status: RunStatus, _: list[tuple[str, int]]) -> None:
        nonlocal last
        line = format_watch_line(status)
        if line != last:
            last = line
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    return show


@contextlib.contextmanager
def _open_display() -> Iterator[tuple[_StatusDisplay, float]]:
    """What shows a status, and the seconds between two."""
    if sys.stdout is None:
        raise UsageError("standard output is closed; there is nothing to show a run on")
    if not sys.stdout.isatty() or os.environ.get("TERM", "") in {"", "dumb", "unknown"}:
        yield _write_lines(), _LINE_INTERVAL
        return
    from rich.console import Console as RichConsole
    from rich.live import Live

    console = RichConsole(highlight=False, markup=False, emoji=False)
    ascii_only = not console.encoding.lower().startswith("utf")
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield (
            lambda status, cores: live.update(render_pane(status, cores, ascii_only=ascii_only), refresh=True),
            _PANE_INTERVAL,
        )
