"""Rule: one start of a sweep as the command line does it: account, loop, signals, display, and how it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncgg.cli.console import Console
from asyncgg.cli.log_events import Notice
from asyncgg.cli.progress import ProgressDisplay, ProgressView
from asyncgg.cli.signals import stop_on_signal
from asyncgg.cli.supervisor import NotStartedError, run_async
from asyncgg.engine import StopReason
from asyncgg.formatting import format_duration
from asyncgg.inventory import MAX_SCAN_AGE, FleetScan, ScanProgress, ScanResult
from asyncgg.models import RunState
from asyncgg.runs import verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.scan import scan_with_settings
from asyncgg.settings import Settings
from asyncgg.transport import CoreFilter, Endpoint

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["SCAN_VIEW", "format_scan", "scan_interactively", "scan_to_dict"]


def scan_interactively(
    path: Path,
    settings: Settings,
    console: Console,
    endpoint: Endpoint,
    *,
    filters: CoreFilter | None = None,
    cores: Sequence[str] | None = None,
    max_age: float = MAX_SCAN_AGE,
) -> ScanResult:
    """Sweep into the snapshot at `path`, showing it, stoppable by signals; the account is made sure first.

    Raises `NotStartedError` when a signal came before the first request, what `verify_account` and `scan_with_settings`
    raise otherwise. A second signal cuts off what is in flight and raises KeyboardInterrupt; the sweep is resumable.
    """
    options = {"filters": filters, "cores": cores, "max_age": max_age}
    return run_async(_Start(path, settings, console, endpoint, options).run())


class _Start:
    def __init__(self, path: Path, settings: Settings, output: Console, target: Endpoint, how: dict[str, Any]) -> None:
        self._path = path
        self._settings = settings
        self._display = ProgressDisplay(output, view=SCAN_VIEW)
        self._target = target
        self._how = how
        self._sweep: FleetScan | None = None

    async def run(self) -> ScanResult:
        task = asyncio.create_task(self._take(), name="asyncgg-inventory")
        async with self._display.running():
            with stop_on_signal(lambda reason: self._stop(task, reason), task.cancel):
                await asyncio.wait((task,))
                if self._sweep is not None:
                    self._display.refresh_final()
        if not task.cancelled():
            return task.result()
        if self._sweep is None:
            raise NotStartedError("interrupted; nothing was sent")
        raise KeyboardInterrupt("cut off by a second signal; the same command goes on with the sweep")

    async def _take(self) -> ScanResult:
        account, _ = await verify_account(connection_from_settings(self._settings), self._target, self._settings)
        return await scan_with_settings(
            self._path,
            self._settings,
            self._target,
            account=account,
            listeners=[self._display.listen],
            on_scan=self._watch,
            **self._how,
        )

    def _watch(self, sweep: FleetScan) -> None:
        self._sweep = sweep
        self._display.watch(sweep)

    def _stop(self, task: asyncio.Task[Any], reason: str) -> None:
        if self._sweep is None:
            task.cancel()
        else:
            self._sweep.stop(StopReason(RunState.INTERRUPTED, reason))
            self._display.notice(Notice("a second signal cuts off what is in flight", {"event": "hint"}))


# --- how it goes ---


def _format_line(progress: ScanProgress, rate: float) -> str:
    plus = "+" if progress.open_ended else ""
    parts = [
        f"{progress.finished:,}/{progress.cores:,}{plus} cores",
        f"{progress.associations:,} associations",
        f"{progress.sent:,} requests",
    ]
    return ", ".join([*parts, *_format_parts(progress, rate)])


def _format_parts(progress: ScanProgress, rate: float) -> list[str]:
    if not progress.requests_left:
        parts = [f"{progress.sent / progress.seconds:.1f} requests/s"] if progress.seconds else []
    else:
        parts = [f"{rate:.1f} of {progress.rate:.1f} requests/s"]
        if progress.open_ended:  # nobody knows how many cores are still to come
            parts.append(f"{progress.requests_left:,} requests left at least")
        else:
            parts.append(f"about {progress.requests_left:,} requests, {format_duration(progress.seconds_left)} left")
    if progress.throttled:
        parts.append(f"{progress.throttled:,} throttled")
    return [*parts, progress.status] if progress.status else parts


def _progress_to_dict(progress: ScanProgress, rate: float) -> dict[str, Any]:
    return {
        "event": "progress",
        "cores": progress.cores,
        "finished": progress.finished,
        "associations": progress.associations,
        "in_flight": progress.in_flight,
        "sent": progress.sent,
        "throttled": progress.throttled,
        "retried": progress.retried,
        "requests_left": progress.requests_left,
        "open_ended": progress.open_ended,
        "rate_now": round(rate, 2),
        "rate": round(progress.rate, 2),
        "ceiling": round(progress.ceiling, 2),
        "seconds": round(progress.seconds, 2),
        "seconds_left": round(progress.seconds_left, 2),
        "note": progress.status,
    }


def _render_live(progress: ScanProgress, rate: float) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done, plus = progress.sent, "+" if progress.open_ended else ""
    header = Table.grid(padding=(0, 1), expand=True)
    header.add_column(ratio=1)
    header.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(
        total=max(done + progress.requests_left, 1), completed=done, complete_style="cyan", finished_style="green"
    )
    header.add_row(bar, Text(f"{progress.finished:,}/{progress.cores:,}{plus} cores"))
    line = Text(" | ").join(
        [Text(f"{progress.associations:,} associations"), *map(Text, _format_parts(progress, rate))]
    )
    line.no_wrap, line.overflow = True, "ellipsis"
    return Group(header, line)


SCAN_VIEW: Final = ProgressView(_format_line, _progress_to_dict, _render_live)
"""How a sweep's progress is told."""


# --- how it ended ---

_STATE_LABELS: Final = {
    RunState.COMPLETE: "complete: every core is listed",
    RunState.PARTIAL: "partial: some cores could not be listed",
    RunState.ABORTED: "aborted",
    RunState.DEADLINE: "stopped at the deadline",
    RunState.INTERRUPTED: "interrupted",
}


def format_scan(scan: ScanResult) -> list[str]:
    """A sweep's end for a person."""
    counts = scan.counts
    reason = f": {scan.reason}" if scan.reason and not scan.finished else ""
    cores = [f"{counts.cores:,} known, {counts.listed:,} listed"]
    for number, label in (
        (counts.vanished, "vanished meanwhile"),
        (counts.denied, "denied"),
        (counts.failed, "failed"),
        (counts.waiting, "not listed yet"),
    ):
        if number:
            cores.append(f"{number:,} {label}")
    lines = [f"{_STATE_LABELS[scan.state]}{reason}", f"  cores      {', '.join(cores)}"]
    things = [f"{counts.associations:,} associations"]
    if counts.duplicates:
        things.append(f"{counts.duplicates:,} told more than once")
    if counts.invalid_names:
        things.append(f"{counts.invalid_names:,} names that are none left out")
    lines.append(f"  things     {', '.join(things)}")
    lines.append(
        f"  requests   {scan.sent:,} sent ({scan.minimum:,} pages), {scan.throttled:,} throttled,"
        f" {scan.retried:,} retried"
    )
    rate = f", {scan.sent / scan.seconds:.1f} requests/s" if scan.seconds >= 1 else ""
    lines.append(f"  time       {format_duration(scan.seconds)}{rate}")
    return lines


def scan_to_dict(scan: ScanResult) -> dict[str, Any]:
    """A sweep's end as members of a JSON object."""
    counts = scan.counts
    return {
        "state": scan.state.value,
        "reason": scan.reason,
        "cores": {
            "total": counts.cores,
            "listed": counts.listed,
            "vanished": counts.vanished,
            "denied": counts.denied,
            "failed": counts.failed,
            "waiting": counts.waiting,
        },
        "associations": counts.associations,
        "repeated": counts.duplicates,
        "odd_names": counts.invalid_names,
        "failed_share": round(scan.failed_share, 6),
        "requests": {
            "sent": scan.sent,
            "minimum": scan.minimum,
            "throttled": scan.throttled,
            "retried": scan.retried,
        },
        "seconds": round(scan.seconds, 3),
    }
