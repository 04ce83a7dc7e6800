"""Rule: one start of a sweep as the command line does it: account, loop, signals, display, and how it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncgg.cli.notices import Notice
from asyncgg.cli.output import Output
from asyncgg.cli.progress import Display, Form
from asyncgg.cli.running import NotBegunError, run_loop
from asyncgg.cli.signals import stopping
from asyncgg.engine import StopReason
from asyncgg.inventory import MAX_SCAN_AGE, FleetScan, ScanProgress, ScanResult
from asyncgg.model import RunState
from asyncgg.report.summary import format_duration
from asyncgg.runs import verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.sweeping import scan_with_settings
from asyncgg.settings import Settings
from asyncgg.transport import CoreFilter, Endpoint

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["FORM", "sweep_now", "swept_lines", "swept_object"]


def sweep_now(
    path: Path,
    settings: Settings,
    output: Output,
    target: Endpoint,
    *,
    filters: CoreFilter | None = None,
    cores: Sequence[str] | None = None,
    max_age: float = MAX_SCAN_AGE,
) -> ScanResult:
    """Sweep into the snapshot at `path`, showing it, stoppable by signals; the account is made sure first.

    Raises `NotBegunError` when a signal came before the first request, what `confirm_account` and `take_inventory`
    raise otherwise. A second signal cuts off what is in flight and raises KeyboardInterrupt; the sweep is resumable.
    """
    how = {"filters": filters, "cores": cores, "max_age": max_age}
    return run_loop(_Start(path, settings, output, target, how).run())


class _Start:
    def __init__(self, path: Path, settings: Settings, output: Output, target: Endpoint, how: dict[str, Any]) -> None:
        self._path = path
        self._settings = settings
        self._display = Display(output, form=FORM)
        self._target = target
        self._how = how
        self._sweep: FleetScan | None = None

    async def run(self) -> ScanResult:
        task = asyncio.create_task(self._take(), name="asyncgg-inventory")
        async with self._display.shown():
            with stopping(lambda reason: self._stop(task, reason), task.cancel):
                await asyncio.wait((task,))
                if self._sweep is not None:
                    self._display.last_look()
        if not task.cancelled():
            return task.result()
        if self._sweep is None:
            raise NotBegunError("interrupted; nothing was sent")
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


def _line(progress: ScanProgress, rate: float) -> str:
    more = "+" if progress.open_ended else ""
    parts = [
        f"{progress.finished:,}/{progress.cores:,}{more} cores",
        f"{progress.associations:,} associations",
        f"{progress.sent:,} requests",
    ]
    return ", ".join([*parts, *_parts(progress, rate)])


def _parts(progress: ScanProgress, rate: float) -> list[str]:
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


def _record(progress: ScanProgress, rate: float) -> dict[str, Any]:
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


def _picture(progress: ScanProgress, rate: float) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done, more = progress.sent, "+" if progress.open_ended else ""
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(
        total=max(done + progress.requests_left, 1), completed=done, complete_style="cyan", finished_style="green"
    )
    head.add_row(bar, Text(f"{progress.finished:,}/{progress.cores:,}{more} cores"))
    line = Text(" | ").join([Text(f"{progress.associations:,} associations"), *map(Text, _parts(progress, rate))])
    line.no_wrap, line.overflow = True, "ellipsis"
    return Group(head, line)


FORM: Final = Form(_line, _record, _picture)
"""How a sweep's progress is told."""


# --- how it ended ---

_SENTENCES: Final = {
    RunState.COMPLETE: "complete: every core is listed",
    RunState.PARTIAL: "partial: some cores could not be listed",
    RunState.ABORTED: "aborted",
    RunState.DEADLINE: "stopped at the deadline",
    RunState.INTERRUPTED: "interrupted",
}


def swept_lines(swept: ScanResult) -> list[str]:
    """A sweep's end for a person."""
    counts = swept.counts
    why = f": {swept.reason}" if swept.reason and not swept.finished else ""
    cores = [f"{counts.cores:,} known, {counts.listed:,} listed"]
    for number, word in (
        (counts.vanished, "vanished meanwhile"),
        (counts.denied, "denied"),
        (counts.failed, "failed"),
        (counts.waiting, "not listed yet"),
    ):
        if number:
            cores.append(f"{number:,} {word}")
    lines = [f"{_SENTENCES[swept.state]}{why}", f"  cores      {', '.join(cores)}"]
    told = [f"{counts.associations:,} associations"]
    if counts.duplicates:
        told.append(f"{counts.duplicates:,} told more than once")
    if counts.invalid_names:
        told.append(f"{counts.invalid_names:,} names that are none left out")
    lines.append(f"  things     {', '.join(told)}")
    lines.append(
        f"  requests   {swept.sent:,} sent ({swept.minimum:,} pages), {swept.throttled:,} throttled,"
        f" {swept.retried:,} retried"
    )
    rate = f", {swept.sent / swept.seconds:.1f} requests/s" if swept.seconds >= 1 else ""
    lines.append(f"  time       {format_duration(swept.seconds)}{rate}")
    return lines


def swept_object(swept: ScanResult) -> dict[str, Any]:
    """A sweep's end as members of a JSON object."""
    counts = swept.counts
    return {
        "state": swept.state.value,
        "reason": swept.reason,
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
        "failed_share": round(swept.failed_share, 6),
        "requests": {
            "sent": swept.sent,
            "minimum": swept.minimum,
            "throttled": swept.throttled,
            "retried": swept.retried,
        },
        "seconds": round(swept.seconds, 3),
    }
