"""Shows a campaign until its targets have ended: `asyncgg watch FOLDER`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncgg.cli.campaign_view import write_results
from asyncgg.cli.console import Console
from asyncgg.cli.run_status import read_status
from asyncgg.errors import JournalError
from asyncgg.fleet.campaign import Campaign
from asyncgg.fleet.results import LaneResult, campaign_summary
from asyncgg.formatting import format_count, format_duration, format_percent
from asyncgg.journal import JournalReader
from asyncgg.models import RunState

if TYPE_CHECKING:
    from rich.console import RenderableType

_IDLE_SECONDS: Final = 10.0
"""Seconds without a running target after which a campaign whose targets all have started has ended."""
_MAX_LOAD: Final = 0.1
"""Fraction of the time that may be spent on reading the journals."""
_STATE_INTERVAL: Final = 5.0
"""Seconds between two looks at a state."""
_FRAME_LINES: Final = 6
"""Lines of the terminal that are not for targets."""

OpenDisplay = Callable[[Callable[[Any], str], Callable[..., Any]], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class WatchedTarget:
    """A target at one moment."""

    result: LaneResult
    rate: float = 0.0
    """Requests per second in the last few seconds; 0 unless it runs."""
    seconds_left: float = 0.0

    @property
    def total(self) -> int:
        """Things of its run."""
        return self.result.things.get("total", 0)

    @property
    def finished(self) -> int:
        """Things with a final outcome."""
        return self.total - self.result.things.get("pending", 0)


@dataclass(frozen=True, slots=True)
class WatchedCampaign:
    """All targets at one moment."""

    folder: Path
    targets: tuple[WatchedTarget, ...]

    @property
    def running(self) -> int:
        """Targets that run."""
        return sum(target.result.running for target in self.targets)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return not self.running and all(target.result.exit == 0 for target in self.targets)

    @property
    def is_waiting(self) -> bool:
        """Whether a target has not started yet, and nothing says that it will not, as between two waves."""
        return any(
            target.result.state == RunState.PLANNED.value and not target.result.reason for target in self.targets
        )

    def format_counts(self) -> str:
        """Things finished and failed, rate and time left."""
        summary = campaign_summary(self.folder, [target.result for target in self.targets])
        finished = summary.total - summary.pending
        parts = [f"{finished:,}/{format_count(summary.total, 'thing')} ({format_percent(finished, summary.total)})"]
        parts.append(f"{summary.failed:,} failed")
        if not self.running:
            return ", ".join([*parts, "waiting for resume or retry"])
        parts.append(f"{sum(target.rate for target in self.targets):.1f} requests/s")
        if summary.throttled:
            parts.append(f"{summary.throttled:,} throttled")
        left = max(target.seconds_left for target in self.targets)
        return ", ".join([*parts, f"at least {format_duration(left)} left"])


def watch_campaign(folder: Path, open_display: OpenDisplay) -> None:
    """Show the campaign until its targets have ended, then write the results. Raises `SettingsError`."""
    campaign = Campaign.load(folder)
    last_running: float | None = None
    with open_display(_format_line, _render) as (show, interval):
        while True:
            started = time.monotonic()
            moment = read_campaign(campaign, time.time())
            if moment.running or (moment.is_waiting and last_running is not None):
                last_running = started
            if moment.complete or (last_running is not None and started - last_running > _IDLE_SECONDS):
                break
            show(moment)
            time.sleep(
                max(interval, _STATE_INTERVAL if campaign.state else 0.0, (time.monotonic() - started) / _MAX_LOAD)
            )
    write_results(Console(quiet=True), Campaign.load(folder))


def read_campaign(campaign: Campaign, now: float) -> WatchedCampaign:
    """The campaign at `now`, a Unix time."""
    targets = []
    for lane, result in zip(campaign.lanes, campaign.results(), strict=False):  # those left out do not run
        target = WatchedTarget(result)
        if target.result.running:
            with suppress(JournalError), JournalReader(lane.journal) as reader:
                status = read_status(reader, now)
                target = WatchedTarget(target.result, status.rate, status.seconds_left)
        targets.append(target)
    return WatchedCampaign(campaign.folder, tuple(targets))


def _format_line(moment: WatchedCampaign) -> str:
    running = f"{moment.running:,} of {format_count(len(moment.targets), 'target')} running"
    return f"{running}, {moment.format_counts()}"


def _render(moment: WatchedCampaign, width: int, height: int, **_options: object) -> RenderableType:
    """The campaign as one line for each target, those that run first, as many as fit."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    targets = sorted(moment.targets, key=_rank)
    shown = targets[: max(1, height - _FRAME_LINES)]
    rows = Table.grid(padding=(0, 2))
    rows.add_column(no_wrap=True, overflow="ellipsis", max_width=max(8, width // 3))
    for _ in range(4 if width >= 60 else 2):
        rows.add_column(no_wrap=True, overflow="ellipsis")
    for target in shown:
        result = target.result
        failed = result.things.get("failed", 0)
        state = "running" if result.running else f"{result.state} ({result.exit})"
        cells = [result.name, format_percent(target.finished, target.total), state]
        if width >= 60:
            rate = f"{target.rate:.1f}/s, {format_duration(target.seconds_left, whole=True)} left"
            cells += [f"{failed:,} failed" if failed else "", rate if result.running else ""]
        style = "cyan" if result.running else "red" if result.is_broken or failed else "default"
        rows.add_row(*(Text(cell, style=style) for cell in cells))
    lines: list[RenderableType] = [Text(_format_line(moment), style="bold"), rows]
    if len(shown) < len(targets):
        lines.append(Text(f"and {format_count(len(targets) - len(shown), 'more target')}"))
    lines.append(Text("Ctrl-C ends this display", style="yellow"))
    return Group(Text(str(moment.folder), style="bold"), *lines)


def _rank(target: WatchedTarget) -> tuple[bool, bool, bool, str]:
    result = target.result
    return not result.running, not result.is_broken, not result.things.get("failed"), result.name
